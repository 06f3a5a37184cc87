"""Segment multiphase tomography volumes from a few painted slices with LRCS-Net."""

import os
import sys

__version__ = "0.1.0"

if sys.platform == "darwin":
    # PyTorch looks at it once, when it is loaded: see `models.device.device_notices`.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

# GNU's OpenMP, which PyTorch uses on Linux, looks at it once too. A thread that waits
# for another spins 300,000 times before it sleeps, which takes milliseconds. Where
# another process keeps one of two cores busy, a training on both was then slower than
# on the other one alone (benchmarks/threads.py).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# PyTorch allocates large tensors anew each time. With pages of 2 MiB instead of 4 KiB,
# where Linux offers them, that takes much less time (benchmarks/pages.py).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
