"""Formats of files from which rows are read: each module has a reader that yields `Row`s."""
