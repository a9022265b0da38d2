"""Client for any provider that speaks OpenAI's fine-tuning protocol."""
