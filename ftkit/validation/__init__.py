"""Validation: scans the shards of a file, adds up their summaries and applies the rules."""
