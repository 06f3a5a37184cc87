"""Segment multiphase tomography volumes from a few painted slices with LRCS-Net."""

import os
import sys

__version__ = "0.1.0"

if sys.platform == "darwin":
    # PyTorch looks at it once, when it is loaded: see `models.device.device_notices`.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
