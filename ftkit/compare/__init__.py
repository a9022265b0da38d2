"""Two models, or their recorded answers, on the same prompts."""
