"""Filters of examples by an expression."""
