"""Parts of `ftkit split`: keys of the rows, links between them, their sides, and the lock file."""
