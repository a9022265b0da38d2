"""The data: types of examples, formats, reading and recognising files."""
