from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from napari_lrcs.annotation.annotation import (
    AnnotatedVolume,
    Annotation,
    Role,
    read_annotation,
)
from napari_lrcs.annotation.held_out import Split, Splits
from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.preprocessing.mask import open_mask

SHAPE = (40, 24, 32)
PLAIN = TrainConfig().with_changes(context_slices=0)


def painted(shape: tuple[int, ...] = SHAPE, *, n_phases: int = 3) -> Labels:
    """Paint stripes of all phases."""
    stripes = np.arange(shape[-1]) // 2 % n_phases + 1
    return np.broadcast_to(stripes, shape).astype(np.uint8)


def grey(shape: tuple[int, ...] = SHAPE) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def annotated(
    labels: NDArray[Any],
    *,
    image: NDArray[Any] | None = None,
    mask: Volume | None = None,
    phases: PhaseTable | None = None,
    **slices: Sequence[int],
) -> AnnotatedVolume:
    roles: dict[Role, Sequence[int]] = {}
    for role in ("train", "validation", "test"):
        if role in slices:
            roles[role] = slices[role]
    painting = as_volume(labels, name="labels.tif")
    return AnnotatedVolume(
        image=as_volume(
            grey(labels.shape) if image is None else image,
            name="image.tif",
            voxel_size=(2.0, 0.5, 0.5),
            unit="micrometer",
        ),
        labels=as_labels(
            Volume(array=painting.array, name=painting.name, phases=phases)
        ),
        roles=roles,
        mask=mask,
    )


def annotate(
    labels: NDArray[Any], *, config: TrainConfig = PLAIN, **options: Any
) -> Annotation:
    return read_annotation([annotated(labels, **options)], config=config)


# ---- what is read ----


def test_slices_come_with_their_roles_and_places() -> None:
    image = grey()

    annotation = annotate(
        painted(), image=image, train=[10, 12], validation=[30], test=[2]
    )

    assert [(s.role, s.index) for s in annotation.slices] == [
        ("train", 10),
        ("train", 12),
        ("validation", 30),
        ("test", 2),
    ]
    for s in annotation.slices:
        np.testing.assert_array_equal(s.image, image[s.index][None])
        np.testing.assert_array_equal(s.labels, painted()[s.index])
    assert [s.index for s in annotation.with_role("train")] == [10, 12]
    assert annotation.advice == ()
    assert (annotation.voxel_size, annotation.unit) == ((2.0, 0.5, 0.5), "micrometer")


def test_segmentpy_fault_6_every_slice_knows_where_it_is_from() -> None:
    volumes = [annotated(painted(), train=[10], validation=[30]) for _ in range(2)]

    annotation = read_annotation(volumes, config=PLAIN)

    places = [(s.volume, s.index, s.role) for s in annotation.slices]
    assert places == [("image.tif", 10, "train"), ("image.tif", 30, "validation")] * 2


def test_neighbours_come_along_reflected_at_the_ends() -> None:
    image = grey()

    annotation = annotate(
        painted(),
        image=image,
        config=TrainConfig().with_changes(context_slices=2),
        train=[0],
        validation=[20],
        test=[39],
    )

    first, middle, last = annotation.slices
    np.testing.assert_array_equal(first.image, image[[2, 1, 0, 1, 2]])
    np.testing.assert_array_equal(middle.image, image[18:23])
    np.testing.assert_array_equal(last.image, image[[37, 38, 39, 38, 37]])
    np.testing.assert_array_equal(first.grey_levels, image[0].ravel())


@pytest.mark.parametrize(("axis", "place"), [("y", 1), ("x", 2)])
def test_slices_lie_across_the_chosen_axis(axis: Any, place: int) -> None:
    image, labels = grey(), painted()

    annotation = annotate(
        np.moveaxis(labels, 0, place),
        image=np.moveaxis(image, 0, place),
        config=TrainConfig().with_changes(context_slices=0, axis=axis),
        train=[10],
        validation=[30],
    )

    np.testing.assert_array_equal(annotation.slices[0].image[0], image[10])
    np.testing.assert_array_equal(annotation.slices[1].labels, labels[30])


def test_filters_are_applied() -> None:
    image = np.zeros(SHAPE, np.float32)
    image[10, 5, 5] = 100  # a hot pixel

    annotation = annotate(
        painted(),
        image=image,
        config=TrainConfig().with_changes(context_slices=0, median_size=3),
        train=[10],
        validation=[30],
    )

    assert not annotation.slices[0].image.any()


