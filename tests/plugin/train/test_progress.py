"""What the bar of a training says of the time that is left."""

import pytest
from pytestqt.qtbot import QtBot

from napari_lrcs.config import TrainConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.widgets import Progress
from napari_lrcs.plugin.train.job import Prepared
from napari_lrcs.plugin.train.preview import Worked
from napari_lrcs.plugin.train.progress import TrainingProgress
from napari_lrcs.progress import StepEnded

pytestmark = pytest.mark.gui


def test_time_left_is_that_of_steps_and_is_shown_once_it_can_be_believed(
    qtbot: QtBot,
) -> None:
    bar = Progress()
    qtbot.addWidget(bar)
    training = TrainingProgress(bar)
    training.begin()
    config = TrainConfig().with_changes(n_epochs=2)
    phases = PhaseTable.named("pore", "NMC")
    training.handle(Prepared(phases=phases, config=config, history=()))
    # The first step took 50 s, the others a tenth of a second each.
    texts = []
    for seconds, epoch, step in [
        (50.0, 1, 1),
        (51.0, 1, 11),
        (60.0, 1, 101),
        (100.0, 2, 1),
        (101.0, 1, 1),  # restarted
        (111.0, 1, 101),
    ]:
        training.handle(Worked(seconds=seconds))
        training.handle(
            StepEnded(
                epoch=epoch,
                step=step,
                steps_per_epoch=500,
                loss=0.5,
                checkpoint=dict,
            )
        )
        texts.append(bar.text)

    assert training.seconds == 111.0
    assert texts == [
        "Epoch 1 of 2",
        "Epoch 1 of 2",
        "Epoch 1 of 2 · 1:30 left",
        "Epoch 2 of 2 · 0:50 left",
        "Epoch 1 of 2",
        "Epoch 1 of 2 · 1:30 left",
    ]
