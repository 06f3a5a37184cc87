"""How far a segmentation can be trusted: perturbed labels and repeated trainings."""
