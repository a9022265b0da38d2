"""Client for providers of the OpenAI fine-tuning API."""
