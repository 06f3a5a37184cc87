"""Paths, locks and records: what lies beneath all files that are read or written."""
