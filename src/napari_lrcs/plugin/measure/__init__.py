"""The dock "Measure phases"."""
