"""Text generation by worker processes: the modules that import torch, used only there."""
