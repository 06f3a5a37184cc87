"""Networks, their registry and their files."""
