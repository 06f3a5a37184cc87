import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_lrcs.arrays import Labels
from napari_lrcs.comparison import compare
from napari_lrcs.comparison.compare import (
    SliceCompared,
    as_text_table,
    compare_volumes,
    comparison_rows,
    difference,
    write_comparison_csv,
    write_slices_csv,
)
from napari_lrcs.comparison.evaluate import evaluate_volume, measure_volume
from napari_lrcs.config import Axis
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.metrics.comparison import Comparison
from napari_lrcs.metrics.composition import Composition, Neighbourhood
from napari_lrcs.metrics.counting import compose
from napari_lrcs.phases import PhaseTable

TWO = PhaseTable.named("pore", "solid")
THREE = PhaseTable.numbered(3)

TARGET = np.array([[[1, 1], [2, 0]], [[0, 0], [0, 0]], [[1, 2], [2, 2]]], np.uint8)
PREDICTED = np.array([[[1, 2], [2, 2]], [[1, 1], [1, 1]], [[1, 1], [1, 2]]], np.uint8)

painted = arrays(np.uint8, (5, 3, 4), elements=st.integers(0, 3))
answered = arrays(np.uint8, (5, 3, 4), elements=st.integers(1, 3))


def compared(
    predicted: Labels,
    target: Labels,
    *,
    phases: PhaseTable = TWO,
    slices: list[int] | None = None,
    axis: Axis = "z",
    mask: Volume | None = None,
    neighbourhood: Neighbourhood = 26,
) -> tuple[list[SliceCompared], Comparison]:
    *events, last = compare_volumes(
        as_volume(predicted, name="predicted"),
        as_volume(target, name="target"),
        phases=phases,
        slices=slices,
        axis=axis,
        mask=mask,
        neighbourhood=neighbourhood,
    )
    assert isinstance(last, Comparison)
    return [e for e in events if isinstance(e, SliceCompared)], last


def assert_same(composition: Composition, expected: Composition) -> None:
    for name in ("n_voxels", "n_surface", "n_touching"):
        actual = getattr(composition, name)
        np.testing.assert_array_equal(actual, getattr(expected, name))
    assert composition.neighbourhood == expected.neighbourhood


