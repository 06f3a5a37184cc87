from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.comparison.evaluate import (
    check_comparable,
    evaluate_volume,
    measure_volume,
    phases_in,
    phases_of,
)
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.metrics.composition import measure_dict
from napari_lrcs.metrics.counting import compose
from napari_lrcs.metrics.overlap import confusion_matrix, scores_dict
from napari_lrcs.phases import ELECTRODE, PhaseTable

TWO = PhaseTable.numbered(2)
THREE = PhaseTable.numbered(3)

TARGET = np.array([[[1, 1], [2, 0]], [[1, 2], [2, 2]]], np.uint8)
PREDICTED = np.array([[[1, 2], [2, 2]], [[1, 1], [1, 2]]], np.uint8)


def labels(array: Labels, *, phases: PhaseTable | None = None) -> Volume:
    volume = as_labels(as_volume(array, name="labels"))
    return Volume(array=volume.array, name="labels", phases=phases)


def mask(array: NDArray[np.bool_]) -> Volume:
    return Volume(array=array, name="mask")


class Unreadable:
    """A file whose voxels are never to be read."""

    shape = (2, 2, 2)
    dtype = np.dtype(np.uint8)

    def __getitem__(self, key: object) -> None:
        pytest.fail("a voxel is read")


# ---- evaluate_volume ----


def test_painted_against_predicted_is_counted_by_hand() -> None:
    confusion = evaluate_volume(labels(PREDICTED), labels(TARGET), phases=TWO)

    assert confusion.tolist() == [[2, 1], [2, 2]]


def test_only_the_slices_that_are_named_count() -> None:
    confusion = evaluate_volume(
        labels(PREDICTED), labels(TARGET), phases=TWO, slices=[1]
    )

    assert confusion.tolist() == [[1, 0], [2, 1]]


def test_only_voxels_inside_the_mask_count() -> None:
    inside = np.array([[[1, 0], [1, 1]], [[0, 0], [0, 1]]], bool)

    confusion = evaluate_volume(
        labels(PREDICTED), labels(TARGET), phases=TWO, mask=mask(inside)
    )

    assert confusion.tolist() == [[1, 0], [0, 2]]


@given(
    arrays(np.uint8, (5, 3, 4), elements=st.integers(0, 3)),
    arrays(np.uint8, (5, 3, 4), elements=st.integers(1, 3)),
)
def test_slices_add_up_to_the_confusion_of_the_whole(
    target: Labels, predicted: Labels
) -> None:
    target[0, 0, 0] = 1  # something is painted

    confusion = evaluate_volume(labels(predicted), labels(target), phases=THREE)

    whole = confusion_matrix(target, predicted, n_phases=3)
    np.testing.assert_array_equal(confusion, whole)


def test_painted_voxel_without_a_prediction_is_refused() -> None:
    predicted = PREDICTED.copy()
    predicted[1, 0, 0] = 0

    with pytest.raises(ValueError, match=r"of slice z=1; choose slices .* or .* mask"):
        evaluate_volume(labels(predicted), labels(TARGET), phases=TWO)


def test_unpainted_voxel_needs_no_prediction() -> None:
    predicted = np.where(TARGET == 0, 0, PREDICTED).astype(np.uint8)

    confusion = evaluate_volume(labels(predicted), labels(TARGET), phases=TWO)

    assert confusion.sum() == 7


def test_unpainted_target_is_refused() -> None:
    with pytest.raises(ValueError, match="no voxel of labels is painted"):
        evaluate_volume(labels(PREDICTED), labels(TARGET * 0), phases=TWO)


def test_mask_around_nothing_painted_is_refused() -> None:
    nowhere = mask(np.zeros(TARGET.shape, bool))

    with pytest.raises(ValueError, match="no voxel of labels is painted"):
        evaluate_volume(labels(PREDICTED), labels(TARGET), phases=TWO, mask=nowhere)


def test_other_shapes_are_refused_before_a_voxel_is_read() -> None:
    unreadable = Volume(array=Unreadable(), name="unreadable")

    with pytest.raises(VolumeError, match=r"\(1, 2, 2\); only volumes of one shape"):
        check_comparable(unreadable, labels(TARGET[:1]), slices=None)
    with pytest.raises(VolumeError, match="only volumes of one shape"):
        evaluate_volume(unreadable, labels(TARGET[:1]), phases=TWO)


def test_phases_in_another_order_are_refused_before_a_voxel_is_read() -> None:
    predicted, target = (
        Volume(array=Unreadable(), name=name, phases=PhaseTable.named(*phases))
        for name, phases in (("p.tif", ("pore", "NMC")), ("t.tif", ("NMC", "pore")))
    )

    with pytest.raises(
        ValueError, match=r"1 pore, 2 NMC, but t\.tif has 1 NMC, 2 pore"
    ):
        check_comparable(predicted, target, slices=None)


