"""All runs in a folder, to be compared."""
