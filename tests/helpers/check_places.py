"""Check patches where a test wants them, without a drawing."""

from datetime import UTC, datetime, timedelta
from math import prod
from pathlib import Path

from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.annotation.check_patches import (
    Check,
    CheckDesign,
    CheckPatch,
    Thickness,
)
from napari_lrcs.config import Axis

DRAWN_AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
BEFORE, AFTER = DRAWN_AT - timedelta(hours=1), DRAWN_AT + timedelta(hours=1)


def check_at(
    *corners: tuple[int, int, int],
    shape: tuple[int, int, int],
    axis: Axis = "z",
    thickness: Thickness = 1,
    drawn_at: datetime = DRAWN_AT,
) -> Check:
    """Place patches of 8 by 8 pixels at their first voxels, z, y and x."""
    return Check(
        design=CheckDesign(shape=shape, axis=axis, size=8, thickness=thickness),
        patches=tuple(
            CheckPatch(z=z, y=y, x=x, height=8, width=8) for z, y, x in corners
        ),
        drawn_at=drawn_at,
        segmentation="segmentation-1.tif",
        n_voxels=prod(shape),
    )


def write_check(path: Path, check: Check) -> None:
    """Write a folder of check patches, without their painting."""
    path.mkdir(parents=True)
    CheckFolder(path).write(check)
