"""The annotated slices of a painting that grows, read anew where it has changed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

import numpy as np

from napari_lrcs.annotation.annotation import (
    AnnotatedSlice,
    AnnotatedVolume,
    Annotation,
    Role,
    read_annotation,
    read_slice,
)
from napari_lrcs.annotation.held_out import held_out_of_stroke, is_enough
from napari_lrcs.annotation.left_out import (
    learnt_from,
    read_painting,
    without_checks,
)
from napari_lrcs.annotation.painting.live import LivePainting, Stroke
from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.config import TrainConfig
from napari_lrcs.phases import UNPAINTED, PhaseTable
from napari_lrcs.preprocessing.slices import SliceReader


class GrowingAnnotation:
    """Reads a painting, and again the slices of it that have changed.

    Every painted slice without a role is for training. Without a validation slice,
    blocks are held out as `read_annotation` does; what is held out once stays so, and
    what was trained on is never held out later.

    Parameters
    ----------
    painting : LivePainting
    config : TrainConfig
        Its axis, context and filters count.
    phases : PhaseTable
        Higher labels are ignored.
    begun_at : datetime, optional
        When the training began that is continued, with its time zone; None for now.
    held_out : mapping of int to ndarray of bool, optional
        What the training that is continued has held out, by slice.
    """

    def __init__(
        self,
        painting: LivePainting,
        *,
        config: TrainConfig,
        phases: PhaseTable,
        begun_at: datetime | None = None,
        held_out: Mapping[int, Mask] | None = None,
    ) -> None:
        self.painting = painting
        self._config, self._phases = config, phases
        self._begun_at = begun_at or datetime.now(UTC)
        self._slices: dict[int, AnnotatedSlice] = {}
        self._held_out = dict(held_out or {})
        self._ever: dict[int, Mask] = {}
        """Where the slices that are learnt from have been painted at any time."""
        self._known: set[int] = set()
        self._first: Annotation | None = None

    def begin(self) -> Annotation | None:
        """Read everything that is painted.

        Returns
        -------
        Annotation or None
            None until two phases are painted in slices for training.

        Raises
        ------
        ValueError
            As `read_annotation`.
        """
        self._known |= self.painting.take()
        volume = self._painted()
        if not self._has_two_phases(volume):
            return None
        annotation = read_annotation([volume], config=self._config, phases=self._phases)
        self._first = replace(annotation, begun_at=self._begun_at)
        for s in annotation.slices:
            self._take_over(s, own_role=_role_of(volume, s.index))
        return self.annotation(volume)

    def update(
        self, *, everything: bool = False
    ) -> tuple[Annotation | None, tuple[Stroke, ...]]:
        """Read the slices again that may have changed.

        Parameters
        ----------
        everything : bool
            Whether to read all painted slices, as when roles have changed.

        Returns
        -------
        annotation : Annotation or None
            None if fewer than two phases are left for training.
        strokes : tuple of Stroke
            What has changed.
        """
        wanted = self.painting.take() | (set(self._slices) if everything else set())
        volume = self.painting.read()
        reader = self._reader(volume)
        strokes = [
            self._read_again(reader, volume, index)
            for index in sorted(wanted)
            if 0 <= index < reader.n_slices
        ]
        changed = tuple(stroke for stroke in strokes if stroke.n_voxels)
        return self.annotation(volume), changed

    def annotation(self, volume: AnnotatedVolume) -> Annotation | None:
        """Return what is read by now; None without two phases for training."""
        slices = [*chain.from_iterable(map(self._parts, self._in_order()))]
        training = [s.labels for s in slices if s.role == "train"]
        if self._first is None or _n_phases(training) < 2:
            return None
        learnt = learnt_from(
            volume.image,
            self._ever,
            axis=self._config.preprocessing.axis,
            begun_at=self._begun_at,
            checks=volume.checks,
        )
        return replace(self._first, slices=tuple(slices), learnt=learnt)

    # ---- reading ----

    def _reader(self, volume: AnnotatedVolume) -> SliceReader:
        return SliceReader.for_config(volume.image, self._config, mask=volume.mask)

    def _painted(self) -> AnnotatedVolume:
        """Return the painting with a role for each slice that is painted, and no other.

        Slices with a role need not be painted yet.
        """
        volume = self.painting.read()
        reader = self._reader(volume)
        wanted = self._known | {z for places in volume.roles.values() for z in places}
        roles: dict[Role, list[int]] = {"train": [], "validation": [], "test": []}
        for index in sorted(wanted & {*range(reader.n_slices)}):
            if self._read_labels(reader, volume, index).any():
                roles[_role_of(volume, index)].append(index)
        return replace(volume, roles={r: tuple(places) for r, places in roles.items()})

    def _read_labels(
        self, reader: SliceReader, volume: AnnotatedVolume, index: int
    ) -> Labels:
        """Read the labels of a slice, without check patches, as a copy."""
        labels = without_checks(volume.labels, volume.checks)
        found = read_painting(labels, reader, index)
        return np.where(found > len(self._phases), UNPAINTED, found).astype(np.uint8)

    def _has_two_phases(self, volume: AnnotatedVolume) -> bool:
        reader = self._reader(volume)
        places = volume.roles["train"]
        return _n_phases([self._read_labels(reader, volume, z) for z in places]) > 1

    def _take_over(self, part: AnnotatedSlice, *, own_role: Role) -> None:
        """Take over a slice, or a part of it, as it was read to begin with."""
        index, whole = part.index, self._slices.get(part.index)
        labels = part.labels if whole is None else part.labels + whole.labels
        self._slices[index] = replace(part, labels=labels.copy(), role=own_role)
        if part.role != own_role:
            self._held_out.setdefault(index, part.labels != UNPAINTED)
        self._remember(self._slices[index])

    def _read_again(
        self, reader: SliceReader, volume: AnnotatedVolume, index: int
    ) -> Stroke:
        now = self._read_labels(reader, volume, index)
        role = _role_of(volume, index)
        former = self._slices.get(index)
        before = np.zeros_like(now) if former is None else former.labels
        if not now.any():
            self._slices.pop(index, None)
        elif former is None:
            found = read_slice(reader, volume, role, index)
            self._slices[index] = replace(found, labels=now)
        else:
            self._slices[index] = replace(former, labels=now, role=role)
        if now.any():
            self._hold_out_of(self._slices[index], before)
            self._remember(self._slices[index])
        training = self._training(index, now.shape)
        return Stroke.between(index, before, now, training=training)

    def _training(self, index: int, shape: tuple[int, ...]) -> Labels:
        """Return the labels of a slice that are for training."""
        parts = self._parts(self._slices[index]) if index in self._slices else ()
        own = (part.labels for part in parts if part.role == "train")
        return next(own, np.zeros(shape, np.uint8))

    def _remember(self, painted: AnnotatedSlice) -> None:
        if painted.role != "test":
            before = self._ever.get(painted.index, np.False_)
            self._ever[painted.index] = before | (painted.labels != UNPAINTED)

    # ---- held out ----

    @property
    def _has_validation(self) -> bool:
        return any(s.role == "validation" for s in self._slices.values())

    def _hold_out_of(self, painted: AnnotatedSlice, before: Labels) -> None:
        """Hold out a part of a stroke where what is held out is too little by now."""
        if painted.role != "train" or self._has_validation:
            return
        n_held_out = sum(int(np.count_nonzero(m)) for m in self._held_out.values())
        n_painted = sum(s.n_painted for s in self._slices.values())
        if not is_enough(n_held_out, n_painted):
            chosen = held_out_of_stroke(before, painted.labels)
            former = self._held_out.get(painted.index, np.False_)
            self._held_out[painted.index] = former | chosen

    def _in_order(self) -> list[AnnotatedSlice]:
        return [self._slices[index] for index in sorted(self._slices)]

    def _parts(self, whole: AnnotatedSlice) -> Iterator[AnnotatedSlice]:
        """Yield a slice, or what of it is trained on and what is held out."""
        held_out = self._held_out.get(whole.index)
        if held_out is None or whole.role != "train" or self._has_validation:
            yield whole
            return
        training = np.where(held_out, UNPAINTED, whole.labels)
        validation = np.where(held_out, whole.labels, UNPAINTED)
        if training.any():
            yield replace(whole, labels=training)
        if validation.any():
            yield replace(whole, labels=validation, role="validation")


def _role_of(volume: AnnotatedVolume, index: int) -> Role:
    found: Iterator[Role] = (r for r, places in volume.roles.items() if index in places)
    return next(found, "train")


def _n_phases(labels: list[Labels]) -> int:
    flat = [np.zeros(0, np.uint8), *(plane.ravel() for plane in labels)]
    return int(np.count_nonzero(np.bincount(np.concatenate(flat), minlength=1)[1:]))
