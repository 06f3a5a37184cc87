"""Segment a volume without a network, slab by slab: what networks are compared with.

Importing this module loads no torch.
"""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from napari_lrcs.annotation.advice import advise_on_checks
from napari_lrcs.annotation.annotation import check_labels_fit
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.left_out import (
    learnt_from,
    read_painting,
    without_checks,
)
from napari_lrcs.arrays import Labels
from napari_lrcs.classical.baselines import (
    Baseline,
    Method,
    check_order,
    fill_slice,
    fit_baseline,
    painted_order,
)
from napari_lrcs.classical.samples import Sample, read_samples, spread_slices
from napari_lrcs.classical.thresholds import checked_fractions
from napari_lrcs.config import Axis, PreprocessingConfig
from napari_lrcs.inference.geometry import Geometry
from napari_lrcs.inference.labelling import label_slabs, label_slabs_elsewhere
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.result import Result
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.paths import check_outputs
from napari_lrcs.io.provenance import Learnt, Provenance
from napari_lrcs.io.volume import Volume, sources_of
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.slices import SliceReader
from napari_lrcs.progress import (
    Notice,
    PredictEvent,
    PredictionEnded,
    PredictionStarted,
    Publishing,
    TilePredicted,
)

_N_NEAR = 3
"""Painted slices that order the phases of another one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BaselineTask:
    """A volume, and how it is to be segmented; checked without reading a voxel.

    Parameters
    ----------
    fractions, order : tuple, optional
        As for `fit_baseline`.
    labels : Volume, optional
        Painting, of the image's shape: a forest learns from it, and without `order` it
        orders the phases of the other methods.
    train : tuple of int
        Slices whose labels are used.
    axis : {"z", "y", "x"}
        Axis that the slices lie across: edges and features are found within slices.
    mask : Volume of bool, optional
        Field of view; outside nothing counts, and labels stay 0.
    checks : tuple of Check
        Check patches of the image, which are left out of `labels`.
    begun_at : datetime
        When it began, with its time zone.

    Raises
    ------
    ValueError
        If shapes differ, a slice is out of range, a forest has nothing to learn from,
        or fractions or order do not fit the phases or the method.
    """

    image: Volume
    method: Method
    phases: PhaseTable
    fractions: tuple[float, ...] | None = None
    order: tuple[int, ...] | None = None
    labels: Volume | None = None
    train: tuple[int, ...] = ()
    axis: Axis = "z"
    mask: Volume | None = None
    checks: tuple[Check, ...] = ()
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self._check_painting()
        if self.method == "fractions":
            checked_fractions(self.fractions, n_phases=len(self.phases))
        elif self.fractions is not None:
            raise ValueError(
                f"fractions are not for {self.method}; leave them out, or choose the "
                "method fractions"
            )
        if self.order is not None:
            check_order(self.order, n_phases=len(self.phases))

    def _check_painting(self) -> None:
        if self.labels is None or not self.train:
            if self.method == "forest" or self.labels is not None or self.train:
                raise ValueError(
                    "learning from a painting needs both the labels and the painted "
                    "slices"
                )
            return
        check_labels_fit(self.image, self.labels)
        n_slices = self.reader.n_slices
        beyond = [z for z in self.train if not 0 <= z < n_slices]
        if beyond:
            raise ValueError(
                f"slice {beyond[0]} is out of range: {self.image.name} has slices 0 to "
                f"{n_slices - 1} along {self.axis}"
            )

    @property
    def reader(self) -> SliceReader:
        """Reads the slices."""
        return SliceReader(
            volume=self.image,
            preprocessing=PreprocessingConfig(axis=self.axis),
            mask=self.mask,
        )

    @property
    def fitted_slices(self) -> tuple[int, ...]:
        """Slices that the baseline is fitted to: of a large volume, some of all."""
        if self.method == "forest":
            return self.train
        return tuple(sorted({*spread_slices(self.reader), *self.train}))

    def fit(self, samples: list[Sample]) -> Baseline:
        """Fit the baseline; see `fit_baseline`."""
        return fit_baseline(
            samples,
            method=self.method,
            n_phases=len(self.phases),
            fractions=self.fractions,
            order=self.order,
        )

    @property
    def painting(self) -> Volume | None:
        """The labels, without check patches."""
        return self.labels and without_checks(self.labels, self.checks)

    def geometry_of(self, learnt: Learnt) -> Geometry:
        """Return what the result has in common with the image."""
        image = self.image
        provenance = Provenance(
            image=image.name, fingerprint=image.fingerprint(), learnt=learnt
        )
        return Geometry.of(self.reader, self.phases, provenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lesson:
    """What a baseline learns from, and what the user should know of that."""

    learnt: Learnt
    advice: tuple[str, ...] = ()


def _read_lesson(task: BaselineTask) -> _Lesson:
    whole, left = task.labels, task.painting
    if whole is None or left is None:
        return _Lesson(learnt=Learnt(is_complete=True))
    painted = {z: read_painting(left, task.reader, z) for z in task.train}
    taken = {
        z: int(
            np.count_nonzero(read_painting(whole, task.reader, z))
            - np.count_nonzero(labels)
        )
        for z, labels in painted.items()
    }
    painted = {z: labels for z, labels in painted.items() if labels.any()}
    advice = advise_on_checks(taken)
    if advice and not painted:
        raise ValueError(
            f"check patches leave nothing that is painted in {whole.name} to learn "
            "from; paint more, outside them"
        )
    learnt = learnt_from(
        task.image,
        painted,
        axis=task.axis,
        begun_at=task.begun_at,
        checks=task.checks,
    )
    return _Lesson(learnt=learnt, advice=tuple(advice))


def read_fitted_slices(task: BaselineTask) -> Iterator[Sample]:
    """Read the slices that the task's baseline is fitted to; errors as of `Volume`."""
    return read_samples(
        task.reader, task.fitted_slices, labels=task.painting, painted=task.train
    )


