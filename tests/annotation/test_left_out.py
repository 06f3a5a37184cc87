from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pytest

from check_places import AFTER, BEFORE, check_at
from napari_lrcs.annotation.annotation import (
    AnnotatedVolume,
    Annotation,
    Role,
    read_annotation,
)
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.arrays import Labels
from napari_lrcs.config import TrainConfig
from napari_lrcs.io.volume import as_labels, as_volume

SHAPE = (20, 24, 32)
TEXT = (
    "lie in check patches and are left out of training and validation; they only judge"
)


def painted() -> Labels:
    """Paint stripes of two phases everywhere."""
    stripes = np.arange(SHAPE[-1]) // 2 % 2 + 1
    return np.broadcast_to(stripes, SHAPE).astype(np.uint8)


def annotate(
    *checks: Check, labels: Labels | None = None, begun_at: datetime = AFTER
) -> Annotation:
    roles: dict[Role, Sequence[int]] = {"train": [10], "validation": [4], "test": [0]}
    volume = AnnotatedVolume(
        image=as_volume(np.random.default_rng(0).random(SHAPE), name="image.tif"),
        labels=as_labels(as_volume(painted() if labels is None else labels)),
        roles=roles,
        checks=checks,
    )
    config = TrainConfig().with_changes(context_slices=0)
    return read_annotation([volume], config=config, begun_at=begun_at)


def n_left_out(annotation: Annotation) -> dict[int, int]:
    return {s.index: s.n_left_out for s in annotation.slices}


def test_a_patch_is_left_out_of_its_slice_with_its_margin() -> None:
    annotation = annotate(check_at((10, 4, 6), shape=SHAPE))

    (trained,) = annotation.with_role("train")
    expected = painted()[10]
    expected[3:13, 5:15] = 0
    np.testing.assert_array_equal(trained.labels, expected)
    assert n_left_out(annotation) == {10: 100, 4: 0, 0: 0}
    assert annotation.advice[0] == f"100 painted voxels of slice 10 {TEXT}"


def test_the_outer_slices_of_a_thick_patch_are_left_out_too() -> None:
    annotation = annotate(check_at((9, 4, 6), (3, 0, 24), shape=SHAPE, thickness=3))

    # The second one reaches the border of the volume: 9 rows and 9 columns are left.
    assert n_left_out(annotation) == {10: 100, 4: 81, 0: 0}
    assert annotation.advice[0] == f"181 painted voxels of slices 4,10 {TEXT}"


def test_patches_across_another_axis_are_left_out() -> None:
    annotation = annotate(check_at((8, 4, 6), shape=SHAPE, axis="x", thickness=3))

    (trained,) = annotation.with_role("train")
    assert n_left_out(annotation) == {10: 10 * 3, 4: 0, 0: 0}
    assert not trained.labels[3:13, 5:8].any()


def test_test_slices_lose_patches_as_well() -> None:
    assert n_left_out(annotate(check_at((0, 4, 6), shape=SHAPE)))[0] == 100


def test_nothing_is_said_of_patches_that_are_hit_by_nothing_but_they_are_recorded() -> (
    None
):
    check = check_at((15, 4, 6), shape=SHAPE)

    annotation = annotate(check)

    assert not any(TEXT in text for text in annotation.advice)
    assert all(s.left_out == (check.id,) for s in annotation.learnt.slices)


def test_work_that_began_before_the_drawing_keeps_its_painting() -> None:
    check = check_at((10, 4, 6), shape=SHAPE)

    annotation = annotate(check, begun_at=BEFORE)

    assert annotation.labels_hash == annotate().labels_hash
    assert [s.left_out for s in annotation.learnt.slices] == [(), ()]
    assert [s.begun_at for s in annotation.learnt.slices] == [BEFORE, BEFORE]


def test_it_is_told_where_a_network_learns_from() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[10, 2:5, 7:20] = 1
    labels[10, 4, 20] = 2
    labels[4, 0, 0] = labels[0, 1, 1] = 1

    learnt = annotate(labels=labels).learnt

    assert learnt.is_complete
    places = [(s.volume, s.axis, s.index, s.rows, s.columns) for s in learnt.slices]
    assert places == [
        ("image.tif", "z", 10, (2, 5), (7, 21)),
        ("image.tif", "z", 4, (0, 1), (0, 1)),
    ]


def test_a_slice_that_lies_in_patches_alone_is_refused() -> None:
    labels = painted()
    labels[4] = 0
    labels[4, 5:9, 7:11] = 1

    with pytest.raises(ValueError, match="no painted voxel outside its check patches"):
        annotate(check_at((4, 4, 6), shape=SHAPE), labels=labels)


def test_patches_of_another_volume_are_refused() -> None:
    with pytest.raises(ValueError, match=r"are for \(20, 24, 30\) voxels"):
        annotate(check_at((4, 4, 6), shape=(20, 24, 30)))
