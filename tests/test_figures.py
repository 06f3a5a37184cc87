from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from napari_lrcs.figures import (
    SliceComparison,
    draw_composition,
    draw_confusion,
    draw_reliability,
    draw_segmentation,
    draw_slice_scores,
    write_comparison_figure,
)
from napari_lrcs.metrics.calibration import Reliability, count_reliability
from napari_lrcs.metrics.comparison import Comparison
from napari_lrcs.metrics.counting import compose
from napari_lrcs.phases import ELECTRODE, PhaseTable

IMAGE = np.linspace(0, 1000, 40 * 50).reshape(40, 50).astype(np.uint16)
TARGET = np.repeat([1, 2, 3, 0], 10)[:, np.newaxis].repeat(50, 1).astype(np.uint8)
PREDICTED = np.repeat([1, 2, 2, 2], 10)[:, np.newaxis].repeat(50, 1).astype(np.uint8)

PICTURED = SliceComparison(
    image=IMAGE, target=TARGET, predicted=PREDICTED, pixel_size=(0.25, "micrometer")
)


def row(epoch: int, *, validated: bool = True) -> dict[str, Any]:
    ious = {
        f"{role}_iou_{label}": None if role == "validation" and not validated else 0.5
        for role in ("training", "validation")
        for label in (1, 2, 3)
    }
    loss = 1 / epoch if validated else None
    return {"epoch": epoch, "training_loss": 1.0, "validation_loss": loss} | ious


HISTORY = [row(1), row(2), row(3)]

