"""Sampling, augmentation, losses and the training loop."""
