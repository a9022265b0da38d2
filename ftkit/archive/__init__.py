"""Archives of everything that a provider account holds about fine-tuning."""
