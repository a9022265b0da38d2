"""Everything that an account holds about fine-tuning, in a folder: made, checked and read."""
