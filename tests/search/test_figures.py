import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from napari_lrcs.config import TrainConfig
from napari_lrcs.search.figures import (
    draw_curves,
    draw_importances,
    draw_sorted_scores,
    draw_time,
)
from napari_lrcs.search.results import SearchFindings, TrialResult
from napari_lrcs.search.space import SearchSpace

TRIALS = (
    TrialResult(
        number=0,
        settings={"learning_rate": 1e-4, "batch_size": 4},
        state="complete",
        curves=((0.2, 0.5), (0.4, 0.7)),
        seconds=20,
    ),
    TrialResult(
        number=1,
        settings={"learning_rate": 1e-3, "batch_size": 2},
        state="complete",
        curves=((0.8, 0.9), (0.8, 0.9)),
        seconds=10,
    ),
    TrialResult(
        number=2,
        settings={"learning_rate": 1e-2, "batch_size": 8},
        state="pruned",
        curves=((0.1,),),
        seconds=3,
    ),
    TrialResult(
        number=3, settings={"learning_rate": 1e-2, "batch_size": 2}, state="failed"
    ),
)
FINDINGS = SearchFindings(
    out=Path("search"),
    config=TrainConfig(),
    space=SearchSpace.parse(["learning_rate=1e-4:1e-2:log", "batch_size=2,4,8"]),
    n_trials=4,
    trials=TRIALS,
    importances={"learning_rate": 0.75, "batch_size": 0.25},
)


def test_curves_are_means_with_a_band_of_one_sd() -> None:
    ax: Any = Figure().add_subplot()

    draw_curves(ax, FINDINGS)

    assert ax.get_legend_handles_labels()[1] == [
        "learning_rate 0.001, batch_size 2",
        "learning_rate 0.0001, batch_size 4",
    ]
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(lines["learning_rate 0.0001, batch_size 4"], [30, 60])
    low, high = np.ptp(ax.collections[1].get_paths()[0].vertices, axis=0)
    assert (low, high) == (1, pytest.approx(30 + 2 * 100 * math.sqrt(0.02)))


def test_scores_descend_over_a_grid_of_colours() -> None:
    figure: Any = Figure()

    draw_sorted_scores(figure, FINDINGS)

    scores, grid = figure.axes
    complete, pruned = scores.containers
    np.testing.assert_allclose(complete[0].get_xydata(), [[0, 90], [1, 60]])
    np.testing.assert_allclose(pruned[0].get_xydata(), [[2, 10]])
    np.testing.assert_allclose(grid.images[0].get_array(), [[0.5, 0, 1], [0, 0.5, 1]])
    labels = [label.get_text() for label in grid.get_yticklabels()]
    assert labels == ["learning_rate\n0.0001 to 0.01", "batch_size\n2, 4, 8"]


def test_time_is_that_of_a_single_training() -> None:
    ax: Any = Figure().add_subplot()

    draw_time(ax, FINDINGS)

    complete, pruned = (points.get_offsets() for points in ax.collections)
    np.testing.assert_allclose(complete, [[10, 60], [5, 90]])
    np.testing.assert_allclose(pruned, [[3, 10]])


def test_importances_are_bars() -> None:
    ax: Any = Figure().add_subplot()

    draw_importances(ax, FINDINGS)

    assert [bar.get_width() for bar in ax.patches] == [75, 25]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "learning_rate",
        "batch_size",
    ]
