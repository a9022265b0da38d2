"""JSON Schema of tools. Imported when an example has tools, since jsonschema loads slowly."""
