"""Find where painting would teach a network most, in any slice of a volume."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.left_out import check_pixels
from napari_lrcs.annotation.spots import (
    SPOT_SIZE,
    Spot,
    Squares,
    Window,
    choose_square,
    measure_squares,
    plan_slices,
)
from napari_lrcs.arrays import GreyImage, Mask
from napari_lrcs.config import Axis, PredictConfig
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import UNPAINTED, PhaseTable
from napari_lrcs.preprocessing.slices import AXES, SliceReader
from napari_lrcs.progress import Notice, PredictionStarted, TilePredicted, changed

if TYPE_CHECKING:  # loading torch takes seconds
    from napari_lrcs.inference.predictor import Predictor
    from napari_lrcs.models.checkpoint import Checkpoint

_SIDE = 384
"""Largest side of a window in pixels; it is one of a slice that is larger."""

_MOST_PIXELS = 2_500_000
_MOST_WINDOWS = 24
"""What is predicted for a suggestion: seconds on two cores, whatever the volume."""

_BORDER = 16
"""Pixels of a window, where the slice goes on, in which nothing is suggested.

The network does not see there what lies around them.
"""

SpotEvent = PredictionStarted | TilePredicted | Notice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpotSearch:
    """What is painted, where something may be painted, and what was suggested before.

    Parameters
    ----------
    image : Volume
        Grey levels.
    painting : Volume of uint8
        Labels of all slices.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    phases : PhaseTable
        Of the painting.
    painted : tuple of int
        Slices with a painted pixel or more.
    left_out : frozenset of int
        Slices for validation and test, where nothing is suggested.
    passed : tuple of Spot
        Suggested before: they are not suggested again.
    checks : tuple of Check
        Check patches of the image, where nothing is suggested.
    mask : Volume, optional
        Field of view.
    size : int
        Side of a square in pixels.
    seed : int
        Of the choice of slices; another one, and what was suggested before, is used
        for each suggestion.
    """

    image: Volume
    painting: Volume
    axis: Axis
    phases: PhaseTable
    painted: tuple[int, ...]
    left_out: frozenset[int] = frozenset()
    passed: tuple[Spot, ...] = ()
    checks: tuple[Check, ...] = ()
    mask: Volume | None = None
    size: int = SPOT_SIZE
    seed: int = 0

    @property
    def busy_slices(self) -> set[int]:
        """Slices that are painted, or were suggested before."""
        return {*self.painted, *(spot.index for spot in self.passed)} - self.left_out

    def taken(self, index: int, *, reach: int) -> Mask:
        """Find what is painted, or was suggested, in a slice and up to `reach` away."""
        shape = tuple(n for i, n in enumerate(self.image.shape) if i != AXES[self.axis])
        taken = np.zeros(shape, np.bool_)
        for near in range(index - reach, index + reach + 1):
            if near in self.painted and near not in self.left_out:
                plane = self.painting.slab(near, near + 1, axis=self.axis)[0]
                taken |= plane != UNPAINTED
        for spot in self.passed:
            if abs(spot.index - index) <= reach:
                taken[spot.rows, spot.columns] = True
        return taken

    def forbidden(self, reader: SliceReader, index: int) -> Mask:
        """Find what lies in check patches, or outside the field of view."""
        in_checks = check_pixels(self.painting, self.checks, index, axis=self.axis)
        inside = reader.inside(index, index + 1)
        return in_checks if inside is None else in_checks | ~inside[0]


def find_spot(search: SpotSearch, *, model: Path) -> Iterator[SpotEvent | Spot]:
    """Find the square whose painting would teach a network most.

    Parameters
    ----------
    model : Path
        A checkpoint or a run folder.

    Yields
    ------
    PredictionStarted, TilePredicted or Notice
        While slices are searched.
    Spot
        Last.

    Raises
    ------
    CheckpointError
        If it is not a checkpoint, or a damaged one.
    ValueError
        If the network was trained across another axis, or on phases of other names, or
        no square is left to suggest.
    """
    from napari_lrcs.inference.painting.fill import load_for

    checkpoint, own = load_for(model, axis=search.axis, phases=search.phases)
    squares = yield from find_squares(search, checkpoint)
    chosen = None if squares is None else choose_square(squares)
    if squares is None or chosen is None:
        raise ValueError(
            "no place is left to suggest in the slices that were searched: all is "
            "painted, was suggested before, or only judges; try once more, or paint "
            "where you like"
        )
    spot = squares.spot(chosen)
    first, second = sorted(own[label] for label in spot.between)
    yield replace(spot, between=(first, second))


def find_squares(
    search: SpotSearch, checkpoint: "Checkpoint"
) -> Generator[SpotEvent, None, Squares | None]:
    """Measure the squares of some slices; so many that it takes a few seconds.

    Yields
    ------
    PredictionStarted, TilePredicted or Notice
        While slices are searched.

    Returns
    -------
    Squares or None
        None if all slices are left out.
    """
    from napari_lrcs.inference.predictor import Predictor

    reader = SliceReader.for_config(search.image, checkpoint.config, mask=search.mask)
    rows, columns = shape = (
        min(reader.slice_shape[0], _SIDE),
        min(reader.slice_shape[1], _SIDE),
    )
    rng = np.random.default_rng((search.seed, len(search.passed)))
    slices = plan_slices(
        reader.n_slices,
        n=min(_MOST_WINDOWS, max(1, _MOST_PIXELS // (rows * columns))),
        painted=search.busy_slices,
        left_out=search.left_out,
        rng=rng,
    )
    parts = []
    with closing(Predictor(checkpoint, PredictConfig(), shape)) as predictor:
        yield PredictionStarted(
            device=str(predictor.device),
            precision=predictor.network.precision,
            n_slices=len(slices),
            n_done=0,
            n_tiles=len(predictor.network.tiles),
        )
        for n_done, index in enumerate(slices):
            part = _Part.of(search, reader, checkpoint, index=index)
            events = part.window(predictor, shape, rng)
            window = yield from changed(events, partial(_counted, n_done, len(slices)))
            parts.append(measure_squares(window, size=search.size))
    return Squares.joined(parts) if parts else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """A slice that is searched.

    Parameters
    ----------
    image : ndarray of float32, shape (channels, rows, columns)
        Normalised.
    taken, forbidden : ndarray of bool, shape (rows, columns)
        As of `Window`, of the whole slice.
    """

    index: int
    image: GreyImage
    taken: Mask
    forbidden: Mask

    @classmethod
    def of(
        cls,
        search: SpotSearch,
        reader: SliceReader,
        checkpoint: "Checkpoint",
        *,
        index: int,
    ) -> Self:
        """Read a slice."""
        # Slices that resemble their neighbours teach the same.
        alike = search.size // 4 if checkpoint.config.network.context_slices else 0
        return cls(
            index=index,
            image=checkpoint.normalisation(reader.read(index, index + 1)),
            taken=search.taken(index, reach=min(alike, reader.n_slices // 20)),
            forbidden=search.forbidden(reader, index),
        )

    def window(
        self, predictor: "Predictor", shape: tuple[int, int], rng: np.random.Generator
    ) -> Generator[float | Notice, None, Window]:
        """Predict a window of the slice; yields as `Predictor.predict` does."""
        from napari_lrcs.inference.results.outputs import PROBABILITIES

        part = _place_window(self.taken, shape, rng)
        image = np.ascontiguousarray(self.image[:, *part])
        arrays = predictor.empty_arrays([PROBABILITIES], 1)
        yield from predictor.predict(arrays, image, 1)
        return Window(
            index=self.index,
            row=part[0].start,
            column=part[1].start,
            probabilities=arrays[PROBABILITIES][:, 0],
            grey=image[len(image) // 2],
            painted=self.taken[part],
            forbidden=(self.forbidden | _border(self.taken.shape, part))[part],
        )


def _counted(n_done: int, n: int, share: float | Notice) -> SpotEvent:
    if isinstance(share, Notice):
        return share
    return TilePredicted(n_done=n_done + share, n_slices=n)


def _place_window(
    taken: Mask, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[slice, slice]:
    """Place a window about something painted, if there is anything, or anywhere."""
    places = np.argwhere(taken)
    if len(places):
        corner = places[rng.integers(len(places))] - np.array(shape) // 2
    else:
        corner = rng.integers(np.subtract(taken.shape, shape) + 1)
    corner = corner.clip(0, np.subtract(taken.shape, shape))
    rows, columns = (
        slice(int(a), int(a) + n) for a, n in zip(corner, shape, strict=True)
    )
    return rows, columns


def _border(shape: tuple[int, ...], part: tuple[slice, slice]) -> Mask:
    """Mark the border of a window, except where it is that of the slice."""
    border = np.ones(shape, np.bool_)
    inner = (
        slice(
            own.start + _BORDER * (own.start > 0), own.stop - _BORDER * (own.stop < n)
        )
        for own, n in zip(part, shape, strict=True)
    )
    border[*inner] = False
    return border
