"""The dock that compares runs and uses them."""
