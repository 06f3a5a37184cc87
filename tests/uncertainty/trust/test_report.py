"""Segmentations judged by check patches: from volumes and paintings to intervals."""

import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from clusters import Cluster
from napari_lrcs.annotation.check_folder import CheckFolder, draw_check
from napari_lrcs.annotation.check_patches import CheckDesign, Thickness
from napari_lrcs.annotation.painting.folder import ImageIdentity
from napari_lrcs.arrays import Labels
from napari_lrcs.comparison import evaluate
from napari_lrcs.config import Axis
from napari_lrcs.distributed import connect
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.opening import open_to_share
from napari_lrcs.io.records import as_json
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.metrics.composition import Neighbourhood
from napari_lrcs.metrics.counting import compose
from napari_lrcs.metrics.overlap import confusion_matrix, iou_per_phase
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.trust.budget import budgets_of_report
from napari_lrcs.uncertainty.trust.budget_tables import (
    draw_budget,
    methods_sentences,
)
from napari_lrcs.uncertainty.trust.figures import draw_intervals, write_intervals
from napari_lrcs.uncertainty.trust.judged import Judged
from napari_lrcs.uncertainty.trust.report import CheckReport, Counting, judge
from napari_lrcs.uncertainty.trust.tables import report_dict, write_report_csv

SHAPE = (12, 24, 32)
PHASES = PhaseTable.named("pore", "CBD", "NMC")


