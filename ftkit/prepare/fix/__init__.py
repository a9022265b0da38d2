"""Fixes of findings: safe and unsafe ones, line by line."""
