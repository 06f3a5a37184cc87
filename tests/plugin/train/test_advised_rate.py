import pytest
from pytestqt.qtbot import QtBot

from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.plugin.parts.forms import ConfigForm
from napari_lrcs.plugin.train.advised_rate import AdvisedRate

pytestmark = pytest.mark.gui

QUICK = PRESETS["quick"].optimisation.learning_rate


def _form(rate: float) -> ConfigForm[TrainConfig]:
    return ConfigForm(TrainConfig().with_changes(learning_rate=rate))


def _rate(form: ConfigForm[TrainConfig]) -> float:
    return form.config.optimisation.learning_rate


def test_the_rate_of_a_preset_is_lowered_and_comes_back(qtbot: QtBot) -> None:
    form = _form(QUICK)
    advised = AdvisedRate(form)
    qtbot.addWidget(form)
    qtbot.addWidget(advised)

    advised.follow(0.01)
    assert _rate(form) == 0.003
    assert advised.text().startswith("Learning rate set to 0.003, 0.3 × that")

    advised.follow(0.001)  # another network
    assert _rate(form) == 0.0003

    advised.follow(None)  # random weights
    assert _rate(form) == QUICK
    assert advised.isHidden()


def test_the_earlier_rate_is_remembered_with_random_weights(qtbot: QtBot) -> None:
    form = _form(QUICK)
    advised = AdvisedRate(form)
    qtbot.addWidget(form)
    qtbot.addWidget(advised)
    advised.follow(0.01)

    settings = advised.remembered({"config": form.config.to_dict()})

    assert settings["config"]["learning_rate"] == QUICK
    assert _rate(form) == 0.003


@pytest.mark.parametrize("is_set_later", [False, True])
def test_a_rate_that_the_user_has_set_stays(is_set_later: bool, qtbot: QtBot) -> None:
    form = _form(QUICK if is_set_later else 0.02)
    advised = AdvisedRate(form)
    qtbot.addWidget(form)
    qtbot.addWidget(advised)

    advised.follow(0.01)
    if is_set_later:
        form["learning_rate"].value = 0.02
    else:
        assert advised.text().startswith("Advised learning rate: 0.003")
    advised.follow(None)

    assert _rate(form) == 0.02
