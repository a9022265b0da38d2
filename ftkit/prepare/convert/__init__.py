"""Conversion of rows from one format to another."""
