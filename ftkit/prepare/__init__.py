"""Preparation of training data: steps on rows that keep where each row comes from."""
