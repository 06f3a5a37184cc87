"""All runs in a folder, to be compared; what one run holds: `training.run.folder`."""
