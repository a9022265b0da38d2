"""Training and generating: the only part of ftkit that imports torch, in processes that do nothing else."""