class Counting:
    """An array that counts how often each slice is read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, array: Labels) -> None:
        self.array = array
        self.shape = array.shape
        self.n_reads = np.zeros(len(array), int)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Labels:
        self.n_reads[key[0]] += 1
        return self.array[key]


# ---- compare_volumes ----


def test_painted_voxels_are_counted_slice_by_slice_by_hand() -> None:
    events, comparison = compared(PREDICTED, TARGET)

    assert [(e.index, e.n_done, e.n_slices) for e in events] == [
        *((0, 1, 3), (1, 2, 3), (2, 3, 3))
    ]
    assert [e.confusion.tolist() for e in events] == [
        *([[1, 1], [0, 1]], [[0, 0], [0, 0]], [[1, 0], [2, 1]])
    ]
    assert [index for index, _ in comparison.per_slice] == [0, 2]
    assert comparison.confusion.tolist() == [[2, 1], [2, 2]]
    assert comparison.accuracy == 4 / 7
    assert comparison.mean_iou == (2 / 5 + 2 / 5) / 2
    assert comparison.scores["accuracy"] == 4 / 7


@pytest.mark.parametrize("neighbourhood", [26, 6, 8])
@pytest.mark.parametrize("axis", ["z", "y", "x"])
@given(target=painted, predicted=answered)
def test_both_are_measured_where_the_target_is_painted(
    axis: Axis, neighbourhood: Neighbourhood, target: Labels, predicted: Labels
) -> None:
    target[0, 0, 0] = 1  # something is painted

    _, comparison = compared(
        predicted, target, phases=THREE, axis=axis, neighbourhood=neighbourhood
    )

    across = "zyx".index(axis)
    for side, whole in (
        (comparison.target, target),
        (comparison.predicted, np.where(target > 0, predicted, np.uint8(0))),
    ):
        turned = np.moveaxis(whole, across, 0)
        expected = compose(turned, n_phases=3, neighbourhood=neighbourhood)
        assert_same(side, expected)
    assert comparison.neighbourhood == neighbourhood


@pytest.mark.parametrize(("n_read", "n_counted"), [(1, 1), (3, 1), (2, 2), (2, 3)])
@given(target=painted, predicted=answered)
def test_slabs_of_any_depth_count_the_same(
    n_read: int, n_counted: int, target: Labels, predicted: Labels
) -> None:
    target[0, 0, 0] = 1
    volumes = as_volume(predicted), as_volume(target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "_READ_VOXELS", 12 * n_read)
        patch.setattr(compare, "_COUNT_VOXELS", 12 * n_counted)

        _, comparison = compared(predicted, target, phases=THREE)

    confusion = evaluate_volume(*volumes, phases=THREE)
    np.testing.assert_array_equal(comparison.confusion, confusion)
    assert_same(comparison.target, measure_volume(volumes[1], phases=THREE))


@pytest.mark.parametrize(("n_read", "n_counted"), [(1, 1), (2, 3)])
def test_confidence_is_that_of_the_painted_voxels(
    n_read: int, n_counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "_READ_VOXELS", 4 * n_read)
    monkeypatch.setattr(compare, "_COUNT_VOXELS", 4 * n_counted)
    # Three of the painted voxels claim .8, two of them right; three claim 1; one has
    # no confidence.
    values = np.where(TARGET == 0, 9, 255).astype(np.uint8)
    values[0, 0], values[2, 1] = 204, (0, 204)

    *_, comparison = compare_volumes(
        as_volume(PREDICTED),
        as_volume(TARGET),
        phases=TWO,
        confidence=as_volume(values),
    )

    assert isinstance(comparison, Comparison)
    counts = comparison.reliability
    assert counts is not None
    assert {i + 1: n for i, n in enumerate(counts.n) if n} == {12: 3, 15: 3}
    assert counts.accuracy[11] == pytest.approx(2 / 3)
    assert counts.accuracy[14] == pytest.approx(2 / 3)
    assert counts.expected_calibration_error == pytest.approx(
        ((0.8 - 2 / 3) + (1 - 2 / 3)) / 2
    )


def test_confidence_that_is_nowhere_known_is_none() -> None:
    nothing = as_volume(np.zeros_like(TARGET))

    *_, comparison = compare_volumes(
        as_volume(PREDICTED), as_volume(TARGET), phases=TWO, confidence=nothing
    )

    assert isinstance(comparison, Comparison)
    assert comparison.reliability is None


@pytest.mark.parametrize("n_read", [1, 2, 3, 100])
def test_each_slice_is_read_once(n_read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_READ_VOXELS", 4 * n_read)
    monkeypatch.setattr(compare, "_COUNT_VOXELS", 4)
    target = Counting(np.ones((12, 2, 2), np.uint8))
    predicted = Counting(np.ones((12, 2, 2), np.uint8))

    events = list(
        compare_volumes(
            Volume(array=predicted, name="predicted"),
            Volume(array=target, name="target"),
            phases=TWO,
            slices=[0, 1, 2, 3, 4, 5, 9, 10],
        )
    )

    assert len(events) == 8 + 1
    expected = [1] * 6 + [0, 0, 0, 1, 1, 0]
    assert predicted.n_reads.tolist() == target.n_reads.tolist() == expected


def test_runs_of_chosen_slices_are_volumes_of_their_own() -> None:
    array = np.array([[[1]], [[2]], [[1]], [[1]], [[2]]], np.uint8)

    _, comparison = compared(array, array, slices=[4, 3, 0])

    # Slice 1, the only neighbour of slice 0, was not chosen; 3 and 4 are neighbours.
    assert [index for index, _ in comparison.per_slice] == [0, 3, 4]
    assert comparison.target.n_voxels.tolist() == [2, 1]
    assert comparison.target.n_surface.tolist() == [1, 1]


def test_only_voxels_inside_the_mask_count() -> None:
    inside = np.zeros(TARGET.shape, bool)
    inside[2, 0] = True
    predicted = np.where(inside, PREDICTED, np.uint8(0))

    _, comparison = compared(
        predicted, TARGET, mask=Volume(array=inside, name="mask"), axis="y"
    )

    assert comparison.confusion.tolist() == [[1, 0], [1, 0]]
    assert [index for index, _ in comparison.per_slice] == [0]
    assert comparison.predicted.n_voxels.tolist() == [2, 0]


def test_painted_voxel_without_a_prediction_is_refused() -> None:
    predicted = PREDICTED.copy()
    predicted[2, 1, 0] = 0

    for axis, place in (("z", 2), ("y", 1), ("x", 0)):
        with pytest.raises(ValueError, match=f"of slice {axis}={place}; choose"):
            compared(predicted, TARGET, axis=axis)  # type: ignore[arg-type]


@pytest.mark.parametrize("slices", [None, [1], []])
def test_nothing_painted_is_refused(slices: list[int] | None) -> None:
    target = TARGET if slices is not None else TARGET * 0

    with pytest.raises(ValueError, match="no voxel of target is painted"):
        compared(PREDICTED, target, slices=slices)


def test_slice_beyond_the_axis_is_refused() -> None:
    with pytest.raises(ValueError, match=r"slice 2 is out of range: .* 0 to 1"):
        compared(PREDICTED, TARGET, slices=[2], axis="x")


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="only volumes of one shape"):
        compared(PREDICTED, TARGET[:2])


# ---- difference ----


def test_difference_shows_what_should_have_been_found() -> None:
    predicted = np.array([[1, 2, 2], [0, 3, 3]], np.uint8)
    target = np.array([[1, 1, 0], [2, 3, 1]], np.uint8)

    wrong = difference(predicted, target)

    assert wrong.dtype == np.uint8
    assert wrong.tolist() == [[0, 1, 0], [0, 0, 1]]


def test_difference_of_other_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="must cover the same voxels"):
        difference(PREDICTED, TARGET[:1])


# ---- tables ----


@pytest.fixture
def row_of_four() -> Comparison:
    """Compare 1 1 2 with 1 2 2; pores and solid touch once in each."""
    target, predicted = ([[[1, 1, 2]]], [[[1, 2, 2]]])
    return compared(
        np.array(predicted, np.uint8),
        np.array(target, np.uint8),
        phases=PhaseTable.named("pore", "solid", "none"),
    )[1]


def test_rows_hold_phases_then_interfaces_by_hand(row_of_four: Comparison) -> None:
    rows = comparison_rows(row_of_four)

    assert [r["phase"] for r in rows] == [
        *("pore", "solid", "none", "pore – solid", "pore – none", "solid – none")
    ]
    pore, solid, none, touching, *_ = rows
    assert (pore["iou"], pore["dice"], pore["precision"], pore["recall"]) == (
        *(1 / 2, 2 / 3, 1, 1 / 2),
    )
    fractions = solid["target_volume_fraction"], solid["predicted_volume_fraction"]
    assert fractions == (1 / 3, 2 / 3)
    assert solid["target_surface_fraction"] == 1 / 3
    assert none["iou"] == pytest.approx(float("nan"), nan_ok=True)
    assert none["target_volume_fraction"] == 0
    assert (touching["iou"], touching["target_interface_fraction"]) == (None, 2 / 3)
    assert len({tuple(r) for r in rows}) == 1


Write = Callable[[Path, Comparison], None]


@pytest.mark.parametrize("write", [write_comparison_csv, write_slices_csv])
def test_tables_replace_what_was_there_when_complete(
    write: Write, row_of_four: Comparison, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    write(path, row_of_four)

    assert not path.read_text(encoding="utf-8").startswith("old")
    assert list(tmp_path.iterdir()) == [path]


def test_csv_has_unrounded_shares_and_empty_cells(
    row_of_four: Comparison, tmp_path: Path
) -> None:
    write_comparison_csv(tmp_path / "table.csv", row_of_four)

    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["predicted_volume_fraction"]) == 2 / 3
    assert rows[2]["iou"] == rows[3]["iou"] == ""
    assert rows[0]["predicted_interface_fraction"] == ""


def test_slices_have_a_row_each(row_of_four: Comparison, tmp_path: Path) -> None:
    write_slices_csv(tmp_path / "slices.csv", row_of_four)

    with (tmp_path / "slices.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["slice", "accuracy", "mean_iou", "iou pore", "iou solid", "iou none"],
        ["0", str(2 / 3), "0.5", "0.5", "0.5", ""],
    ]


def test_text_table_pastes_into_a_spreadsheet(row_of_four: Comparison) -> None:
    header, first, *_ = as_text_table(row_of_four).splitlines()

    assert header.split("\t") == list(comparison_rows(row_of_four)[0])
    assert first.split("\t")[:2] == ["pore", "0.5"]
