"""Type aliases for the arrays used throughout the package."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Labels: TypeAlias = NDArray[np.uint8]
"""0 for unpainted voxels, phases from 1."""

GreyImage: TypeAlias = NDArray[np.float32]
"""Grey levels, filtered or normalised."""

Mask: TypeAlias = NDArray[np.bool_]
"""True inside the field of view."""

Confusion: TypeAlias = NDArray[np.int64]
"""Rows are the painted (target) phases, columns the predicted ones."""
