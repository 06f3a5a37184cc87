"""The dock that leads from the first stroke to the numbers."""
