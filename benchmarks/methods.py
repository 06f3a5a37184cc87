"""Ways to segment the test slices of a case: baselines, networks, and ideas for them.

A way returns the mean IoU on what validates, or NaN, and writes the labels of the test
slices. It sees the labels of no test slice.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
from cases import Case, by_baseline, learn, predict
from numpy.typing import NDArray

from napari_lrcs.annotation.painting.labels import count_phases
from napari_lrcs.arrays import Labels
from napari_lrcs.classical import baselines
from napari_lrcs.classical.baselines import Method
from napari_lrcs.classical.forest import fit_forest
from napari_lrcs.config import PredictConfig, TrainConfig
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.metrics.overlap import confusion_matrix, mean_iou
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.transfer import Origin

Segment = Callable[[Case, Volume, Volume, int, MemoryResult], float]
"""Segments the test slices from a seed, and returns the validation score."""

Probabilities = NDArray[np.float32]
"""Of all phases: shape (K, slices, rows, columns)."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to segment, and whether it depends on the seed."""

    segment: Segment
    is_random: bool = True


def network(config: TrainConfig) -> Way:
    """Train a network and predict."""
    return Way(partial(_by_network, config))


def baseline(method: Method) -> Way:
    """Segment without a network; a forest from the seed, which is 0 in the product."""

    def segment(
        case: Case, image: Volume, labels: Volume, seed: int, result: MemoryResult
    ) -> float:
        with patch.object(baselines, "fit_forest", partial(fit_forest, seed=seed)):
            by_baseline(case, image, labels, method=method, result=result)
        return validated(case, labels, result.labels)

    return Way(segment, is_random=method == "forest")


def _by_network(
    config: TrainConfig,
    case: Case,
    image: Volume,
    labels: Volume,
    seed: int,
    result: MemoryResult,
) -> float:
    checkpoint = learn(case, image, labels, config=config.with_changes(seed=seed))
    predict(image, checkpoint, result=result, slices=case.test)
    return score_of(checkpoint)


def score_of(checkpoint: Checkpoint) -> float:
    """Return the best mean IoU in validation that a training has come to."""
    scores = [row.get("validation_mean_iou") for row in checkpoint.history]
    return max((s for s in scores if isinstance(s, float)), default=np.nan)


def validated(case: Case, labels: Volume, predicted: Labels) -> float:
    """Score the validation slices of a segmentation; NaN without any."""
    confusions = [
        confusion_matrix(
            labels.slab(z, z + 1)[0], predicted[z], n_phases=len(case.phases)
        )
        for z in case.validation
    ]
    return float(mean_iou(sum(confusions))) if confusions else np.nan


# ---- several predictions, of which the mean is used ----

TURNS = PredictConfig(average_turns=True)


def turned(config: TrainConfig) -> Way:
    """Average the predictions of the turned and mirrored slices."""

    def segment(
        case: Case, image: Volume, labels: Volume, seed: int, result: MemoryResult
    ) -> float:
        own = config.with_changes(seed=seed)
        checkpoint = learn(case, image, labels, config=own)
        slices = sorted({*case.test, *case.validation})
        predict(image, checkpoint, result=result, slices=slices, config=TURNS)
        return validated(case, labels, result.labels)

    return Way(segment)


def members(
    config: TrainConfig, *, n_members: int = 3, how: PredictConfig | None = None
) -> Way:
    """Average the probabilities of networks that differ in their seeds."""

    def segment(
        case: Case, image: Volume, labels: Volume, seed: int, result: MemoryResult
    ) -> float:
        slices = sorted({*case.test, *case.validation})
        total = 0.0
        for own in range(n_members * seed, n_members * (seed + 1)):
            learnt = learn(case, image, labels, config=config.with_changes(seed=own))
            total = total + probabilities(image, learnt, slices, how)
        result.labels[slices] = np.argmax(total, axis=0) + 1
        return validated(case, labels, result.labels)

    return Way(segment)


def probabilities(
    image: Volume,
    checkpoint: Checkpoint,
    slices: Sequence[int],
    how: PredictConfig | None,
) -> Probabilities:
    """Predict the probabilities of some slices."""
    with tempfile.TemporaryDirectory() as folder:
        result = DiskResult(
            labels=Path(folder) / "labels.zarr",
            probabilities=Path(folder) / "probabilities.zarr",
        )
        for _ in predict_volume(
            image, checkpoint, result=result, slices=slices, config=how
        ):
            pass
        return read_channels(result.probabilities or Path(), slices)


