"""The dock Compare segmentations."""
