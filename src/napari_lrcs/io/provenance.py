"""What a segmentation is of, and which painted slices its network has learnt from.

It is stored beside the phases, so that no segmentation is judged by check patches that
its network has learnt from; see `napari_lrcs.uncertainty.trust.seen`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec import to_builtins

from napari_lrcs.config import Axis
from napari_lrcs.io.records import convert

PROVENANCE = "provenance"
"""Key under which it is stored, beside that of the phases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntSlice:
    """A painted slice that a network, or a forest, was trained or validated on.

    Parameters
    ----------
    volume : str
        Name of the image.
    fingerprint : str
        `Volume.fingerprint` of the image, which may have been renamed since.
    axis : {"z", "y", "x"}
        Axis that the slice lies across.
    index : int
        Place of the slice along the axis, from 0.
    rows, columns : tuple of int
        First one with a painted voxel, and the one after the last.
    begun_at : datetime
        When the training began, with its time zone.
    left_out : tuple of str
        `Check.id` of the check patches whose voxels were left out.

    Raises
    ------
    ValueError
        If the time has no time zone.
    """

    volume: str
    fingerprint: str
    axis: Axis
    index: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    begun_at: datetime
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.begun_at.tzinfo is None:
            raise ValueError(f"the time {self.begun_at} has no time zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """All painted slices that a network was trained or validated on.

    Parameters
    ----------
    slices : tuple of LearntSlice
        Also those of the networks that it started from.
    is_complete : bool
        Whether there are no others: checkpoints of earlier versions do not tell.
    """

    slices: tuple[LearntSlice, ...] = ()
    is_complete: bool = False

    def __add__(self, other: "Learnt") -> "Learnt":
        """Return what two networks have learnt from, each slice once."""
        return Learnt(
            slices=tuple(dict.fromkeys((*self.slices, *other.slices))),
            is_complete=self.is_complete and other.is_complete,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a segmentation is of, and what it was learnt from.

    Parameters
    ----------
    image : str
        Name of the image.
    fingerprint : str
        `Volume.fingerprint` of the image.
    learnt : Learnt
        Of the network or the forest; of thresholds that nothing was painted for, none.
    """

    image: str
    fingerprint: str
    learnt: Learnt = field(default_factory=Learnt)


def combined(parts: Sequence[Provenance | None]) -> Provenance | None:
    """Describe what is made of several segmentations of one image, as a majority is.

    Returns
    -------
    Provenance or None
        None if one of them is unknown.
    """
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    learnt = sum((part.learnt for part in known[1:]), known[0].learnt)
    return Provenance(
        image=known[0].image, fingerprint=known[0].fingerprint, learnt=learnt
    )


def stored_provenance(holder: Mapping[str, Any]) -> Provenance | None:
    """Read what `to_json` made from what holds it; None if nothing valid is there."""
    try:
        return convert(holder[PROVENANCE], Provenance)
    except (KeyError, TypeError, ValueError):
        return None


def to_json(value: Provenance | Learnt) -> dict[str, Any]:
    """Return JSON values, with times in ISO 8601."""
    values: dict[str, Any] = to_builtins(value)
    return values