Draw = Callable[..., Figure]


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Draw into figure.png, and give what matplotlib drew there."""
    figures: list[Figure] = []
    savefig = Figure.savefig

    def keep(self: Figure, path: Path) -> None:
        figures.append(self)
        savefig(self, path)

    monkeypatch.setattr(Figure, "savefig", keep)

    def run(
        pictured: SliceComparison = PICTURED,
        history: list[dict[str, Any]] = HISTORY,
        name: str = "figure.png",
    ) -> Figure:
        draw_segmentation(
            tmp_path / name,
            pictured=pictured,
            phases=ELECTRODE,
            history=history,
            title="A title",
        )
        return figures.pop()

    return run


def panels(figure: Figure) -> dict[str, NDArray[Any]]:
    return {
        ax.get_title(): np.asarray(ax.images[0].get_array())
        for ax in figure.axes
        if ax.images
    }


def test_the_figure_fits_a_slide(draw: Draw, tmp_path: Path) -> None:
    draw()

    height, width, _ = imread(tmp_path / "figure.png").shape
    assert (width, height) == (1995, 1125)


def test_errors_are_counted_where_something_is_painted(draw: Draw) -> None:
    shown = panels(draw())

    assert list(shown) == [
        *("Raw slice", "Truth", "Prediction", "Errors: 33.3% of the voxels")
    ]
    *_, errors = shown.values()
    red = errors[..., 0] > errors[..., 1] + 0.3
    np.testing.assert_array_equal(red, (TARGET == 3))


def test_phases_have_their_colours_and_unpainted_voxels_none(draw: Draw) -> None:
    shown = panels(draw())

    truth, raw = shown["Truth"], shown["Raw slice"]
    np.testing.assert_array_equal(truth[TARGET == 0], raw[TARGET == 0])
    for phase in ELECTRODE:
        own = truth[phase.label == TARGET] - 0.25 * raw[phase.label == TARGET]
        expected = np.broadcast_to(0.75 * np.array(to_rgb(phase.colour)), own.shape)
        np.testing.assert_allclose(own, expected, atol=1e-6)


def test_grey_levels_span_black_to_white(draw: Draw) -> None:
    raw = panels(draw())["Raw slice"]

    assert (raw.min(), raw.max()) == (0, 1)


def test_a_constant_slice_is_drawn(draw: Draw) -> None:
    constant = SliceComparison(
        image=np.full_like(IMAGE, 7), target=TARGET, predicted=PREDICTED
    )

    assert not panels(draw(constant))["Raw slice"].any()


def test_the_scale_bar_has_a_round_length_of_about_a_fifth(draw: Draw) -> None:
    raw = draw().axes[0]

    (text,) = [t.get_text() for t in raw.texts]
    (bar,) = raw.patches
    assert text == "2 µm"  # 50 pixels of 0.25 µm are 12.5 µm
    assert bar.get_window_extent().width / raw.bbox.width == pytest.approx(
        2 / 12.5, abs=0.02
    )


def test_without_a_pixel_size_there_is_no_scale_bar(draw: Draw) -> None:
    plain = SliceComparison(image=IMAGE, target=TARGET, predicted=PREDICTED)

    raw = draw(plain).axes[0]

    assert not raw.texts
    assert not raw.patches


def test_the_curves_show_all_epochs(draw: Draw) -> None:
    losses, ious = draw().axes[4:]

    drawn = {line.get_label(): line.get_xydata() for line in losses.lines}
    validation = [[1, 1], [2, 1 / 2], [3, 1 / 3]]
    np.testing.assert_array_equal(drawn["validation"], validation)
    np.testing.assert_array_equal(drawn["training"], [[1, 1], [2, 1], [3, 1]])
    legend = ious.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["pore", "CBD", "NMC"]
    assert len(ious.lines) == 6


def test_without_validation_there_is_no_made_up_curve(draw: Draw) -> None:
    losses, ious = draw(history=[row(1, validated=False)]).axes[4:]

    assert [line.get_label() for line in losses.lines] == ["training"]
    shown = [line for line in ious.lines if not np.isnan(line.get_xydata()).any()]
    assert len(shown) == 3


@pytest.mark.parametrize("name", ["figure.pdf", "figure.svg"])
def test_vector_formats_are_written(name: str, draw: Draw, tmp_path: Path) -> None:
    draw(name=name)

    assert (tmp_path / name).stat().st_size > 1000
    assert len(list(tmp_path.iterdir())) == 1


def test_a_figure_that_fails_leaves_the_old_one(draw: Draw, tmp_path: Path) -> None:
    old = tmp_path / "figure.xyz"
    old.write_bytes(b"old")

    with pytest.raises(ValueError, match="xyz"):
        draw(name="figure.xyz")

    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


# ---- comparisons ----

TWO = PhaseTable.named("pore", "solid")
COUNTS = np.array([[3000, 1000], [0, 0]])


def test_the_confusion_matrix_tells_shares_and_counts() -> None:
    ax = Figure().add_subplot()

    draw_confusion(ax, COUNTS, TWO)

    assert [text.get_text() for text in ax.texts] == [
        *("75.0%\n3,000", "25.0%\n1,000", "–", "–")
    ]
    assert np.asarray(ax.images[0].get_array()).tolist() == [[0.75, 0.25], [0, 0]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["pore", "solid"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["pore", "solid"]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("Target", "Predicted")


@pytest.mark.parametrize("share", np.linspace(0, 1, 11))
def test_counts_are_legible_on_light_and_dark_cells(share: float) -> None:
    ax = Figure().add_subplot()
    n = round(100 * share)

    draw_confusion(ax, np.array([[n, 100 - n], [0, 1]]), TWO)

    picture = ax.images[0]
    background = picture.cmap(float(share))[:3]
    text = {"black": (0, 0, 0), "white": (1, 1, 1)}[str(ax.texts[0].get_color())]
    low, high = sorted((luminance(text), luminance(background)))
    assert (high + 0.05) / (low + 0.05) > 4.5  # as WCAG 2 asks (AA)


def luminance(rgb: tuple[float, ...]) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_slice_scores_have_the_phases_colours_and_gaps() -> None:
    ax = Figure().add_subplot()

    draw_slice_scores(ax, [(10, COUNTS), (30, np.array([[4, 0], [0, 0]]))], TWO)

    pore, solid = ax.lines
    np.testing.assert_array_equal(pore.get_xydata(), [[10, 75], [30, 100]])
    np.testing.assert_array_equal(solid.get_ydata(), [0, np.nan])
    phases = list(TWO)
    assert [pore.get_color(), solid.get_color()] == [p.colour for p in phases]
    assert [pore.get_label(), solid.get_label()] == ["pore", "solid"]


def test_compositions_stand_side_by_side_in_percent() -> None:
    ax = Figure().add_subplot()
    target = compose(np.array([[1, 1, 1, 2]], np.uint8), n_phases=2)
    predicted = compose(np.array([[1, 1, 2, 2]], np.uint8), n_phases=2)

    draw_composition(ax, predicted, target, TWO)

    assert [label.get_text() for label in ax.get_yticklabels()] == [
        *("pore, volume", "solid, volume", "pore, surface", "solid, surface"),
        "pore – solid",
    ]
    widths = {
        bars.get_label(): [bar.get_width() for bar in bars] for bars in ax.containers
    }
    assert widths == {
        "target": [75, 25, 25, 25, 50],
        "predicted": [50, 50, 25, 25, 50],
    }


def test_reliability_is_drawn_where_there_are_voxels() -> None:
    ax = Figure().add_subplot()
    voxels, right = np.zeros(256, np.int64), np.zeros(256, np.int64)
    voxels[[204, 255]], right[[204, 255]] = (30, 10), (15, 10)

    draw_reliability(ax, Reliability(n_voxels=voxels, n_right=right))

    diagonal, points = ax.lines
    np.testing.assert_allclose(np.asarray(points.get_xydata()), [[80, 50], [100, 100]])
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [100, 100]])
    (bars,) = ax.containers
    assert [bar.get_height() for bar in bars] == [*[0] * 11, 75, 0, 0, 25]


@pytest.mark.parametrize("name", ["figure.png", "figure.pdf", "figure.svg"])
def test_a_comparison_is_drawn_into_one_figure(name: str, tmp_path: Path) -> None:
    labels = np.array([[1, 1, 1, 2]], np.uint8)
    composition = compose(labels, n_phases=2)
    comparison = Comparison(
        phases=TWO,
        confusion=COUNTS,
        per_slice=((0, COUNTS),),
        predicted=composition,
        target=composition,
        reliability=count_reliability(labels, labels, 40 * labels),
    )

    write_comparison_figure(tmp_path / name, comparison)

    assert (tmp_path / name).stat().st_size > 1000
    assert len(list(tmp_path.iterdir())) == 1