def read_channels(path: Path, slices: Sequence[int]) -> Probabilities:
    """Read slices of an OME-Zarr with a channel per phase."""
    import zarr

    group = zarr.open_group(path, mode="r")
    array = group["0"]
    assert isinstance(array, zarr.Array)
    return np.stack([np.asarray(array[:, z], np.float32) for z in slices], axis=1)


# ---- learning from what is not painted ----

SURE = 230
"""Confidence, 0 to 255, above which a network's labels teach: nine in ten."""

MOST_UNLABELLED = 8


def unlabelled(case: Case, n_slices: int) -> list[int]:
    """Choose slices that have no role; those of the test, unlabelled, if all have."""
    taken = {*case.train, *case.validation, *case.test}
    free = [z for z in range(n_slices) if z not in taken] or list(case.test)
    places = np.linspace(0, len(free) - 1, min(MOST_UNLABELLED, len(free)))
    return [free[round(place)] for place in places]


def self_trained(config: TrainConfig) -> Way:
    """Learn from the confident labels that a first network gives to other slices."""

    def segment(
        case: Case, image: Volume, labels: Volume, seed: int, result: MemoryResult
    ) -> float:
        own = config.with_changes(seed=seed)
        teacher = learn(case, image, labels, config=own)
        slices = unlabelled(case, image.shape[0])
        taught = MemoryResult(
            labels=np.zeros(image.shape, np.uint8),
            confidence=np.zeros(image.shape, np.uint8),
        )
        assert taught.confidence is not None
        predict(image, teacher, result=taught, slices=slices)
        sure = taught.labels * (taught.confidence >= SURE)
        slices = [z for z in slices if sure[z].any()]
        painting = labels.slab(0, labels.shape[0]).copy()
        painting[slices] = sure[slices]
        wider = replace(case, train=(*case.train, *slices), networks=None)
        more = as_labels(as_volume(painting, name="labels"))
        return _by_network(own, wider, image, more, seed, result)

    return Way(segment)


N_GREYS = 8
HIDDEN = 0.25
"""Classes of grey level, and the share of pixels whose own is to be guessed."""


def pre_trained(config: TrainConfig) -> Way:
    """Begin with a network that has learnt to guess hidden pixels of the volume."""

    def segment(
        case: Case, image: Volume, labels: Volume, seed: int, result: MemoryResult
    ) -> float:
        own = config.with_changes(seed=seed)
        masked, greys = hide_pixels(image, seed=seed)
        slices = unlabelled(case, image.shape[0])
        riddle = Case(
            name="hidden pixels",
            phases=PhaseTable.numbered(N_GREYS).names,
            train=tuple({*slices, *case.train}),
            validation=(),
            context_slices=case.context_slices,
        )
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            learn(riddle, masked, greys, config=own, run=run)
            checkpoint = learn(case, image, labels, config=own, origin=Origin(path=run))
        predict(image, checkpoint, result=result, slices=case.test)
        return score_of(checkpoint)

    return Way(segment)


def hide_pixels(image: Volume, *, seed: int) -> tuple[Volume, Volume]:
    """Put other pixels of the slice in the place of some, and label those by grey."""
    rng = np.random.default_rng(seed)
    grey = image.slab(0, image.shape[0]).copy()
    edges = np.quantile(grey, np.linspace(0, 1, N_GREYS + 1)[1:-1])
    classes = (np.searchsorted(edges, grey) + 1).astype(np.uint8)
    for plane, labels in zip(grey, classes, strict=True):
        hidden = rng.random(plane.shape) < HIDDEN
        plane[hidden] = rng.choice(plane.ravel(), np.count_nonzero(hidden))
        labels[~hidden] = 0
    return (
        as_volume(grey, name="hidden"),
        as_labels(as_volume(classes, name="grey levels")),
    )


# ---- a rare phase ----


def weighted(config: TrainConfig) -> Way:
    """Weigh the phases in the loss by one over the root of their painted share."""

    def segment(
        case: Case, image: Volume, labels: Volume, seed: int, result: MemoryResult
    ) -> float:
        painted = np.concatenate([labels.slab(z, z + 1) for z in case.train])
        counts = count_phases(painted, n_phases=len(case.phases))
        weights = tuple(float(w) for w in np.sqrt(counts.sum() / counts))
        own = config.with_changes(phase_weights=weights)
        return _by_network(own, case, image, labels, seed, result)

    return Way(segment)
