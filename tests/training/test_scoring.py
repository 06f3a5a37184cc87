import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_lrcs.annotation.annotation import AnnotatedSlice
from napari_lrcs.arrays import Confusion
from napari_lrcs.config import TrainConfig
from napari_lrcs.metrics.overlap import confusion_matrix
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.preprocessing.normalisation import Normalisation
from napari_lrcs.progress import EpochEnded, result_of
from napari_lrcs.training import scoring
from napari_lrcs.training.losses import cross_entropy
from napari_lrcs.training.scoring import (
    SliceScore,
    evaluate_slice,
    history_row,
    phase_weights_of,
    score_slices,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
AS_IT_IS = Normalisation(low=-1e6, high=1e6, mean=0.0, sd=1.0)


def noisy_slice(shape: tuple[int, int]) -> AnnotatedSlice:
    rng = np.random.default_rng(0)
    return AnnotatedSlice(
        read=rng.standard_normal((1, *shape)).astype(np.float32).copy,
        labels=rng.integers(0, 4, shape).astype(np.uint8),
        role="validation",
        index=3,
    )


def evaluate(
    model: SegmentationNetwork, annotated: AnnotatedSlice, config: TrainConfig
) -> tuple[float, Confusion]:
    *shares, score = evaluate_slice(
        model,
        annotated,
        normalisation=AS_IT_IS,
        config=config.optimisation,
        precision="float32",
    )
    assert shares == [pytest.approx((i + 1) / len(shares)) for i in range(len(shares))]
    assert isinstance(score, SliceScore)
    return score.loss, score.confusion


def test_phase_weights_are_one_a_phase(tiny_config: TrainConfig) -> None:
    config = tiny_config.with_changes(phase_weights=(1.0, 2.0))

    weights = phase_weights_of(config.optimisation, 2, CPU)

    assert weights is not None
    assert weights.tolist() == [1, 2]
    assert phase_weights_of(tiny_config.optimisation, 2, CPU) is None


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 2.0, 3.0), (0.0, 0.0)])
def test_phase_weights_that_do_not_fit_are_refused(
    weights: tuple[float, ...], tiny_config: TrainConfig
) -> None:
    config = tiny_config.with_changes(phase_weights=weights)

    with pytest.raises(ValueError, match="phase_weights must be 2 numbers"):
        phase_weights_of(config.optimisation, 2, CPU)


def test_segmentpy_fault_4_validation_is_never_augmented(
    tiny_config: TrainConfig, settled_model: Callable[..., SegmentationNetwork]
) -> None:
    model = settled_model(tiny_config)
    annotated = noisy_slice((20, 29))
    strong = tiny_config.with_changes(
        noise=5.0, rotation=90.0, elastic=9.0, gain=0.9, rings=5.0, flip=True
    )

    _, plain = evaluate(model, annotated, tiny_config)
    _, strongly_augmented = evaluate(model, annotated, strong)

    with torch.no_grad():
        logits = model(torch.from_numpy(annotated.image)[None])
    predicted = (logits.argmax(dim=1)[0] + 1).to(torch.uint8).numpy()
    expected = confusion_matrix(annotated.labels, predicted, n_phases=3)
    np.testing.assert_array_equal(plain, expected)
    np.testing.assert_array_equal(strongly_augmented, expected)


def test_loss_is_that_of_the_painted_voxels(
    tiny_config: TrainConfig, settled_model: Callable[..., SegmentationNetwork]
) -> None:
    model = settled_model(tiny_config)
    annotated = noisy_slice((16, 24))
    config = tiny_config.with_changes(loss="cross_entropy")

    loss, _ = evaluate(model, annotated, config)

    with torch.no_grad():
        logits = model(torch.from_numpy(annotated.image)[None])
    expected = cross_entropy(logits, torch.from_numpy(annotated.labels)[None])
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_slice_that_does_not_fit_is_evaluated_in_tiles(
    tiny_config: TrainConfig,
    settled_model: Callable[..., SegmentationNetwork],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = settled_model(tiny_config)
    annotated = noisy_slice((150, 170))
    whole_loss, whole = evaluate(model, annotated, tiny_config)

    monkeypatch.setattr(
        scoring, "_EVALUATION_MEMORY", 144 * 144 * model.bytes_per_pixel
    )
    loss, tiled = evaluate(model, annotated, tiny_config)

    np.testing.assert_array_equal(tiled, whole)
    assert loss == pytest.approx(whole_loss, rel=1e-5)


def test_temperature_is_fitted_to_a_share_of_the_painted_voxels(
    tiny_config: TrainConfig,
    settled_model: Callable[..., SegmentationNetwork],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = settled_model(tiny_config)
    monkeypatch.setattr(scoring, "_SAMPLED_VOXELS", 2000)
    slices = [noisy_slice((60, 70)), noisy_slice((40, 50))]

    scores = [
        result_of(
            score_slices(
                model,
                slices,
                normalisation=AS_IT_IS,
                config=tiny_config.optimisation,
                precision="float32",
            )
        )
        for _ in range(2)
    ]

    (first, second) = (s.sample for s in scores if s is not None)
    assert first is not None
    assert second is not None
    assert len(first.labels) == pytest.approx(2000, abs=2)
    assert (first.labels != 0).all()
    np.testing.assert_array_equal(first.logits, second.logits)
    with torch.no_grad():
        logits = model(torch.from_numpy(slices[0].image)[None])[0].flatten(1).T
    painted = logits[slices[0].labels.ravel() == first.labels[0]].numpy()
    assert np.isclose(painted, first.logits[0], atol=1e-5).all(axis=1).any()


def ended_epoch(validation: Confusion | None) -> EpochEnded:
    return EpochEnded(
        epoch=2,
        n_epochs=5,
        step=20,
        learning_rate=1e-3,
        loss=0.25,
        training=np.array([[3, 1], [0, 4]]),
        validation_loss=math.nan if validation is None else 0.5,
        validation=validation,
        is_best=True,
        seconds=1.23456,
    )


def test_row_of_the_history_holds_all_scores() -> None:
    row = history_row(ended_epoch(np.array([[4, 0], [2, 2]])))

    assert row == {
        "epoch": 2,
        "step": 20,
        "seconds": 1.235,
        "learning_rate": 1e-3,
        "training_loss": 0.25,
        "training_accuracy": 7 / 8,
        "training_mean_iou": (3 / 4 + 4 / 5) / 2,
        "training_iou_1": 3 / 4,
        "training_iou_2": 4 / 5,
        "validation_loss": 0.5,
        "validation_accuracy": 6 / 8,
        "validation_mean_iou": pytest.approx((4 / 6 + 2 / 4) / 2),
        "validation_iou_1": 4 / 6,
        "validation_iou_2": 2 / 4,
    }


def test_without_validation_its_cells_are_empty_not_zero() -> None:
    row = history_row(ended_epoch(None))

    values = {v for name, v in row.items() if name.startswith("validation")}
    assert values == {None}


def test_segmentpy_fault_2_absent_phase_is_empty_and_shifts_no_other() -> None:
    row = history_row(ended_epoch(np.array([[0, 0], [0, 7]])))

    assert row["validation_iou_1"] is None
    assert row["validation_iou_2"] == 1
    assert row["validation_mean_iou"] == 1
