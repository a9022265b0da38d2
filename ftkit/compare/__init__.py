"""Comparison of two models, or of their recorded answers, on the same prompts.

The answers of A and B are read from files or asked for, measured against the reference and against
each other, and averaged with confidence intervals.
"""
