"""The dock Uncertainty study."""