def blobs(seed: int, *, shape: tuple[int, int, int] = SHAPE) -> Labels:
    """Make labels of 1 to 3 in blocks of 2 × 4 × 4 voxels."""
    coarse = [-(-n // side) for n, side in zip(shape, (2, 4, 4), strict=True)]
    labels = np.random.default_rng(seed).integers(1, 4, coarse).astype(np.uint8)
    for axis, side in enumerate((2, 4, 4)):
        labels = labels.repeat(side, axis=axis)
    z, y, x = (slice(n) for n in shape)
    return labels[z, y, x]


def spoilt(truth: Labels, *, share: float = 0.2, seed: int = 9) -> Labels:
    """Replace a share of the voxels by pore."""
    is_hit = np.random.default_rng(seed).random(truth.shape) < share
    return np.where(is_hit, 1, truth).astype(np.uint8)


TRUTH = blobs(0)
PREDICTED = spoilt(TRUTH)


def volume(labels: Labels, name: str = "segmentation.tif") -> Volume:
    return as_labels(as_volume(labels, name=name))


Draw = Callable[..., CheckFolder]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    def draw_here(
        predicted: Labels = PREDICTED,
        *,
        n_patches: int = 10,
        axis: Axis = "z",
        thickness: Thickness = 1,
        blind: bool = True,
        seed: int = 0,
    ) -> CheckFolder:
        path = tmp_path / f"check-{len(list(tmp_path.iterdir()))}"
        for _ in draw_check(
            path,
            volume(predicted),
            design=CheckDesign(
                shape=predicted.shape,
                axis=axis,
                size=8,
                thickness=thickness,
                seed=seed,
                blind=blind,
            ),
            n_patches=n_patches,
            phases=PHASES,
            image=ImageIdentity(name="scan", path=None, shape=predicted.shape),
        ):
            pass
        return CheckFolder(path)

    return draw_here


def paint(folder: CheckFolder, truth: Labels, *, n_patches: int | None = None) -> None:
    """Paint patches as they truly are."""
    check, labels = folder.read(), folder.painting.labels.array
    for patch in check.patches[:n_patches]:
        region = check.design.region(patch)
        labels[region] = truth[region]


def report_of(folder: CheckFolder, *predicted: Labels, **asked: object) -> CheckReport:
    names = ("segmentation.tif", "other.tif")
    volumes = [volume(p, name) for p, name in zip(predicted, names, strict=False)]
    *_, report = judge(volumes or [volume(PREDICTED)], folder, **asked)  # type: ignore[arg-type]
    assert isinstance(report, CheckReport)
    return report


def by_title(report: CheckReport, place: int = 0) -> dict[str, Judged]:
    return {q.title: q for q in report.segmentations[place].quantities}


# ---- values ----


@pytest.mark.parametrize(
    ("axis", "thickness", "neighbourhood"),
    [("z", 1, 8), ("y", 1, 8), ("x", 1, 4), ("z", 3, 26), ("y", 3, 6), ("x", 3, 18)],
)
def test_the_truth_is_found_when_all_tiles_are_painted(
    draw: Draw, axis: Axis, thickness: Thickness, neighbourhood: Neighbourhood
) -> None:
    n_tiles = {"z": 12 * 3 * 4, "y": 24 * 2 * 4, "x": 32 * 2 * 3}[axis]
    folder = draw(n_patches=n_tiles, axis=axis, thickness=thickness)
    paint(folder, TRUTH)

    found = by_title(report_of(folder, neighbourhood=neighbourhood))

    across = "zyx".index(axis)
    turned = [np.moveaxis(part, across, 0) for part in (TRUTH, PREDICTED)]
    truth = compose(turned[0], n_phases=3, neighbourhood=neighbourhood)
    predicted = compose(turned[1], n_phases=3, neighbourhood=neighbourhood)
    for i, name in enumerate(PHASES.names):
        for kind, title in (
            ("volume_fraction", "Volume"),
            ("surface_fraction", "Surface"),
        ):
            quantity = found[f"{title}, {name}"]
            assert quantity.value == pytest.approx(getattr(truth, kind)[i])
            assert quantity.predicted == pytest.approx(getattr(predicted, kind)[i])
    for (a, b), fraction in truth.interface_fraction.items():
        title = f"Interface, {PHASES.names[a - 1]} – {PHASES.names[b - 1]}"
        assert found[title].value == pytest.approx(fraction)
    confusion = confusion_matrix(TRUTH, PREDICTED, n_phases=3)
    ious = iou_per_phase(confusion)
    for i, name in enumerate(PHASES.names):
        assert found[f"IoU, {name}"].value == pytest.approx(ious[i])
    assert found["Mean IoU"].value == pytest.approx(ious.mean())
    assert found["Accuracy"].value == pytest.approx((TRUTH == PREDICTED).mean())


def test_workers_count_the_same_though_one_is_killed(
    draw: Draw, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "_MOST_SLICES", 4)
    predicted = PREDICTED.copy()
    predicted[:, :4] = 0  # outside the field of view
    folder = draw(predicted, axis="x", thickness=3)
    paint(folder, TRUTH)
    np.save(tmp_path / "segmentation.npy", predicted)
    segmentation = as_labels(open_to_share(tmp_path / "segmentation.npy"))

    with connect(cluster.address) as executor:
        others = Elsewhere(executor=executor, n_workers=2)
        events = judge([segmentation], folder, others=others)
        with closing(events):
            assert any(isinstance(e, Counting) and e.share > 0 for e in events)
            cluster.workers[0].kill()
            *_, there = events

    *_, here = judge([segmentation], folder)
    assert isinstance(here, CheckReport)
    assert isinstance(there, CheckReport)
    assert as_json(report_dict(there)) == as_json(report_dict(here))


def test_the_estimate_is_unbiased_in_ten_thousand_draws() -> None:
    # A volume of 6 slices with 4 tiles each, of which 3 are drawn.
    from napari_lrcs.annotation.check_patches import Tiles
    from napari_lrcs.uncertainty.trust.estimator import difference_estimate

    truth, predicted = (part[:6, :16, :16] for part in (TRUTH, PREDICTED))
    plane = np.ones((16, 16), np.bool_)
    counts = {
        (z, y, x): tuple(
            int((part[z, y : y + 8, x : x + 8] == 2).sum())
            for part in (truth, predicted)
        )
        for z in range(6)
        for y in (0, 8)
        for x in (0, 8)
    }
    values = np.empty(10_000)
    for seed in range(values.size):
        tiles = Tiles(
            design=CheckDesign(shape=truth.shape, size=8, seed=seed),
            n_tiles=np.full(6, 4),
            n_voxels=np.full(6, 256),
        )
        patches = tiles.draw(3, inside=lambda _: plane)
        own, found = np.array([counts[p.z, p.y, p.x] for p in patches]).T
        values[seed] = difference_estimate(
            own, found, np.full(3, 64), predicted_mean=float((predicted == 2).mean())
        ).value

    # Four standard errors of the mean of the draws.
    assert abs(values.mean() - (truth == 2).mean()) < 4 * values.std() / 100
    assert abs((predicted == 2).mean() - (truth == 2).mean()) > 0.05


def test_an_interval_is_cut_at_zero_and_says_so(draw: Draw) -> None:
    truth = np.ones(SHAPE, np.uint8)
    truth[:, :2, :] = 2
    predicted = truth.copy()
    predicted[:, 1, ::3] = 3
    folder = draw(predicted, n_patches=40)
    paint(folder, truth)

    found = by_title(report_of(folder, predicted))["Volume, NMC"]

    assert found.value == pytest.approx(0, abs=0.02)
    assert found.low == 0
    assert "cut" in found.note


def test_a_phase_in_too_few_patches_gets_no_interval(draw: Draw) -> None:
    truth = np.ones(SHAPE, np.uint8)
    truth[:, :, 20:] = 2
    check = draw(truth, n_patches=8)
    first = check.read().patches[0]
    truth[first.z, first.y, first.x] = 3
    paint(check, truth)

    found = by_title(report_of(check, np.where(truth == 3, 1, truth).astype(np.uint8)))

    assert "only 1 of 8 patches hold NMC" in found["Volume, NMC"].reason
    assert math.isnan(found["Volume, NMC"].half_width)
    assert not found["Volume, pore"].reason


def test_how_many_patches_are_needed_is_told_from_five_on(draw: Draw) -> None:
    folder = draw(n_patches=10)
    paint(folder, TRUTH, n_patches=4)
    few = by_title(report_of(folder, half_width=0.01))
    paint(folder, TRUTH)

    enough = by_title(report_of(folder, half_width=0.01))

    assert few["Volume, pore"].patches_needed is None
    needed = enough["Volume, pore"].patches_needed
    assert needed is not None
    assert (needed > 10) == (enough["Volume, pore"].half_width > 0.01)


# ---- two segmentations ----


def test_the_better_of_two_is_named_with_a_paired_interval(draw: Draw) -> None:
    worse = spoilt(PREDICTED, share=0.3, seed=5)
    folder = draw(n_patches=20)
    paint(folder, TRUTH)

    report = report_of(folder, PREDICTED, worse)

    (comparison,) = report.comparisons
    assert comparison.better == "segmentation.tif"
    difference = comparison.differences[0]
    accuracy = [by_title(report, i)["Accuracy"] for i in (0, 1)]
    assert difference.value == pytest.approx(accuracy[0].value - accuracy[1].value)
    assert difference.half_width < sum(a.half_width for a in accuracy)


def test_a_segmentation_that_numbers_phases_differently_is_refused(
    draw: Draw,
) -> None:
    folder = draw()
    paint(folder, TRUTH)
    other = replace(volume(PREDICTED), phases=PhaseTable.named("NMC", "pore", "CBD"))

    with pytest.raises(ValueError, match=r"segmentation.tif has 1 NMC, 2 pore, 3 CBD"):
        [*judge([other], folder)]


def test_other_names_of_phases_are_in_the_notes(draw: Draw) -> None:
    folder = draw()
    paint(folder, TRUTH)
    other = replace(volume(PREDICTED), phases=PhaseTable.named("pores", "CBD", "NMC"))

    *_, report = judge([other], folder)

    assert isinstance(report, CheckReport)
    assert "segmentation.tif 3 (pores, CBD, NMC)" in report.notes[-1]


def test_a_segmentation_is_not_better_than_itself(draw: Draw) -> None:
    folder = draw()
    paint(folder, TRUTH)

    (comparison,) = report_of(folder, PREDICTED, PREDICTED).comparisons

    assert comparison.better == ""
    assert all(d.value == 0 for d in comparison.differences)


def test_the_methods_name_the_size_of_patches_as_drawn(draw: Draw) -> None:
    folder = draw(axis="y")  # 8 pixels are wanted, slices are 12 × 32
    paint(folder, TRUTH)
    report = report_of(folder)

    found = methods_sentences(budgets_of_report(report), report)

    assert {(p.height, p.width) for p in report.check.patches} == {(6, 8)}
    assert "10 patches of 6 × 8 pixels" in found


# ---- what counts ----


def test_unpainted_patches_are_left_out_and_named(draw: Draw) -> None:
    folder = draw(n_patches=10)
    paint(folder, TRUTH, n_patches=4)

    report = report_of(folder)

    assert report.n_patches == 4
    assert any("4 of 10 patches are painted" in note for note in report.notes)


def test_patches_that_began_with_the_prediction_count_when_done(draw: Draw) -> None:
    folder = draw(blind=False)
    for number in range(6):
        folder.mark_done(number)

    report = report_of(folder)

    assert report.n_patches == 6
    assert any("painted over the prediction" in note for note in report.notes)


def test_a_painting_from_another_file_counts_as_it_is(draw: Draw) -> None:
    folder = draw(blind=False)

    report = report_of(folder, labels=volume(TRUTH, "painted.tif"))

    assert report.n_patches == 10


def test_only_the_field_of_view_counts(draw: Draw) -> None:
    seen = PREDICTED.copy()
    seen[:, :, 19:] = 0
    folder = draw(seen, n_patches=12 * 9)
    paint(folder, np.where(seen, TRUTH, 0).astype(np.uint8))

    found = by_title(report_of(folder, PREDICTED))

    assert found["Volume, CBD"].value == pytest.approx((TRUTH[:, :, :19] == 2).mean())


# ---- refusals ----


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (np.ones((12, 24, 31), np.uint8), r"is \(12, 24, 31\) voxels.*patches are for"),
        (np.where(np.arange(12)[:, None, None] < 6, PREDICTED, 0), "no prediction for"),
        (np.full(SHAPE, 4, np.uint8), "have the label 4, but there are 3 phases"),
    ],
)
def test_a_segmentation_that_cannot_be_judged_is_refused(
    draw: Draw, predicted: Labels, message: str
) -> None:
    folder = draw()
    paint(folder, TRUTH)

    with pytest.raises(ValueError, match=message):
        report_of(folder, predicted.astype(np.uint8))


