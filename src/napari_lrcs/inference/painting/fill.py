"""Fill a slice of a painting, with or without a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.painting.labels import relabelled
from napari_lrcs.arrays import Labels
from napari_lrcs.classical.baselines import Method
from napari_lrcs.config import Axis
from napari_lrcs.inference.segment import BaselineTask, label_slice
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import UNPAINTED, PhaseTable
from napari_lrcs.progress import PredictEvent

if TYPE_CHECKING:  # loading torch takes seconds
    from napari_lrcs.models.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filled:
    """New labels of a slice.

    Parameters
    ----------
    index : int
        Place of the slice along the painting's axis, from 0.
    former, labels : ndarray of uint8, shape (rows, columns)
        Those that were there, and those to be there.
    """

    index: int
    former: Labels
    labels: Labels

    def merged(self, current: Labels) -> Labels:
        """Return the new labels, except where something was painted meanwhile."""
        return np.where(current == self.former, self.labels, current)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceToFill:
    """A slice of a painting that is to be filled.

    Parameters
    ----------
    image : Volume
        Grey levels.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    index : int
        Place of the slice along the axis, from 0.
    labels : ndarray of uint8, shape (rows, columns)
        What is painted in it.
    phases : PhaseTable
        Of the painting.
    mask : Volume, optional
        Field of view.
    only_unpainted : bool
        Whether painted voxels keep their label.
    painting : Volume of uint8
        Labels of all slices.
    learnt : tuple of int
        Painted slices that are neither for validation nor for test.
    checks : tuple of Check
        Check patches of the image, which nothing is learnt from.
    """

    image: Volume
    axis: Axis
    index: int
    labels: Labels
    phases: PhaseTable
    mask: Volume | None
    only_unpainted: bool
    painting: Volume
    learnt: tuple[int, ...]
    checks: tuple[Check, ...] = ()

    def filled(self, labels: Labels) -> Filled:
        """Put new labels where they are wanted."""
        is_wanted = labels != UNPAINTED
        if self.only_unpainted:
            is_wanted &= self.labels == UNPAINTED
        new = np.where(is_wanted, labels, self.labels)
        return Filled(index=self.index, former=self.labels, labels=new)

    def task(self, method: Method, fractions: Sequence[float] | None) -> BaselineTask:
        """Describe how the image is segmented without a network.

        Raises
        ------
        ValueError
            If fractions do not fit, or a forest has nothing to learn from.
        """
        if method == "forest" and not self.learnt:
            raise ValueError(
                "a random forest learns from what you paint: paint some of each phase, "
                "in a slice that is not for validation or test"
            )
        return BaselineTask(
            image=self.image,
            method=method,
            phases=self.phases,
            fractions=None if fractions is None else tuple(fractions),
            labels=self.painting if self.learnt else None,
            train=self.learnt,
            axis=self.axis,
            mask=self.mask,
            checks=self.checks,
        )


def fill_by_baseline(target: SliceToFill, task: BaselineTask) -> Iterator[Filled]:
    """Fill a slice without a network."""
    labels = label_slice(
        task, target.index, target.labels, only_unpainted=target.only_unpainted
    )
    yield Filled(index=target.index, former=target.labels, labels=labels)


def fill_by_network(
    target: SliceToFill, *, model: Path
) -> Iterator[PredictEvent | Filled]:
    """Fill a slice by a network.

    Parameters
    ----------
    target : SliceToFill
        The slice, and the painting that it is of.
    model : Path
        A checkpoint or a run folder.

    Yields
    ------
    PredictEvent
        While the slice is predicted.
    Filled
        Last.

    Raises
    ------
    CheckpointError
        If it is not a checkpoint, or a damaged one.
    ValueError
        If the network was trained across another axis, or on phases of other names.
    """
    from napari_lrcs.inference.predict import predict_slice

    checkpoint, mapping = load_for(model, axis=target.axis, phases=target.phases)
    labels = yield from predict_slice(
        target.image, checkpoint, target.index, mask=target.mask
    )
    yield target.filled(relabelled(labels, mapping))


def load_for(
    model: Path, *, axis: Axis, phases: PhaseTable
) -> tuple["Checkpoint", dict[int, int]]:
    """Load a network for a painting.

    Returns
    -------
    checkpoint : Checkpoint
    own : dict of int to int
        The painting's label by the network's.

    Raises
    ------
    CheckpointError
        If it is not a checkpoint, or a damaged one.
    ValueError
        If the network was trained across another axis, or on phases of other names.
    """
    from napari_lrcs.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(model)
    trained = checkpoint.config.preprocessing.axis
    if trained != axis:
        raise ValueError(
            f"the network was trained on slices across {trained}, the painting's lie "
            f"across {axis}; choose another network"
        )
    return checkpoint, _own_labels(checkpoint.phases, phases)


def _own_labels(network: PhaseTable, own: PhaseTable) -> dict[int, int]:
    """Find the painting's label of each phase that the network knows, by name."""
    labels = {phase.name: phase.label for phase in own}
    unknown = [name for name in network.names if name not in labels]
    if unknown:
        raise ValueError(
            f"the network predicts {', '.join(network.names)}; the painting has no "
            f"{', no '.join(unknown)}: add or rename phases, or choose another network"
        )
    return {phase.label: labels[phase.name] for phase in network}
