"""Propagate a painting to other slices by a network, into unpainted pixels only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_lrcs.annotation.left_out import check_pixels
from napari_lrcs.annotation.painting.labels import relabelled
from napari_lrcs.inference.painting.fill import Filled, SliceToFill, load_for
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.progress import (
    PredictEvent,
    PredictionStarted,
    TilePredicted,
    changed,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Propagated:
    """New labels of slices, to be corrected by hand; their paint stays as it was."""

    slices: tuple[Filled, ...]


def slices_beside(index: int, *, n_slices: int, n: int) -> tuple[int, ...]:
    """List the slices that are at most `n` away from one, without itself.

    Examples
    --------
    >>> slices_beside(1, n_slices=10, n=2)
    (0, 2, 3)
    """
    near = range(max(index - n, 0), min(index + n + 1, n_slices))
    return tuple(other for other in near if other != index)


def propagate(
    targets: Sequence[SliceToFill], *, model: Path
) -> Iterator[PredictEvent | Propagated]:
    """Label the unpainted pixels of slices, except for those of check patches.

    Parameters
    ----------
    targets : sequence of SliceToFill
        Slices of one painting, at least one.
    model : Path
        A checkpoint or a run folder.

    Yields
    ------
    TilePredicted or Notice
        While the slices are predicted.
    Propagated
        Last, for all slices together.

    Raises
    ------
    CheckpointError
        If it is not a checkpoint, or a damaged one.
    ValueError
        If the network was trained across another axis, or on phases of other names.
    """
    from napari_lrcs.inference.predict import predict_slice

    first = targets[0]
    checkpoint, own = load_for(model, axis=first.axis, phases=first.phases)
    filled = []
    for i, target in enumerate(targets):
        events = predict_slice(target.image, checkpoint, target.index, mask=target.mask)
        labels = yield from changed(events, partial(_of_all, i, len(targets)))
        labels = relabelled(labels, own)
        in_checks = check_pixels(
            target.image, target.checks, target.index, axis=target.axis
        )
        labels[in_checks] = UNPAINTED
        filled.append(target.filled(labels))
    yield Propagated(slices=tuple(filled))


def _of_all(i: int, n: int, event: PredictEvent) -> PredictEvent:
    """Count the slices before the one that is predicted, and those to come."""
    match event:
        case TilePredicted(n_done=n_done):
            return TilePredicted(n_done=i + n_done, n_slices=n)
        case PredictionStarted():
            return TilePredicted(n_done=i, n_slices=n)
        case _:
            return event
