"""The dock Label phases."""
