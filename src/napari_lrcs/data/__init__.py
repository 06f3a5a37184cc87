"""Open, filter, annotate and write volumes; needs no torch."""