@pytest.mark.parametrize("z", [-1, 2])
def test_slice_out_of_range_is_refused_before_a_voxel_is_read(z: int) -> None:
    unreadable = Volume(array=Unreadable(), name="unreadable")

    with pytest.raises(ValueError, match=f"slice {z} is out of range: .* 0 to 1"):
        evaluate_volume(unreadable, unreadable, phases=TWO, slices=[0, z])


# ---- measure_volume ----


@given(
    arrays(
        np.uint8,
        st.tuples(st.integers(1, 40), st.just(2), st.just(3)),
        elements=st.integers(0, 3),
    )
)
def test_slabs_measure_as_the_whole_volume_does(array: Labels) -> None:
    array[0, 0, 0] = 1  # something is labelled

    measured = measure_volume(labels(array), phases=THREE)

    whole = compose(array, n_phases=3)
    np.testing.assert_array_equal(measured.n_voxels, whole.n_voxels)
    np.testing.assert_array_equal(measured.n_surface, whole.n_surface)
    np.testing.assert_array_equal(measured.n_touching, whole.n_touching)


def test_voxels_outside_the_mask_are_nobodys_neighbours() -> None:
    array = np.array([[[1, 2, 1, 1]]], np.uint8)
    inside = np.array([[[1, 0, 1, 1]]], bool)

    measured = measure_volume(labels(array), phases=TWO, mask=mask(inside))

    assert measured.n_voxels.tolist() == [3, 0]
    assert not measured.n_surface.any()


def test_the_neighbourhood_is_the_one_asked_for() -> None:
    diagonal = np.array([[[1, 0], [0, 2]]], np.uint8)

    measured = {
        n: measure_volume(labels(diagonal), phases=TWO, neighbourhood=n).n_surface.sum()
        for n in (4, 8)
    }

    assert measured == {4: 0, 8: 2}


def test_labels_of_nothing_are_not_measured() -> None:
    with pytest.raises(ValueError, match="no voxel of labels is labelled; nothing to"):
        measure_volume(labels(TARGET * 0), phases=TWO)


# ---- phases_of ----


def test_phases_are_those_of_the_file() -> None:
    unreadable = Volume(array=Unreadable(), name="unreadable", phases=ELECTRODE)

    assert phases_of(unreadable) == ELECTRODE


def test_phases_without_names_are_numbered_up_to_the_highest() -> None:
    array = np.zeros((20, 1, 1), np.uint8)
    array[19] = 4

    assert phases_of(labels(array)) == PhaseTable.numbered(4)


def test_there_are_at_least_two_phases() -> None:
    assert phases_of(labels(np.ones((1, 1, 1), np.uint8))) == TWO


def test_one_file_names_the_phases_of_both() -> None:
    named = labels(PREDICTED, phases=ELECTRODE)

    assert phases_of(named, labels(TARGET)) == ELECTRODE
    assert phases_of(labels(TARGET), named) == ELECTRODE


def test_names_that_do_not_cover_all_labels_do_not_serve() -> None:
    named = labels(PREDICTED, phases=PhaseTable.named("pore", "solid"))

    assert phases_of(named, labels(TARGET + 2)) == PhaseTable.numbered(4)


# ---- phases_in ----

MASK = np.array([[[0, 255, 255], [0, 0, 7]]], np.uint8)


def test_only_phases_that_occur_are_counted_under_their_own_labels() -> None:
    phases = phases_in(labels(MASK))

    measured = measure_volume(labels(MASK), phases=phases, neighbourhood=8)
    confusion = evaluate_volume(labels(MASK), labels(MASK), phases=phases)

    assert [phase.name for phase in phases] == ["phase 7", "phase 255"]
    assert confusion.tolist() == [[1, 0], [0, 2]]
    found = measure_dict(measured, phases)
    assert [row["label"] for row in found["phases"]] == [7, 255]
    assert found["interfaces"] == [
        {"phases": [7, 255], "fraction": 1.0, "sides": [1 / 3, 2 / 3]}
    ]
    scored = scores_dict(confusion, phases)["phases"]
    assert [(row["label"], row["iou"]) for row in scored] == [(7, 1.0), (255, 1.0)]


def test_phases_that_a_file_names_are_all_counted() -> None:
    unreadable = Volume(array=Unreadable(), name="unreadable", phases=ELECTRODE)

    assert phases_in(unreadable) == tuple(ELECTRODE)


def test_labels_without_a_voxel_have_no_phase() -> None:
    with pytest.raises(ValueError, match="no voxel of labels is labelled"):
        phases_in(labels(MASK * 0))


@pytest.mark.parametrize("count", [measure_volume, evaluate_volume])
def test_a_label_of_none_of_the_phases_is_refused(count: Callable[..., object]) -> None:
    only = phases_in(labels(MASK))[1:]
    volumes = [labels(MASK)] * (2 if count is evaluate_volume else 1)

    with pytest.raises(ValueError, match="label"):
        count(*volumes, phases=only)
