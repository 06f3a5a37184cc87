"""Search for the settings of a training that score best."""
