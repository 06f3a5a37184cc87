"""The dock Check segmentation."""
