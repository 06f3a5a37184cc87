"""Streaming prediction of volumes."""
