"""Screening for personal data, keys and texts that a moderation model flags."""
