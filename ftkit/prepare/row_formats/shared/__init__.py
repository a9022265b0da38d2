"""Parts that several row formats share."""
