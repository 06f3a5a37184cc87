import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_lrcs.io.records import as_json
from napari_lrcs.metrics.overlap import (
    accuracy,
    confusion_matrix,
    dice_per_phase,
    iou_per_phase,
    mean_iou,
    not_learnt,
    precision_per_phase,
    recall_per_phase,
    scores_dict,
)
from napari_lrcs.phases import ELECTRODE, UNPAINTED, PhaseTable

TARGET = np.array([[1, 1, 2], [2, UNPAINTED, 2]], np.uint8)
PREDICTED = np.array([[1, 2, 2], [2, 1, 2]], np.uint8)


def test_rows_are_the_target_and_unpainted_voxels_do_not_count() -> None:
    confusion = confusion_matrix(TARGET, PREDICTED, n_phases=3)

    assert confusion.dtype == np.int64
    assert confusion.tolist() == [[1, 1, 0], [0, 3, 0], [0, 0, 0]]


def test_iou_is_shared_voxels_over_voxels_in_either() -> None:
    confusion = confusion_matrix(TARGET, PREDICTED, n_phases=3)

    np.testing.assert_allclose(iou_per_phase(confusion), [1 / 2, 3 / 4, np.nan])


def test_dice_precision_recall_and_accuracy_of_a_hand_worked_case() -> None:
    confusion = confusion_matrix(TARGET, PREDICTED, n_phases=3)

    np.testing.assert_allclose(dice_per_phase(confusion), [2 / 3, 6 / 7, np.nan])
    np.testing.assert_allclose(precision_per_phase(confusion), [1, 3 / 4, np.nan])
    np.testing.assert_allclose(recall_per_phase(confusion), [1 / 2, 1, np.nan])
    assert accuracy(confusion) == 4 / 5
    assert mean_iou(confusion) == (1 / 2 + 3 / 4) / 2


def test_segmentpy_fault_2_an_absent_phase_is_nan_and_shifts_no_other() -> None:
    target = np.array([1, 1, 3, 3], np.uint8)
    predicted = np.array([1, 1, 3, 1], np.uint8)

    confusion = confusion_matrix(target, predicted, n_phases=3)

    np.testing.assert_allclose(iou_per_phase(confusion), [2 / 3, np.nan, 1 / 2])
    assert mean_iou(confusion) == (2 / 3 + 1 / 2) / 2


def test_phase_that_is_only_predicted_scores_zero() -> None:
    confusion = confusion_matrix(
        np.array([1, 1], np.uint8), np.array([1, 2], np.uint8), n_phases=2
    )

    assert iou_per_phase(confusion).tolist() == [1 / 2, 0]


def test_scores_of_nothing_are_nan_without_a_warning() -> None:
    confusion = np.zeros((2, 2), np.int64)

    assert math.isnan(accuracy(confusion))
    assert math.isnan(mean_iou(confusion))


@given(
    labels=arrays(np.uint8, (2, 4, 3, 5), elements=st.integers(1, 4)),
    cut=st.integers(0, 4),
)
def test_matrices_of_slabs_add_up_to_that_of_the_volume(
    labels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], cut: int
) -> None:
    target, predicted = labels

    parts = confusion_matrix(target[:cut], predicted[:cut], n_phases=4)
    parts += confusion_matrix(target[cut:], predicted[cut:], n_phases=4)

    whole = confusion_matrix(target, predicted, n_phases=4)
    np.testing.assert_array_equal(parts, whole)
    assert whole.sum() == target.size


def test_all_255_phases_are_counted_over_many_chunks() -> None:
    rng = np.random.default_rng(0)
    target, predicted = rng.integers(1, 256, (2, 300_001), dtype=np.uint8)

    confusion = confusion_matrix(target, predicted, n_phases=255)

    expected = np.zeros((255, 255), np.int64)
    np.add.at(expected, (target.astype(int) - 1, predicted.astype(int) - 1), 1)
    np.testing.assert_array_equal(confusion, expected)


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target .*\(2, 3\), predicted \(1, 3\)"):
        confusion_matrix(TARGET, PREDICTED[:1], n_phases=3)


