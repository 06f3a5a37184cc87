"""Paintings: their folder, their slices, and how they grow while a network learns."""
