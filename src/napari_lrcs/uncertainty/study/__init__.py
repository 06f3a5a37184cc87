"""Repeated trainings on perturbed labels, and a summary of their results."""