@pytest.mark.parametrize("name", ["target", "predicted"])
def test_label_beyond_the_phases_is_refused(name: str) -> None:
    both = {"target": TARGET, "predicted": PREDICTED}
    both[name] = both[name] + np.uint8(5)

    with pytest.raises(ValueError, match=f"{name} has the label 7, .* 3 phases"):
        confusion_matrix(**both, n_phases=3)


def test_prediction_with_holes_in_the_painted_area_is_refused() -> None:
    predicted = PREDICTED.copy()
    predicted[0] = UNPAINTED

    with pytest.raises(ValueError, match=r"unpainted.* in 3 voxels"):
        confusion_matrix(TARGET, predicted, n_phases=3)


def test_unpainted_slab_counts_nothing() -> None:
    confusion = confusion_matrix(np.zeros_like(TARGET), PREDICTED, n_phases=2)

    assert not confusion.any()


def test_unpainted_target_is_refused() -> None:
    with pytest.raises(ValueError, match="no painted voxel"):
        scores_dict(np.zeros((3, 3), np.int64), ELECTRODE)


def test_matrix_of_other_phases_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\), but there are 3 phases"):
        scores_dict(np.eye(2, dtype=np.int64), ELECTRODE)


def test_scores_are_json_with_null_for_the_undefined() -> None:
    confusion = np.array([[2, 1], [0, 0]])

    scores = scores_dict(confusion, PhaseTable.named("pore", "solid"))

    assert json.loads(as_json(scores)) == {
        "accuracy": 2 / 3,
        "mean_iou": 1 / 3,
        "phases": [
            {
                "label": 1,
                "name": "pore",
                "iou": 2 / 3,
                "dice": 4 / 5,
                "precision": 1.0,
                "recall": 2 / 3,
            },
            {
                "label": 2,
                "name": "solid",
                "iou": 0.0,
                "dice": 0.0,
                "precision": 0.0,
                "recall": None,
            },
        ],
        "confusion": [[2, 1], [0, 0]],
        "never_predicted": [],
        "not_learnt": [],
    }


def test_phases_that_are_never_predicted_where_they_are_painted_are_named() -> None:
    phases = PhaseTable.named("pore", "crack", "solid", "dust")
    confusion = np.array([[3, 0, 0, 0], [1, 0, 4, 0], [1, 0, 0, 0], [0, 0, 0, 0]])

    # Solid is predicted, but never where it is painted; dust is not painted.
    assert scores_dict(confusion, phases)["never_predicted"] == ["crack", "solid"]


def test_a_phase_with_an_iou_under_a_tenth_is_not_learnt() -> None:
    # Painted: 20 pore, 10 crack, no glue; IoU 11/20, 1/19 and 0/1 where painted.
    confusion = np.array([[11, 9, 0], [9, 1, 0], [0, 0, 0]])
    phases = PhaseTable.named("pore", "crack", "glue")

    (found,) = not_learnt(confusion, phases)

    assert (found.label, found.name, found.iou) == (2, "crack", 1 / 19)
    assert str(found) == "crack has an IoU of only 5.3%"
    assert scores_dict(confusion, phases)["not_learnt"] == [
        {"label": 2, "name": "crack", "iou": 1 / 19}
    ]


def test_a_phase_that_is_predicted_but_nowhere_painted_was_not_to_be_learnt() -> None:
    confusion = np.array([[9, 1], [0, 0]])

    assert not_learnt(confusion, PhaseTable.named("pore", "crack")) == ()


def test_an_iou_of_a_tenth_is_learnt() -> None:
    confusion = np.array([[81, 9], [0, 1]])

    assert not_learnt(confusion, PhaseTable.named("pore", "crack")) == ()
