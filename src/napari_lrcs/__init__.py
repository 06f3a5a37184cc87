"""Segment multiphase tomography volumes from a few painted slices with LRCS-Net."""

__version__ = "0.1.0"
