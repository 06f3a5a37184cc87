"""Readers, a writer and sample data for napari."""