def test_a_done_patch_with_unpainted_voxels_is_refused(draw: Draw) -> None:
    folder = draw()
    paint(folder, TRUTH)
    patch = folder.read().patches[3]
    folder.painting.labels.array[patch.z, patch.y, patch.x] = 0
    folder.mark_done(3)

    with pytest.raises(ValueError, match=r"check patch 4 .* but 1 of its voxels are"):
        report_of(folder)


def test_fewer_than_three_patches_give_nothing(draw: Draw) -> None:
    folder = draw()
    paint(folder, TRUTH, n_patches=2)

    with pytest.raises(ValueError, match=r"2 of 10 check patches .* at least 3"):
        report_of(folder)


def test_neighbours_across_slices_need_three_painted_slices(draw: Draw) -> None:
    folder = draw()
    paint(folder, TRUTH)

    with pytest.raises(ValueError, match="draw patches three slices thick"):
        report_of(folder, neighbourhood=26)


@pytest.mark.parametrize("asked", [{"confidence_level": 1.0}, {"half_width": 0.0}])
def test_impossible_wishes_are_refused(draw: Draw, asked: dict[str, float]) -> None:
    folder = draw()
    paint(folder, TRUTH)

    with pytest.raises(ValueError, match="must be above 0 and below 1"):
        report_of(folder, **asked)


