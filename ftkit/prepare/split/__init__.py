"""Splits of examples that keep similar examples together."""
