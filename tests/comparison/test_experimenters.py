import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_lrcs.arrays import Labels
from napari_lrcs.comparison import votes
from napari_lrcs.comparison.experimenter_tables import (
    as_text_table,
    experimenter_rows,
    experimenters_dict,
)
from napari_lrcs.comparison.experimenter_volumes import open_experimenters
from napari_lrcs.comparison.experimenters import (
    ExperimentersCompared,
    SliceVoted,
    compare_experimenters,
)
from napari_lrcs.comparison.votes import (
    VoteFiles,
    consensus,
    majority_vote,
    write_votes,
)
from napari_lrcs.errors import LrcsError, VolumeError
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.preprocessing.mask import as_mask

# Anna and Ben: 7 voxels in common, of which the last of the first slice and the first
# two of the second differ. Carl has painted the first slice only, like Anna but for its
# first voxel.
ANNA = [[[1, 1, 2, 2, 0]], [[1, 1, 2, 2, 0]]]
BEN = [[[1, 1, 2, 1, 1]], [[2, 2, 2, 0, 0]]]
CARL = [[[2, 1, 2, 2, 0]], [[0, 0, 0, 0, 0]]]


def volume(labels: Any, name: str, phases: PhaseTable | None = None) -> Volume:
    made = as_labels(as_volume(np.array(labels, np.uint8), name=name))
    return Volume(array=made.array, name=name, phases=phases)


def three() -> list[Volume]:
    names = ("Anna", "Ben", "Carl")
    return [volume(v, n) for v, n in zip((ANNA, BEN, CARL), names, strict=True)]


def compare(volumes: Sequence[Volume], **options: Any) -> ExperimentersCompared:
    *_, last = compare_experimenters(volumes, **options)
    assert isinstance(last, ExperimentersCompared)
    return last


# ---- pairs ----


def test_disagreement_is_of_the_voxels_that_both_have_painted() -> None:
    compared = compare(three())

    np.testing.assert_allclose(
        compared.disagreement,
        [[0, 3 / 7, 1 / 4], [3 / 7, 0, 2 / 4], [1 / 4, 2 / 4, 0]],
    )
    assert compared.mean_disagreement == pytest.approx((3 / 7 + 1 / 4 + 1 / 2) / 3)


def test_iou_of_pairs_is_that_counted_by_hand() -> None:
    found = experimenters_dict(compare(three()))

    ious = {
        tuple(pair["experimenters"]): [phase["iou"] for phase in pair["phases"]]
        for pair in found["pairs"]
    }
    assert ious == {
        ("Anna", "Ben"): [2 / 5, 2 / 5],
        ("Anna", "Carl"): [1 / 2, 2 / 3],
        ("Ben", "Carl"): [1 / 3, 1 / 3],
    }


def test_disagreement_without_a_common_voxel_is_undefined() -> None:
    left, right = [[[1, 2, 0, 0]]], [[[0, 0, 1, 2]]]
    both = [[[1, 1, 1, 2]]]

    compared = compare([volume(left, "a"), volume(right, "b"), volume(both, "c")])

    expected = [[0, np.nan, 1 / 2], [np.nan, 0, 0], [1 / 2, 0, 0]]
    np.testing.assert_allclose(compared.disagreement, expected)
    assert compared.mean_disagreement == 1 / 4


def test_only_chosen_slices_inside_the_mask_count() -> None:
    inside = as_mask(volume([[[1, 1, 1, 0, 0]]] * 2, "mask"), shape=(2, 1, 5))

    compared = compare(three()[:2], slices=[1], mask=inside)

    assert compared.confusions[0, 1].tolist() == [[0, 2], [0, 1]]


# ---- where they differ ----


def test_share_near_counts_the_interfaces_of_either() -> None:
    # Differing: columns 2 (on both interfaces' sides), and 8, far from that of a, but
    # one voxel away from b's second interface.
    a = [[[1, 1, 1, 2, 2, 2, 2, 2, 2, 2]]]
    b = [[[1, 1, 2, 2, 2, 2, 2, 2, 1, 1]]]

    compared = compare([volume(a, "a"), volume(b, "b")], near=[1, 0])

    # 2 and 8 are on interfaces, 9 one voxel away from one.
    assert compared.near == (0, 1)
    assert compared.share_near((0, 1)).tolist() == [2 / 3, 1]


def test_share_near_is_undefined_where_nothing_differs() -> None:
    compared = compare([volume(ANNA, "a"), volume(ANNA, "b")])

    assert np.isnan(compared.share_near()).all()


# ---- target ----


def test_each_is_scored_against_the_target() -> None:
    target = volume([[[1, 1, 2, 2, 1]], [[0, 0, 0, 0, 0]]], "truth")

    found = experimenters_dict(compare(three(), target=target))["target"]

    assert found is not None
    assert found["name"] == "truth"
    scored = {
        s["experimenter"]: (s["n_voxels"], s["accuracy"], s["phases"][0]["iou"])
        for s in found["experimenters"]
    }
    assert scored == {
        "Anna": (4, 1, 1),
        "Ben": (5, 4 / 5, 3 / 4),
        "Carl": (4, 3 / 4, 1 / 2),
    }


