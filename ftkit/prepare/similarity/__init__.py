"""Similarity of texts: MinHash signatures and an index of near-duplicates."""
