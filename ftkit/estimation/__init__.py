"""Cost estimation: tokens, epochs and prices."""