def label_slice(
    task: BaselineTask, index: int, painting: Labels, *, only_unpainted: bool = True
) -> Labels:
    """Label one slice of a volume, which sets its own thresholds or clusters.

    Parameters
    ----------
    task : BaselineTask
        A forest learns from its training slices. For the other methods the nearest of
        them order the phases, and the slice itself.
    index : int
        Place of the slice along the task's axis.
    painting : ndarray of uint8, shape (rows, columns)
        Its labels; those outside the field of view stay as they are.
    only_unpainted : bool
        Whether painted voxels keep their label.

    Returns
    -------
    ndarray of uint8, shape (rows, columns)

    Raises
    ------
    ValueError
        As `fit_baseline` and `Sample` do.
    VolumeError
        If the slice holds NaN or infinity.
    """
    (own,) = read_samples(task.reader, [index])
    own = replace(own, labels=painting)
    if task.method == "forest":
        baseline = task.fit(list(read_fitted_slices(task)))
    else:
        near = sorted(set(task.train) - {index}, key=lambda z: abs(z - index))[:_N_NEAR]
        others = read_samples(task.reader, near, labels=task.painting, painted=near)
        order = painted_order([own, *others], n_phases=len(task.phases))
        baseline = replace(task, order=task.order or order).fit([own])
    return fill_slice(own, baseline, only_unpainted=only_unpainted)


def segment_volume(
    task: BaselineTask, *, result: Result, others: Elsewhere | None = None
) -> Generator[PredictEvent]:
    """Fit a baseline to a volume, and segment all of it.

    Parameters
    ----------
    result : Result
        A `MemoryResult` or `DiskResult`, where the labels go. On disk, nothing is left
        of what did not come to its end.
    others : Elsewhere, optional
        Other processes, which label the slabs and write them to a `DiskResult` that
        they share, as they share the image and the mask, from `open_to_share`. The
        labels are the same.

    Yields
    ------
    PredictEvent
        As from `predict_volume`; a `Notice` tells if only some slices of a large volume
        have set the thresholds.

    Raises
    ------
    ValueError
        If the baseline cannot be fitted; see `fit_baseline`. If the volume is in
        memory, where the other processes cannot read it.
    LrcsError
        If one of the others does not see the disk, or their executor fails.
    VolumeError
        If the volume holds NaN or infinity.
    OSError
        If the disk is full, or the like.
    """
    started = time.monotonic()
    n_slices = task.reader.n_slices
    read_from = sources_of(task.image, task.labels, task.mask)
    check_outputs(result.places, inputs=read_from)
    lesson = _read_lesson(task)
    geometry = task.geometry_of(lesson.learnt)
    device = "cpu" if others is None else others.device
    with result.open(geometry, None) as sink:
        yield PredictionStarted(
            device=device, precision="float32", n_slices=n_slices, n_done=0, n_tiles=1
        )
        yield from (Notice(kind="advice", text=text) for text in lesson.advice)
        samples = []
        for sample in read_fitted_slices(task):
            samples.append(sample)
            yield TilePredicted(n_done=0, n_slices=n_slices)
        yield from _sampling_notice(task)
        baseline = task.fit(samples)
        del samples
        slabs = list(geometry.slabs(range(n_slices)))
        if others is None:
            write = sink.write
            yield from label_slabs(task.reader, slabs, baseline=baseline, write=write)
        else:
            assert isinstance(result, DiskResult)
            yield from label_slabs_elsewhere(
                task.reader,
                slabs,
                baseline=baseline,
                others=others,
                folder=result.partial,
                geometry=geometry,
            )
        yield from (Publishing(share=share) for share in sink.publish())
    yield PredictionEnded(
        out=result.path,
        shape=task.image.shape,
        n_voxels=math.prod(task.image.shape),
        seconds=time.monotonic() - started,
        device=device,
    )


def _sampling_notice(task: BaselineTask) -> Iterator[Notice]:
    n_fitted, n_slices = len(task.fitted_slices), task.reader.n_slices
    if task.method != "forest" and n_fitted < n_slices:
        yield Notice(
            kind="advice",
            text=f"the phases are fitted to {n_fitted} of the {n_slices} slices, "
            "evenly spread",
        )
