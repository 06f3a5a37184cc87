"""The painted slices that a run was begun with: ``labels.tif`` of its folder."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from napari_lrcs.annotation.annotation import ROLES, Annotation, Role
from napari_lrcs.annotation.held_out import Place, Split
from napari_lrcs.arrays import Labels
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.lazy_arrays import READ_ERRORS
from napari_lrcs.io.records import parse_json
from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import UNPAINTED


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSlice:
    """A painted slice, as the description of its page has it.

    Parameters
    ----------
    volume : str
        Name of the volume.
    index : int
        Place of the slice along the axis of the run, from 0.
    """

    volume: str = ""
    index: int
    role: Role


def write_labels(path: Path, annotation: Annotation) -> None:
    """Write a page for each painted slice."""
    with replacing(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        for s in annotation.slices:
            page = {"volume": s.volume, "index": s.index, "role": s.role}
            tiff.write(
                s.labels,
                photometric="minisblack",
                compression="zlib",
                description=json.dumps(page),
                metadata=None,
            )


def read_slices(path: Path) -> tuple[LabelledSlice, ...]:
    """Read which slices are painted, but not their labels.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged.
    """
    with _pages(path) as pages:
        return tuple(pages)


def read_labels(path: Path) -> dict[LabelledSlice, Labels]:
    """Read the painted slices; raises as `read_slices` does."""
    with _pages(path) as pages:
        return {painted: page.asarray() for painted, page in pages.items()}


def roles_of(slices: Sequence[LabelledSlice]) -> dict[Role, tuple[int, ...]]:
    """Tell which slices have each role.

    Returns
    -------
    dict of str to tuple of int
        Slices of each role, ascending. Where a part of a training slice was held
        out for validation, the slice is for training alone.
    """
    train = {s.index for s in slices if s.role == "train"}
    roles: dict[Role, tuple[int, ...]] = {
        role: tuple(sorted({s.index for s in slices if s.role == role} - train))
        for role in ROLES
    }
    roles["train"] = tuple(sorted(train))
    return roles


def splits_of(labels: Mapping[LabelledSlice, Labels]) -> dict[Place, Split]:
    """Tell what of each slice is trained on, and what validates; without test slices.

    Parameters
    ----------
    labels : mapping of LabelledSlice to ndarray of uint8
        As `read_labels` returns them.
    """
    splits: dict[Place, Split] = {}
    for painted, own in labels.items():
        if painted.role == "test":
            continue
        place = painted.volume, painted.index
        nothing = np.zeros(own.shape, np.bool_)
        split = splits.setdefault(place, Split(nothing.copy(), nothing.copy()))
        mask = split.trained if painted.role == "train" else split.held_out
        mask |= own != UNPAINTED
    return splits


@contextmanager
def _pages(path: Path) -> Iterator[dict[LabelledSlice, tifffile.TiffPage]]:
    try:
        with tifffile.TiffFile(path) as tiff:
            yield {
                parse_json(page.description, LabelledSlice): page
                for page in tiff.pages
                if isinstance(page, tifffile.TiffPage)
            }
    except READ_ERRORS as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
