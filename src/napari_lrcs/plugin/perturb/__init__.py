"""The dock Perturb labels."""