# ---- phases ----


def test_phases_are_named_as_the_first_that_covers_all_labels() -> None:
    pair = [volume(ANNA, "a", PhaseTable.named("air", "steel"))]
    pair.append(volume(BEN, "b", ELECTRODE))

    compared = compare(pair)

    assert compared.phases == ELECTRODE
    assert compared.confusions[0, 1].shape == (3, 3)


def test_labels_met_late_widen_all_matrices() -> None:
    a, b = [[[1, 2]], [[3, 1]]], [[[1, 1]], [[3, 3]]]

    compared = compare([volume(a, "a"), volume(b, "b")])

    assert compared.phases.names == ("phase 1", "phase 2", "phase 3")
    assert compared.confusions[0, 1].tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 1]]


def test_only_phases_that_occur_are_listed_without_names() -> None:
    a, b = [[[1, 2]], [[255, 1]]], [[[1, 1]], [[255, 255]]]

    compared = compare([volume(a, "a"), volume(b, "b")])

    (pair,) = experimenters_dict(compared)["pairs"]
    assert [row["label"] for row in pair["phases"]] == [1, 2, 255]
    assert [row["iou"] for row in pair["phases"]] == [1 / 3, 0, 1 / 2]


# ---- votes ----


def test_votes_come_slice_by_slice() -> None:
    events = list(compare_experimenters(three(), slices=[1, 0]))

    found = [event for event in events if isinstance(event, SliceVoted)]
    assert [event.index for event in found] == [0, 1]
    assert found[0].majority.tolist() == [[1, 1, 2, 2, 1]]
    # Two of three, all, all, two of three, the only one.
    assert found[0].agreement.tolist() == [[170, 255, 255, 170, 255]]
    # Ties go to the lowest label, at half of those who painted.
    assert found[1].majority.tolist() == [[1, 1, 2, 2, 0]]
    assert found[1].agreement.tolist() == [[128, 128, 255, 255, 0]]


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_written_votes_are_those_of_the_slices(tmp_path: Path, suffix: str) -> None:
    shape = (20, 6, 7)
    rng = np.random.default_rng(0)
    arrays = rng.integers(0, 4, (3, *shape)).astype(np.uint8)
    volumes = [volume(labels, f"{i}") for i, labels in enumerate(arrays)]
    files = VoteFiles(
        majority=tmp_path / f"majority{suffix}",
        agreement=tmp_path / f"agreement{suffix}",
    )
    slices = [0, 15, 16, 19]

    events = list(write_votes(files, volumes, phases=ELECTRODE, slices=slices))

    expected = np.zeros((2, *shape), np.uint8)
    expected[:, slices] = majority_vote(arrays[:, slices])
    for path, votes_of_all in zip(files.wanted.values(), expected, strict=True):
        np.testing.assert_array_equal(open_volume(path).slab(0, 20), votes_of_all)
    assert open_labels(tmp_path / f"majority{suffix}").phases == ELECTRODE
    assert open_volume(tmp_path / f"agreement{suffix}").phases is None
    assert all(0 <= event.share <= 1 for event in events)


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_writing_that_is_stopped_leaves_nothing(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(votes, "_PAUSE_SECONDS", 0)
    pair = [volume(np.ones((64, 300, 300)), name) for name in "ab"]
    files = VoteFiles(majority=tmp_path / f"new{suffix}")

    with closing(_generator(write_votes(files, pair, phases=ELECTRODE))) as events:
        next(events)

    assert not list(tmp_path.iterdir())


def _generator(events: Iterator[Any]) -> Any:
    return events


# ---- consensus ----


def noisy_raters(truth: Labels) -> Labels:
    """Copy the truth with 1% errors twice, and with 45% of the same kind thrice."""
    rng = np.random.default_rng(0)
    raters = np.stack([truth] * 5)
    for rater, share in zip(raters, (0.01, 0.01, 0.45, 0.45, 0.45), strict=True):
        wrong = rng.random(truth.shape) < share
        rater[wrong] = rater[wrong] % 3 + 1
    return raters


def test_consensus_trusts_the_reliable_more_than_a_vote_does() -> None:
    pytest.importorskip("SimpleITK")
    truth = np.random.default_rng(1).integers(1, 4, (4, 30, 30)).astype(np.uint8)
    raters = noisy_raters(truth)

    found = consensus(raters)

    assert np.mean(found != truth) < 0.02
    assert np.mean(majority_vote(raters)[0] != truth) > 0.05


def test_consensus_is_unpainted_where_not_all_have_painted() -> None:
    pytest.importorskip("SimpleITK")
    labels = np.array([[1, 2, 2, 0, 1], [1, 2, 2, 1, 1], [1, 2, 2, 1, 0]], np.uint8)

    assert consensus(labels).tolist() == [1, 2, 2, 0, 0]


def test_consensus_is_written(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    raters = noisy_raters(np.full((3, 8, 8), 2, np.uint8))
    volumes = [volume(labels, f"{i}") for i, labels in enumerate(raters)]
    files = VoteFiles(consensus=tmp_path / "new.tif")

    list(write_votes(files, volumes, phases=ELECTRODE, slices=[2]))

    written = open_labels(tmp_path / "new.tif")
    assert not written.slab(0, 2).any()
    np.testing.assert_array_equal(written.slab(2, 3)[0], consensus(raters[:, 2]))
    assert written.phases == ELECTRODE


def test_missing_simpleitk_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)

    with pytest.raises(LrcsError, match=r'pip install "napari-lrcs\[consensus\]"'):
        VoteFiles(consensus=tmp_path / "new.tif").check_new(overwrite=False)


# ---- tables ----


def test_rows_are_pairs_then_scores() -> None:
    rows = experimenter_rows(compare(three()[:2], target=three()[2], near=[5]))

    assert rows[0] == {
        "first": "Anna",
        "second": "Ben",
        "voxels": 7,
        "disagreement": pytest.approx(3 / 7),
        "mean iou": pytest.approx(2 / 5),
        "iou phase 1": 2 / 5,
        "iou phase 2": 2 / 5,
        "within 5": 1,
    }
    assert [(row["first"], row["second"]) for row in rows[1:]] == [
        ("Anna", "Carl"),
        ("Ben", "Carl"),
    ]
    assert [row["within 5"] for row in rows[1:]] == [None, None]
    matrix = as_text_table(compare(three())).splitlines()[:2]
    assert matrix[0].split("\t") == ["disagreement", "Anna", "Ben", "Carl"]
    assert matrix[1].split("\t")[1] == "0.0"


# ---- what cannot be compared ----


def test_all_files_that_cannot_be_opened_are_told(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.tif" for name in ("good", "empty", "text")]
    tifffile.imwrite(paths[0], np.ones((2, 5, 5), np.uint8))
    paths[1].touch()
    paths[2].write_text("no picture")

    with pytest.raises(VolumeError) as caught:
        open_experimenters(*paths)

    text = str(caught.value)
    assert text.startswith("2 of 3 files cannot be used")
    assert "empty.tif is empty (0 bytes)" in text
    assert "text.tif cannot be read" in text


def test_all_that_turn_out_damaged_are_told() -> None:
    damaged = []
    for name, z in (("one", 0), ("two", 2)):
        labels = np.ones((3, 2, 2), np.int16)
        labels[z] = 300
        damaged.append(as_labels(as_volume(labels, name=name)))

    with pytest.raises(VolumeError) as caught:
        compare([volume(np.ones((3, 2, 2)), "good"), *damaged])

    text = str(caught.value)
    assert text.startswith("2 of 3 files")
    assert "one holds 300 in slice z = 0" in text
    assert "two holds 300 in slice z = 2" in text


def test_files_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / name / "labels.tif" for name in ("anna", "ben")]
    for path in paths:
        path.parent.mkdir()
        tifffile.imwrite(path, np.ones((2, 5, 5), np.uint8))

    names = [opened.name for opened in open_experimenters(*paths)]

    assert names == [str(path) for path in paths]


def test_labels_of_other_shapes_are_named() -> None:
    pair = [*three(), volume(np.ones((3, 1, 5)), "Dora")]

    with pytest.raises(VolumeError, match=r"Anna, Ben, Carl: \(2, 1, 5\); Dora: \(3"):
        compare(pair)


def test_experimenters_who_number_phases_differently_are_refused() -> None:
    three = [volume(ANNA, "a", ELECTRODE), volume(BEN, "b")]
    three.append(volume(CARL, "c", PhaseTable.named("NMC", "pore", "CBD")))

    with pytest.raises(ValueError, match=r"a has 1 pore, .* but c has 1 NMC"):
        compare(three)


def test_a_target_that_numbers_phases_differently_is_refused() -> None:
    target = volume(BEN, "truth", PhaseTable.named("NMC", "pore", "CBD"))

    with pytest.raises(ValueError, match="but truth has 1 NMC"):
        compare([volume(ANNA, "a", ELECTRODE), volume(BEN, "b")], target=target)


def test_nothing_in_common_is_told() -> None:
    pair = [volume([[[1, 0]]], "a"), volume([[[0, 1]]], "b")]

    with pytest.raises(ValueError, match="no voxel of these slices is painted by two"):
        compare(pair)


def test_target_that_has_nothing_in_common_is_told() -> None:
    pair = [volume([[[1, 0]]], "a"), volume([[[1, 0]]], "b")]

    with pytest.raises(ValueError, match="painted in truth and by an experimenter"):
        compare(pair, target=volume([[[0, 1]]], "truth"))
