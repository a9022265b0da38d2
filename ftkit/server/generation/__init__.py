"""Text generation: the modules of the process that answers requests."""