def test_mask_takes_labels_and_grey_levels_out() -> None:
    image = grey()
    mask = open_mask("cylinder", shape=SHAPE)
    assert mask is not None
    inside = mask.slab(10, 11)[0]
    image[:, ~inside] = np.nan

    annotation = annotate(
        painted(), image=image, mask=mask, train=[10], validation=[30]
    )

    s = annotation.slices[0]
    assert not s.labels[~inside].any()
    assert (s.labels[inside] > 0).all()
    np.testing.assert_array_equal(s.grey_levels, image[10][inside])
    assert np.isfinite(s.image).all()


def test_hash_is_of_painting_places_and_roles() -> None:
    other_paint = painted().copy()
    other_paint[10, 0, 0] = 3
    paintings: list[tuple[Labels, dict[str, Any]]] = [
        (painted(), {"train": [10], "validation": [30]}),
        (painted(), {"train": [11], "validation": [30]}),
        (painted(), {"train": [10], "test": [30]}),
        (other_paint, {"train": [10], "validation": [30]}),
    ]

    hashes = {annotate(labels, **slices).labels_hash for labels, slices in paintings}
    again = annotate(painted(), train=[10], validation=[30]).labels_hash

    assert len(hashes) == 4
    assert again in hashes


def test_a_file_name_that_is_not_text_is_hashed_too() -> None:
    annotation = annotate(painted(), train=[10])
    named = replace(
        annotation,
        slices=tuple(replace(s, volume="\udcff.tif") for s in annotation.slices),
    )

    assert named.labels_hash != annotation.labels_hash


# ---- phases ----


def test_phases_are_numbered_without_names() -> None:
    assert annotate(painted(), train=[10]).phases == PhaseTable.numbered(3)


def test_phases_of_the_labels_file_are_taken() -> None:
    assert annotate(painted(), phases=ELECTRODE, train=[10]).phases == ELECTRODE


def test_named_phases_go_before_those_of_the_file() -> None:
    names = PhaseTable.named("a", "b", "c")
    volume = annotated(painted(), phases=ELECTRODE, train=[10])

    assert read_annotation([volume], config=PLAIN, phases=names).phases == names


def test_labels_beyond_the_named_phases_are_refused() -> None:
    volume = annotated(painted(n_phases=4), train=[10])

    with pytest.raises(
        ValueError, match="labels reach 4, but only 3 phases are named: pore, CBD, NMC"
    ):
        read_annotation([volume], config=PLAIN, phases=ELECTRODE)


def test_phase_beyond_those_of_training_counts() -> None:
    labels = painted(n_phases=2).copy()
    labels[30, 0, 0] = 4

    annotation = annotate(labels, train=[10], validation=[30])

    assert len(annotation.phases) == 4
    assert "phase 4 is painted on no training slice" in annotation.advice


# ---- checks ----


def test_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(
        VolumeError,
        match=r"image\.tif is \(40, 24, 32\) .* labels\.tif is \(39, 24, 32\)",
    ):
        annotate(painted()[:39], image=grey(), train=[10])


@pytest.mark.parametrize("index", [-1, 40])
def test_slice_out_of_range_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=rf"slice {index} is out of range.* 0 to 39"):
        annotate(painted(), train=[10], test=[index])


@pytest.mark.parametrize("slices", [{"train": [10], "test": [10]}, {"train": [10, 10]}])
def test_slice_with_two_roles_is_refused(slices: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="slice 10 has more than one role"):
        annotate(painted(), **slices)


