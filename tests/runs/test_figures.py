import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from napari_lrcs.runs.figures import RunHistory, draw_runs


def _history(name: str, *ious: float | None) -> RunHistory:
    rows = [
        {
            "epoch": epoch,
            "training_loss": 2.0,
            "training_mean_iou": 0.25,
            "validation_loss": None if iou is None else 1.0,
            "validation_mean_iou": iou,
        }
        for epoch, iou in enumerate(ious, 1)
    ]
    return RunHistory(name=name, rows=rows)


def _ys(line: Line2D) -> NDArray[np.float64]:
    return np.asarray(line.get_ydata(), np.float64)


def test_each_run_has_a_curve_and_a_colour_of_its_own() -> None:
    ax = Figure().subplots()

    draw_runs(ax, [_history("a", 0.5, 0.75), _history("b", 0.25)], "mean_iou")

    first, second = ax.lines
    np.testing.assert_allclose(_ys(first), [50.0, 75.0])
    np.testing.assert_allclose(_ys(second), [25.0])
    assert first.get_color() != second.get_color()
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]


def test_a_run_without_validation_shows_its_training_dashed() -> None:
    ax = Figure().subplots()

    draw_runs(ax, [_history("a", None), _history("empty"), _history("b", 0.5)], "loss")

    np.testing.assert_allclose(_ys(ax.lines[0]), [2.0])
    np.testing.assert_allclose(_ys(ax.lines[2]), [1.0])
    assert [line.get_linestyle() for line in ax.lines] == ["--", "--", "-"]


def test_many_runs_have_no_legend() -> None:
    ax = Figure().subplots()

    draw_runs(ax, [_history(str(i), 0.5) for i in range(30)], "loss")

    assert ax.get_legend() is None
    assert len({line.get_color() for line in ax.lines}) == 30
