"""The folder of a run, file by file."""
