"""Token counting: encodings with their vocabularies, images, and statistics."""
