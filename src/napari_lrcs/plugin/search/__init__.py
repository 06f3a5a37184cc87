"""The dock that searches for the settings with the best score."""
