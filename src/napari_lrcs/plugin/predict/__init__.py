"""The dock Predict volume."""
