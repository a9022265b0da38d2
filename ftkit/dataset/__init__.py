"""Dataset examples: their types, formats, parsing and detection."""
