"""Training, in worker processes: chat templates, encoding, and TRL's trainers."""
