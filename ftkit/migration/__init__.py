"""Migration of fine-tuning jobs from one provider to another."""
