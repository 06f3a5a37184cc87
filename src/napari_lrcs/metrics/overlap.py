"""Agreement of two segmentations: one additive matrix, and every score from it.

All scores take the matrix of `confusion_matrix`, or the sum of several, and are 0 to 1.
Those of phases are of shape (n_phases,).
"""

from collections.abc import Iterable
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Confusion, Labels
from napari_lrcs.phases import UNPAINTED, Phase
from napari_lrcs.progress import NotLearnt

LEAST_IOU = 0.1
"""A phase with a lower IoU is not learnt."""


class PhaseIouDict(TypedDict):
    """IoU of a phase as it stands in JSON."""

    label: int
    name: str
    iou: float


class PhaseScoresDict(PhaseIouDict):
    """Scores of one phase as they stand in JSON; NaN where undefined."""

    dice: float
    precision: float
    recall: float


class ScoresDict(TypedDict):
    """What ``evaluate --json`` prints."""

    accuracy: float
    mean_iou: float
    phases: list[PhaseScoresDict]
    confusion: list[list[int]]
    never_predicted: list[str]
    not_learnt: list[PhaseIouDict]


def confusion_matrix(target: Labels, predicted: Labels, *, n_phases: int) -> Confusion:
    """Count how often each painted phase was predicted as each phase.

    The matrices of slabs add up to that of their volume; a slab without a painted
    voxel gives zeros.

    Parameters
    ----------
    target : ndarray of uint8, any shape
        Painted labels, 1 to `n_phases`; voxels equal to `UNPAINTED` do not count.
    predicted : ndarray of uint8, same shape as `target`
        Predicted labels, 1 to `n_phases`.
    n_phases : int
        Number of phases.

    Returns
    -------
    ndarray of int64, shape (n_phases, n_phases)
        Entry ``[t - 1, p - 1]`` counts voxels painted ``t`` and predicted ``p``.

    Raises
    ------
    ValueError
        If the shapes differ, a label exceeds `n_phases`, or `predicted` is unpainted
        where `target` is painted.

    Examples
    --------
    >>> target = np.array([1, 1, 2, UNPAINTED], np.uint8)
    >>> predicted = np.array([1, 2, 2, 2], np.uint8)
    >>> confusion_matrix(target, predicted, n_phases=2).tolist()
    [[1, 1], [0, 1]]
    """
    if target.shape != predicted.shape:
        raise ValueError(
            f"target has the shape {target.shape}, predicted {predicted.shape}; "
            "both must cover the same voxels"
        )
    for name, labels in (("target", target), ("predicted", predicted)):
        highest = int(labels.max(initial=0))
        if highest > n_phases:
            raise ValueError(
                f"{name} has the label {highest}, but there are {n_phases} phases; "
                f"labels must be 0 to {n_phases}"
            )
    counts = _count_pairs(target, predicted, n_labels=n_phases + 1)
    n_missing = int(counts[1:, UNPAINTED].sum())
    if n_missing:
        raise ValueError(
            f"predicted is 0 (unpainted) in {n_missing} voxels that target has "
            "painted; predict all of them, or clear them in target"
        )
    return counts[1:, 1:]


def _count_pairs(
    target: Labels, predicted: Labels, *, n_labels: int
) -> NDArray[np.int64]:
    counts = np.zeros(n_labels**2, np.int64)
    rows, columns = target.ravel(), predicted.ravel()
    # bincount makes int64 of its input: in chunks, that copy stays in the cache.
    chunk = 1 << 17
    for start in range(0, rows.size, chunk):
        codes = rows[start : start + chunk].astype(np.uint16) * np.uint16(n_labels)
        codes += columns[start : start + chunk]
        counts += np.bincount(codes, minlength=counts.size)
    return counts.reshape(n_labels, n_labels)


def accuracy(confusion: Confusion) -> float:
    """Return the share of painted voxels predicted right; NaN where none is painted.

    Examples
    --------
    >>> accuracy(np.array([[3, 1], [0, 4]]))
    0.875
    """
    return float(_ratio(np.trace(confusion), confusion.sum()))


def iou_per_phase(confusion: Confusion) -> NDArray[np.float64]:
    """Divide the voxels that a phase has in both by those that it has in either.

    NaN for a phase that is absent from both.
    """
    shared = np.diag(confusion)
    return _ratio(shared, confusion.sum(axis=1) + confusion.sum(axis=0) - shared)


