"""The counts of a segmentation compared with a target."""

from dataclasses import dataclass

from napari_lrcs.arrays import Confusion
from napari_lrcs.metrics.calibration import Reliability
from napari_lrcs.metrics.composition import Composition, Neighbourhood
from napari_lrcs.metrics.overlap import ScoresDict, accuracy, mean_iou, scores_dict
from napari_lrcs.phases import PhaseTable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """A predicted segmentation against a target, over the voxels painted in the target.

    Parameters
    ----------
    confusion : ndarray of int64, shape (n_phases, n_phases)
        Painted voxels; rows are the target.
    per_slice : tuple of (int, ndarray of int64, shape (n_phases, n_phases))
        Place and matrix of each slice with a painted voxel, ascending; they sum to
        `confusion`.
    predicted, target : Composition
        Counts of both, over the same voxels. Each run of neighbouring slices is
        measured by itself: voxels outside of it, like unpainted ones, are not
        neighbours.
    reliability : Reliability, optional
        How often voxels of each confidence are right, where the confidence is known.
    """

    phases: PhaseTable
    confusion: Confusion
    per_slice: tuple[tuple[int, Confusion], ...]
    predicted: Composition
    target: Composition
    reliability: Reliability | None = None

    @property
    def neighbourhood(self) -> Neighbourhood:
        """Which voxels were neighbours."""
        return self.target.neighbourhood

    @property
    def accuracy(self) -> float:
        """Share of the painted voxels that are predicted right, 0 to 1."""
        return accuracy(self.confusion)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the phases that are in either, 0 to 1."""
        return mean_iou(self.confusion)

    @property
    def scores(self) -> ScoresDict:
        """All scores, as ``evaluate --json`` prints them."""
        return scores_dict(self.confusion, self.phases)
