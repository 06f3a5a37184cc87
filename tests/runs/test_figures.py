import numpy as np
from matplotlib.figure import Figure

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


def test_each_run_has_a_curve_and_a_colour_of_its_own() -> None:
    ax = Figure().subplots()

    draw_runs(ax, [_history("a", 0.5, 0.75), _history("b", 0.25)], "mean_iou")

    first, second = ax.lines
    np.testing.assert_allclose(first.get_ydata(), [50, 75])
    np.testing.assert_allclose(second.get_ydata(), [25])
    assert first.get_color() != second.get_color()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_a_run_without_validation_shows_its_training_dashed() -> None:
    ax = Figure().subplots()

    draw_runs(ax, [_history("a", None), _history("empty"), _history("b", 0.5)], "loss")

    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2.0])
    np.testing.assert_allclose(ax.lines[2].get_ydata(), [1.0])
    assert [line.get_linestyle() for line in ax.lines] == ["--", "--", "-"]


def test_many_runs_have_no_legend() -> None:
    ax = Figure().subplots()

    draw_runs(ax, [_history(str(i), 0.5) for i in range(30)], "loss")

    assert ax.get_legend() is None
    assert len({line.get_color() for line in ax.lines}) == 30
