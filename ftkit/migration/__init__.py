"""Moving fine-tuning jobs from one service to another."""
