"""Cost estimation: tokens, epochs, prices."""
