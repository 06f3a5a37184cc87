"""Repeated trainings on perturbed labels, and what they tell."""
