"""How far a segmentation can be trusted: check patches and the error budget."""

CONFIDENCE_LEVEL = 0.95
"""Share of intervals that contain the truth, unless another one is given."""
