"""Training and text generation: the modules that import torch, used only by worker processes."""
