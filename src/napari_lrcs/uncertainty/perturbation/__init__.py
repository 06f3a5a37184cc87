"""Painted labels moved within their uncertainty."""
