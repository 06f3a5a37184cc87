"""The dock Train LRCS-Net."""
