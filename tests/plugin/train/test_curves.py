"""The curves of runs, without a training."""

import warnings
from collections.abc import Iterator

import pytest
from matplotlib.legend import Legend
from napari.components import ViewerModel
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.train.curves import Curves
from napari_lrcs.plugin.train.runs import RunHistory

pytestmark = pytest.mark.gui

PHASES = PhaseTable.named("pore", "solid")


@pytest.fixture
def curves(qapp: QApplication) -> Iterator[Curves]:
    made = Curves(ViewerModel())
    yield made
    made.disconnect_events()
    made.deleteLater()
    qapp.sendPostedEvents(made, QEvent.Type.DeferredDelete.value)


def _history(name: str) -> RunHistory:
    rows = [
        {
            "epoch": epoch,
            "validation_loss": 1 / epoch,
            "validation_iou_1": 0.5,
            "validation_iou_2": None,
        }
        for epoch in (1, 2)
    ]
    return RunHistory(name=name, phases=PHASES, n_epochs=2, rows=rows)


def _legends(curves: Curves) -> list[Legend]:
    return [legend for ax in curves.axes if (legend := ax.get_legend()) is not None]


def _names(curves: Curves) -> list[list[str]]:
    return [[text.get_text() for text in x.get_texts()] for x in _legends(curves)]


def test_compared_runs_and_their_phases_are_named_once(curves: Curves) -> None:
    curves.compare([_history("run-1"), _history("run-2")])
    compared = _names(curves)
    curves.begin(PHASES, n_epochs=2)

    assert compared == [["run-1", "run-2"], ["pore", "solid"]]
    assert set(_names(curves)[1]) == {"pore", "solid"}


def test_no_run_to_compare_leaves_no_empty_legend(curves: Curves) -> None:
    assert curves.is_empty
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curves.compare([])

    assert curves.is_empty
    assert not any(legend.get_frame_on() for legend in _legends(curves))
