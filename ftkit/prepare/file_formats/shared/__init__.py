"""Parts that several file formats share, and parts of long ones."""
