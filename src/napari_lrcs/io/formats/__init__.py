"""The formats of volumes: one module for each, and what they share."""
