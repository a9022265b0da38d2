"""Fakes, data and commands that several tests share."""
