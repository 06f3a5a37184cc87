"""How far a segmentation can be trusted: check patches and the error budget."""
