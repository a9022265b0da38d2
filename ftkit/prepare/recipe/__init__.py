"""Recipes: preparations as data."""
