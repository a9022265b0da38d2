"""Validation: shards of a file are scanned, their summaries added, the whole judged."""
