"""Volumes of labels measured, scored and compared with one another."""
