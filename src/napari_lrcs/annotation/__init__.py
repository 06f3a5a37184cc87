"""Painted slices: their roles, their files, and pairs of volumes and labels."""