@pytest.mark.parametrize("slices", [{}, {"train": []}, {"train": [], "test": []}])
def test_volume_without_a_role_is_refused(slices: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no slice of image\.tif has a role"):
        annotate(painted(), **slices)


def test_no_slice_for_training_is_refused() -> None:
    with pytest.raises(ValueError, match="no slice is for training; name at least one"):
        annotate(painted(), validation=[10])


@pytest.mark.parametrize("role", ["train", "validation", "test"])
def test_unpainted_slice_is_refused(role: str) -> None:
    labels = painted().copy()
    labels[5] = 0
    slices: dict[str, Any] = {"train": [10], role: [5]}

    with pytest.raises(ValueError, match=rf"slice z=5 of labels\.tif .* for {role}"):
        annotate(labels, **slices)


def test_slice_that_is_painted_outside_the_mask_alone_is_refused() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[10, 0, 0] = 1

    with pytest.raises(ValueError, match="no painted voxel inside the mask"):
        annotate(labels, mask=open_mask("cylinder", shape=SHAPE), train=[10])


def test_single_phase_is_refused() -> None:
    labels = painted().copy()
    labels[10] = 2

    with pytest.raises(
        ValueError, match="the training slices show only phase 2; paint at least two"
    ):
        annotate(labels, train=[10], validation=[30])


@pytest.mark.parametrize("value", [-1, 256])
def test_labels_that_are_none_are_refused(value: int) -> None:
    labels = painted().astype(np.int16)
    labels[10, 0, 0] = value

    with pytest.raises(VolumeError):
        annotate(labels, train=[10])


def test_image_that_is_not_finite_is_refused() -> None:
    image = grey()
    image[10, 3, 4] = np.nan

    with pytest.raises(VolumeError, match=r"holds NaN or infinity .* slice z=10"):
        annotate(painted(), image=image, train=[10])


# ---- advice ----


def test_missing_phase_is_told_for_each_role() -> None:
    labels = painted().copy()
    labels[30][labels[30] == 2] = 1
    labels[2][labels[2] == 3] = 0

    advice = annotate(labels, train=[10], validation=[30], test=[2]).advice

    assert advice == (
        "phase 2 is painted on no validation slice",
        "phase 3 is painted on no test slice",
    )


def test_hardly_painted_phase_is_told() -> None:
    labels = painted().copy()
    labels[10][labels[10] == 3] = 0
    labels[10, 0, :5] = 3

    advice = annotate(labels, train=[10], validation=[30]).advice

    assert advice == ("phase 3 has only 5 painted voxels for training",)


@pytest.mark.parametrize(
    ("validation", "is_near"), [(13, True), (7, True), (14, False)]
)
def test_slices_nearer_than_a_tenth_of_the_depth_are_told(
    validation: int, is_near: bool
) -> None:
    advice = annotate(painted(), train=[10], validation=[validation]).advice

    # A tenth of 40 slices is 4.
    expected = (
        "train and validation slices of image.tif are 3 apart, less than a tenth of "
        "its 40 slices: if they look alike, the scores are too good",
    )
    assert advice == (expected if is_near else ())


def test_all_roles_are_held_against_one_another() -> None:
    advice = annotate(painted(), train=[10], validation=[30], test=[11, 31]).advice

    assert [text.split(" slices")[0] for text in advice] == [
        "train and test",
        "validation and test",
    ]


def test_slices_of_different_volumes_are_not_near() -> None:
    volumes = [annotated(painted(), train=[10]), annotated(painted(), validation=[10])]

    assert read_annotation(volumes, config=PLAIN).advice == ()


def test_volumes_that_number_the_same_phases_differently_are_refused() -> None:
    turned = PhaseTable.named("NMC", "pore", "cbd")
    tables = (ELECTRODE, turned)
    volumes = [annotated(painted(), train=[10], phases=table) for table in tables]

    with pytest.raises(ValueError, match="1 NMC, 2 pore, 3 cbd: the same phases in an"):
        read_annotation(volumes, config=PLAIN)


# ---- what is held out ----


def shares(annotation: Annotation, whole: Labels) -> dict[int, float]:
    """Return which share of each phase's painting is for validation."""
    held_out = np.concatenate([s.labels for s in annotation.with_role("validation")])
    return {
        label: float((held_out == label).sum() / (whole == label).sum())
        for label in np.unique(whole[whole > 0]).tolist()
    }


def test_a_fifth_of_each_phase_is_held_out_in_blocks_and_this_is_said() -> None:
    labels = painted((1, 240, 320))

    annotation = annotate(labels, train=[0])

    train, validation = annotation.slices
    assert (train.role, validation.role) == ("train", "validation")
    assert ((train.labels > 0) != (validation.labels > 0)).all()
    np.testing.assert_array_equal(train.labels + validation.labels, labels[0])
    assert train.labels.dtype == validation.labels.dtype == np.uint8
    for share in shares(annotation, labels).values():
        assert 0.15 < share < 0.3
    # Blocks, not a scatter of pixels: nearly all neighbours share their side.
    is_held_out = validation.labels > 0
    assert (is_held_out[:, 1:] != is_held_out[:, :-1]).mean() < 0.05
    assert any("is held out instead" in text for text in annotation.advice)


def test_scribbles_are_held_out_phase_by_phase() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((1, 256, 256), np.uint8)
    for label, n_scribbles in ((1, 40), (2, 12), (3, 4)):
        for y, x in rng.integers(0, 236, (n_scribbles, 2)):
            labels[0, y : y + 3, x : x + 20] = label

    annotation = annotate(labels, train=[0])

    for share in shares(annotation, labels).values():
        assert 0 < share < 0.6


@given(
    arrays(
        np.uint8,
        array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
        elements=st.sampled_from([0, 0, 0, 1, 2, 3]),
    )
)
def test_training_keeps_every_phase(labels: Labels) -> None:
    phases = set(np.unique(labels[labels > 0]).tolist())
    assume(len(phases) > 1)

    annotation = annotate(labels[None], train=[0])

    (train,) = annotation.with_role("train")
    assert set(np.unique(train.labels[train.labels > 0]).tolist()) == phases
    for validation in annotation.with_role("validation"):
        assert not ((train.labels > 0) & (validation.labels > 0)).any()
        np.testing.assert_array_equal(train.labels + validation.labels, labels)


def test_painting_too_small_to_hold_out_is_said() -> None:
    labels = np.zeros((1, 80, 80), np.uint8)
    labels[0, :2, :2] = [[1, 2], [1, 2]]

    annotation = annotate(labels, train=[0])

    assert not annotation.with_role("validation")
    assert not any("is held out" in text for text in annotation.advice)
    assert any("too little is painted" in text for text in annotation.advice)


def splits_of(former: Annotation) -> Splits:
    def where(role: Role) -> Mask:
        masks = [s.labels > 0 for s in former.with_role(role)]
        found: Mask = np.logical_or.reduce([np.zeros((240, 320), np.bool_), *masks])
        return found

    return {("image.tif", 0): Split(where("train"), where("validation"))}


@pytest.mark.parametrize("n_rows_more", [4, 120])
def test_a_network_that_goes_on_is_not_validated_on_what_it_has_learnt(
    n_rows_more: int,
) -> None:
    whole = painted((1, 240, 320))
    first = np.where(np.arange(240)[:, None] < 120, whole, 0).astype(np.uint8)
    second = np.where(np.arange(240)[:, None] < 120 + n_rows_more, whole, 0)
    second = second.astype(np.uint8)
    second[0, :40, :10] = 0  # erased
    former = annotate(first, train=[0])

    annotation = read_annotation(
        [annotated(second, train=[0])], config=PLAIN, splits=splits_of(former)
    )

    (had_learnt,), (had_held_out,) = (
        former.with_role("train"),
        former.with_role("validation"),
    )
    (train,), (validation,) = (
        annotation.with_role("train"),
        annotation.with_role("validation"),
    )
    np.testing.assert_array_equal(train.labels + validation.labels, second[0])
    held_out = validation.labels > 0
    assert not (held_out & (had_learnt.labels > 0)).any()
    kept = (had_held_out.labels > 0) & (second[0] > 0)
    assert held_out[kept].all()
    # A few rows are learnt; of a large stroke a part is held out.
    assert (held_out.sum() > kept.sum()) == (n_rows_more == 120)


def test_held_out_part_is_learnt_if_nothing_else_is_left() -> None:
    former = annotate(painted((1, 240, 320)), train=[0])
    (held_out,) = former.with_role("validation")

    annotation = read_annotation(
        [annotated(held_out.labels[None], train=[0])],
        config=PLAIN,
        splits=splits_of(former),
    )

    (train,) = annotation.with_role("train")
    assert len(np.unique(train.labels[train.labels > 0])) == 3


def test_splits_of_slices_of_another_shape_do_not_count() -> None:
    labels = painted((1, 240, 320))
    small = np.ones((8, 8), np.bool_)

    annotation = read_annotation(
        [annotated(labels, train=[0])],
        config=PLAIN,
        splits={("image.tif", 0): Split(small, small)},
    )

    assert annotation.labels_hash == annotate(labels, train=[0]).labels_hash


def test_test_slices_are_not_held_out() -> None:
    annotation = annotate(painted(), train=[10], test=[30])

    (test,) = annotation.with_role("test")
    np.testing.assert_array_equal(test.labels, painted()[30])


@pytest.mark.parametrize(("context_slices", "n_warnings"), [(0, 0), (2, 1)])
def test_neighbours_that_are_none_are_advised_against(
    context_slices: int, n_warnings: int
) -> None:
    config = TrainConfig().with_changes(context_slices=context_slices)
    noise = annotated(painted(), train=[5], validation=[30])

    advice = read_annotation([noise], config=config).advice

    told = [text for text in advice if "set the context slices to 0" in text]
    assert len(told) == n_warnings
