"""Scores and measures of labels; needs no torch."""