# ---- files ----


def test_json_csv_and_figure(draw: Draw, tmp_path: Path) -> None:
    folder = draw()
    paint(folder, TRUTH)
    report = report_of(folder, PREDICTED, TRUTH)

    write_report_csv(tmp_path / "report.csv", report)
    write_intervals(tmp_path / "report.png", report)
    found = json.loads(as_json(report_dict(report)))

    assert found["n_patches"] == 10
    assert found["confidence_level"] == 0.95
    volume_of_pore = found["quantities"][0]
    assert volume_of_pore["kind"] == "volume_fraction"
    assert volume_of_pore["phases"] == [1]
    assert volume_of_pore["value"] == pytest.approx(
        volume_of_pore["predicted"] + volume_of_pore["correction"]
    )
    assert found["comparisons"][0]["better"] == "other.tif"
    n_lines = (tmp_path / "report.csv").read_text().count("\n")
    assert n_lines == 1 + len(found["quantities"])
    assert (tmp_path / "report.png").stat().st_size > 1000


def test_figures_name_the_level_of_their_intervals(draw: Draw) -> None:
    folder = draw()
    paint(folder, TRUTH)
    report = report_of(folder, PREDICTED, confidence_level=0.8)
    intervals, budget = Figure().subplots(2)

    draw_intervals(intervals, report)
    draw_budget(budget, budgets_of_report(report))

    labels = [text.get_text() for text in intervals.get_legend().get_texts()]
    assert "corrected, 80% interval" in labels
    assert "80% interval" in budget.get_xlabel()


@pytest.mark.parametrize(
    ("scatter", "sentence"),
    [
        ({}, ""),
        ({"label_scatter": math.nan, "n_label": 1}, ""),  # of a single network
        (
            {"label_scatter": 0.01, "n_label": 3},
            "networks trained on perturbed labels. ",
        ),
        (
            {"seed_scatter": 0.01, "n_seed": 3},
            "networks trained with other seeds. ",
        ),
        (
            {"label_scatter": 0.0, "n_label": 3, "seed_scatter": 0.01, "n_seed": 3},
            "networks trained on perturbed labels and with other seeds. ",
        ),
    ],
)
def test_the_sentence_for_the_methods_names_the_scatter_that_is_included(
    scatter: dict[str, Any], sentence: str, draw: Draw
) -> None:
    folder = draw()
    paint(folder, TRUTH)
    report = report_of(folder, PREDICTED)
    budgets = [replace(b, **scatter) for b in budgets_of_report(report)]

    found = methods_sentences(budgets, report) + " "

    begin = "The intervals include the scatter of "
    assert (begin in found) == bool(sentence)
    assert not sentence or begin + sentence in found
