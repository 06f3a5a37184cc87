"""Networks, their registry and their files."""

NETWORKS = ("lrcsnet", "segnet", "unet", "xlearn")
"""Names of the networks that `models.registry` builds, known without loading torch."""
