"""Fine-tuning jobs, from a file to a trained model."""
