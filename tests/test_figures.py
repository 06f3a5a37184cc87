from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from napari_lrcs.figures import SliceComparison, draw_segmentation
from napari_lrcs.phases import ELECTRODE

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