def dice_per_phase(confusion: Confusion) -> NDArray[np.float64]:
    """Divide twice the shared voxels of a phase by its voxels in target and predicted.

    NaN for a phase that is absent from both.
    """
    return _ratio(2 * np.diag(confusion), confusion.sum(axis=1) + confusion.sum(axis=0))


def precision_per_phase(confusion: Confusion) -> NDArray[np.float64]:
    """Return which share of the voxels predicted as a phase is painted so.

    NaN for a phase that is nowhere predicted.
    """
    return _ratio(np.diag(confusion), confusion.sum(axis=0))


def recall_per_phase(confusion: Confusion) -> NDArray[np.float64]:
    """Return which share of the voxels painted as a phase is predicted so.

    NaN for a phase that is nowhere painted.
    """
    return _ratio(np.diag(confusion), confusion.sum(axis=1))


def mean_iou(confusion: Confusion) -> float:
    """Average the IoU over the phases present in either; NaN where there is none."""
    iou = iou_per_phase(confusion)
    present = iou[~np.isnan(iou)]
    return float(present.mean()) if present.size else float("nan")


def not_learnt(confusion: Confusion, phases: Iterable[Phase]) -> tuple[NotLearnt, ...]:
    """List the phases that are painted, but whose IoU is below `LEAST_IOU`.

    Parameters
    ----------
    confusion : ndarray of int64, shape (n_phases, n_phases)
        Of `confusion_matrix`.
    phases : iterable of Phase
        The `n_phases` phases.

    Examples
    --------
    >>> from napari_lrcs.phases import PhaseTable
    >>> phases = PhaseTable.named("pore", "crack")
    >>> [found.name for found in not_learnt(np.array([[90, 9], [10, 1]]), phases)]
    ['crack']
    """
    rows = zip(phases, confusion.sum(axis=1), iou_per_phase(confusion), strict=True)
    return tuple(
        NotLearnt(label=phase.label, name=phase.name, iou=float(iou))
        for phase, n_painted, iou in rows
        if n_painted and iou < LEAST_IOU
    )


def not_learnt_dicts(found: Iterable[NotLearnt]) -> list[PhaseIouDict]:
    """Write phases that are not learnt as they stand in JSON."""
    return [PhaseIouDict(label=f.label, name=f.name, iou=f.iou) for f in found]


def scores_dict(confusion: Confusion, phases: Iterable[Phase]) -> ScoresDict:
    """Gather all scores for JSON, unrounded; NaN where undefined.

    Parameters
    ----------
    confusion : ndarray of int64, shape (n_phases, n_phases)
        Of `confusion_matrix`, summed over all slabs.
    phases : iterable of Phase
        The `n_phases` phases.

    Raises
    ------
    ValueError
        If no painted voxel was counted, or `phases` does not fit the matrix.
    """
    phases = tuple(phases)
    if confusion.shape != (len(phases), len(phases)):
        raise ValueError(
            f"the confusion matrix has the shape {confusion.shape}, but there are "
            f"{len(phases)} phases"
        )
    if not confusion.any():
        raise ValueError(
            "target has no painted voxel to compare with; paint some, or choose "
            "slices that are painted"
        )
    poor = not_learnt(confusion, phases)
    columns = (iou_per_phase, dice_per_phase, precision_per_phase, recall_per_phase)
    rows = np.stack([column(confusion) for column in columns], axis=1).tolist()
    return ScoresDict(
        accuracy=accuracy(confusion),
        mean_iou=mean_iou(confusion),
        phases=[
            PhaseScoresDict(
                label=phase.label,
                name=phase.name,
                iou=iou,
                dice=dice,
                precision=precision,
                recall=recall,
            )
            for phase, (iou, dice, precision, recall) in zip(phases, rows, strict=True)
        ],
        confusion=confusion.tolist(),
        never_predicted=[found.name for found in poor if not found.iou],
        not_learnt=not_learnt_dicts(poor),
    )


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    undefined = np.full(np.shape(whole), np.nan)
    ratio: NDArray[np.float64] = np.divide(
        part, whole, out=undefined, where=np.asarray(whole > 0)
    )
    return ratio
