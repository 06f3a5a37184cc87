"""Annotated slices: images with their painting and their roles."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Literal, TypeVar, get_args

import numpy as np

from napari_lrcs.annotation.advice import (
    advise_on_checks,
    advise_on_distance,
    advise_on_phases,
)
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.held_out import Splits, held_out_of
from napari_lrcs.annotation.left_out import (
    drawn_before,
    learnt_from,
    read_painting,
    without_checks,
)
from napari_lrcs.arrays import GreyImage, Labels, Mask
from napari_lrcs.config import Axis, TrainConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.provenance import Learnt
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import UNPAINTED, PhaseTable, check_same_numbers
from napari_lrcs.preprocessing.neighbours import Resemblance, measure_resemblance
from napari_lrcs.preprocessing.slices import AXES, SliceReader

T = TypeVar("T")

Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = get_args(Role)

_HELD_OUT = (
    "no slice is for validation: a fifth of the painted area, in blocks of the "
    "training slices, is held out instead; a separate slice would tell more"
)
_TOO_LITTLE = (
    "no slice is for validation, and too little is painted to hold a part out; paint "
    "more, or a slice for validation: otherwise no score tells how good the network is"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnnotatedSlice:
    """A slice, its painting and what it serves for.

    Parameters
    ----------
    read : callable
        Returns `image`: filtered grey levels of the slice (in the middle) and its
        neighbours, float32, shape (2 context_slices + 1, rows, columns).
    labels : ndarray of uint8, shape (rows, columns)
        0 where unpainted or outside the field of view.
    index : int
        Place of the slice along the axis, from 0.
    volume : str
        Name of the volume, for messages.
    inside : ndarray of bool, shape (rows, columns), optional
        Field of view; None for the whole slice.
    n_left_out : int
        Painted voxels that are not in `labels`, since they lie in check patches.
    """

    read: Callable[[], GreyImage]
    labels: Labels
    role: Role
    index: int
    volume: str = "volume"
    inside: Mask | None = None
    n_left_out: int = 0

    @property
    def image(self) -> GreyImage:
        """Filtered grey levels of the slice and its neighbours."""
        return self.read()

    @property
    def n_painted(self) -> int:
        """Painted voxels."""
        return int(np.count_nonzero(self.labels))

    @property
    def grey_levels(self) -> GreyImage:
        """Grey levels of the slice itself in the field of view, flat."""
        image = self.image
        own = image[len(image) // 2]
        inside: GreyImage = own[... if self.inside is None else self.inside]
        return inside.ravel()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnnotatedVolume:
    """A volume, its painting, and which of its slices serve for what.

    Parameters
    ----------
    image : Volume
        Grey levels.
    labels : Volume of uint8
        Painted labels, of the image's shape.
    roles : mapping of str to sequence of int
        Slices of each role.
    mask : Volume of bool, optional
        Field of view.
    checks : tuple of Check
        Check patches of the image; see `Annotation`.
    """

    image: Volume
    labels: Volume
    roles: Mapping[Role, Sequence[int]]
    mask: Volume | None = None
    checks: tuple[Check, ...] = ()

    def resemblance(self, axis: Axis) -> Resemblance | None:
        """Measure whether slices resemble their neighbours; see there."""
        painted = [index for places in self.roles.values() for index in places]
        return measure_resemblance(
            self.image, axis=axis, painted=painted, mask=self.mask
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotation:
    """All slices that a training reads, checked.

    Parameters
    ----------
    slices : tuple of AnnotatedSlice
        At least one with the role train, with at least two phases painted.
    voxel_size : tuple of three floats, optional
        z, y, x; of the first volume.
    unit : str, optional
    advice : tuple of str
        What the user should know before training.
    begun_at : datetime
        When the work that it is for began. Check patches that were drawn before are
        left out of all slices.
    learnt : Learnt
        What a network learns from with it.
    """

    slices: tuple[AnnotatedSlice, ...]
    phases: PhaseTable
    voxel_size: tuple[float, float, float] | None = None
    unit: str | None = None
    advice: tuple[str, ...] = field(default=())
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    learnt: Learnt = field(default_factory=Learnt)

    def with_role(self, role: Role) -> tuple[AnnotatedSlice, ...]:
        """Return the slices of one role."""
        return tuple(s for s in self.slices if s.role == role)

    @property
    def labels_hash(self) -> str:
        """SHA-256 of the painting, its places and its roles."""
        digest = sha256()
        for s in self.slices:
            digest.update(
                f"{s.volume} {s.index} {s.role} {s.labels.shape}".encode(
                    errors="surrogateescape"
                )
            )
            digest.update(s.labels.tobytes())
        return digest.hexdigest()


def read_annotation(
    volumes: Sequence[AnnotatedVolume],
    *,
    config: TrainConfig,
    phases: PhaseTable | None = None,
    begun_at: datetime | None = None,
    splits: Splits | None = None,
) -> Annotation:
    """Read and check the annotated slices of one or several volumes.

    Parameters
    ----------
    config : TrainConfig
        Its axis, context and filters count.
    phases : PhaseTable, optional
        Names and colours; by default those of the labels file, else numbered ones.
    begun_at : datetime, optional
        When the work began that is continued, with its time zone; None for now.
    splits : mapping of Place to Split, optional
        Of the training whose network goes on, as its `RunFolder` or `Origin` reads
        them: without a validation slice, it is not validated on what it has learnt.

    Returns
    -------
    Annotation
        Without a validation slice, blocks of the training slices are held out for it.

    Raises
    ------
    ValueError
        If labels and image differ in shape, a slice is out of range, empty or has two
        roles, no slice is for training, fewer than two phases are painted, check
        patches leave nothing of a slice, or volumes number the same phase differently.
    """
    check_same_numbers(*((v.labels.name, v.labels.phases) for v in volumes))
    begun_at = begun_at or datetime.now(UTC)
    volumes = [replace(v, checks=drawn_before(v.checks, begun_at)) for v in volumes]
    parts = {volume: read_slices(volume, config) for volume in volumes}
    slices = [s for own in parts.values() for s in own]
    table = _phase_table(slices, phases or _first(v.labels.phases for v in volumes))
    advice = [*_advise(parts, table, config)]
    if not any(s.role == "validation" for s in slices):
        slices = _hold_out(slices, splits or {})
        is_held_out = any(s.role == "validation" for s in slices)
        advice.append(_HELD_OUT if is_held_out else _TOO_LITTLE)
    return Annotation(
        slices=tuple(slices),
        phases=table,
        voxel_size=_first(v.image.voxel_size for v in volumes),
        unit=_first(v.image.unit for v in volumes),
        advice=tuple(advice),
        begun_at=begun_at,
        learnt=_learnt_from(parts, config, begun_at),
    )


def _learnt_from(
    parts: Mapping[AnnotatedVolume, Sequence[AnnotatedSlice]],
    config: TrainConfig,
    begun_at: datetime,
) -> Learnt:
    learnt = (
        learnt_from(
            volume.image,
            {s.index: s.labels for s in slices if s.role != "test"},
            axis=config.preprocessing.axis,
            begun_at=begun_at,
            checks=volume.checks,
        )
        for volume, slices in parts.items()
    )
    return sum(learnt, Learnt(is_complete=True))


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def check_labels_fit(image: Volume, labels: Volume) -> None:
    """Raise `VolumeError` if labels do not have the shape of their image."""
    if image.shape != labels.shape:
        raise VolumeError(
            f"{image.name} is {image.shape} voxels (z, y, x) and {labels.name} is "
            f"{labels.shape}; labels need the image's shape"
        )


def read_slices(volume: AnnotatedVolume, config: TrainConfig) -> list[AnnotatedSlice]:
    """Read the slices of a volume that have a role; raises as `read_annotation`."""
    image, labels = volume.image, volume.labels
    check_labels_fit(image, labels)
    reader = SliceReader.for_config(image, config, mask=volume.mask)
    _check_roles(volume.roles, reader)
    return [
        read_slice(reader, volume, role, index)
        for role, places in volume.roles.items()
        for index in places
    ]


def _check_roles(roles: Mapping[Role, Sequence[int]], reader: SliceReader) -> None:
    if not any(roles.values()):
        raise ValueError(f"no slice of {reader.volume.name} has a role; name one")
    places = [place for chosen in roles.values() for place in chosen]
    beyond = [place for place in places if not 0 <= place < reader.n_slices]
    if beyond:
        raise ValueError(
            f"slice {beyond[0]} is out of range: {reader.volume.name} has slices 0 to "
            f"{reader.n_slices - 1} along {reader.axis}"
        )
    shared = sorted({place for place in places if places.count(place) > 1})
    if shared:
        raise ValueError(
            f"slice {shared[0]} has more than one role; training, validation and test "
            "slices must differ"
        )


def read_slice(
    reader: SliceReader, volume: AnnotatedVolume, role: Role, index: int
) -> AnnotatedSlice:
    """Read a slice and its painting; raises as `read_annotation`."""
    inside = reader.inside(index, index + 1)
    whole, painting = (
        read_painting(labels, reader, index)
        for labels in (volume.labels, without_checks(volume.labels, volume.checks))
    )
    if not painting.any():
        where = "" if inside is None else " inside the mask"
        where = " outside its check patches, which only judge" if whole.any() else where
        raise ValueError(
            f"slice {reader.axis}={index} of {volume.labels.name} has no painted "
            f"voxel{where}; paint it, or choose another one for {role}"
        )
    # Read now, so that what is wrong with it shows before the training. There may be
    # many test slices and they are used once: those are not kept.
    image = reader.read(index, index + 1)
    return AnnotatedSlice(
        read=partial(reader.read, index, index + 1)
        if role == "test"
        else lambda: image,
        labels=painting,
        role=role,
        index=index,
        volume=reader.volume.name,
        inside=None if inside is None else inside[0],
        n_left_out=int(np.count_nonzero(whole) - np.count_nonzero(painting)),
    )


def _phase_table(
    slices: Sequence[AnnotatedSlice], phases: PhaseTable | None
) -> PhaseTable:
    training = [s.labels for s in slices if s.role == "train"]
    if not training:
        raise ValueError("no slice is for training; name at least one")
    painted = sorted(
        set(np.unique(np.concatenate([t.ravel() for t in training]))) - {0}
    )
    if len(painted) < 2:
        raise ValueError(
            f"the training slices show only phase {painted[0]}; paint at least two"
        )
    highest = max(int(s.labels.max()) for s in slices)
    if phases is None:
        return PhaseTable.numbered(highest)
    if highest > len(phases):
        raise ValueError(
            f"labels reach {highest}, but only {len(phases)} phases are named: "
            f"{', '.join(phases.names)}"
        )
    return phases


def _advise(
    parts: Mapping[AnnotatedVolume, Sequence[AnnotatedSlice]],
    phases: PhaseTable,
    config: TrainConfig,
) -> Iterator[str]:
    slices = [s for own in parts.values() for s in own]
    for own in parts.values():
        yield from advise_on_checks({s.index: s.n_left_out for s in own})
    uses = {"training" if role == "train" else role: role for role in ROLES}
    painted = {
        use: [s.labels for s in slices if s.role == role] for use, role in uses.items()
    }
    yield from advise_on_phases(painted, phases)
    for volume in parts:
        n_slices = volume.image.shape[AXES[config.preprocessing.axis]]
        yield from advise_on_distance(
            volume.image.name, volume.roles, n_slices=n_slices
        )
    yield from _advise_on_neighbours([*parts], config)


def _advise_on_neighbours(
    volumes: Sequence[AnnotatedVolume], config: TrainConfig
) -> list[str]:
    n = config.network.context_slices
    measured = [v.resemblance(config.preprocessing.axis) for v in volumes if n]
    return [found.describe_use(n) for found in measured if found and not found.is_alike]


def _hold_out(slices: list[AnnotatedSlice], splits: Splits) -> list[AnnotatedSlice]:
    """Split training slices into what is trained on and blocks for validation."""
    painted = {(s.volume, s.index): s.labels for s in slices if s.role == "train"}
    held_out = held_out_of(painted, splits)
    parts = [p for s in slices for p in _split(s, held_out.get((s.volume, s.index)))]
    training = [p.labels for p in parts if p.role == "train"]
    if splits and len(set().union(*map(np.unique, training)) - {UNPAINTED}) < 2:
        return _hold_out(slices, {})  # what is left was held out before
    return parts


def _split(whole: AnnotatedSlice, held_out: Mask | None) -> list[AnnotatedSlice]:
    if held_out is None or whole.role != "train":
        return [whole]
    parts = (
        replace(whole, labels=np.where(held_out, UNPAINTED, whole.labels)),
        replace(
            whole,
            labels=np.where(held_out, whole.labels, UNPAINTED),
            role="validation",
        ),
    )
    return [part for part in parts if part.n_painted]
