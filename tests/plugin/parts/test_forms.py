from typing import Any, Literal, get_args, get_origin

import pytest
from magicgui.widgets.bases import ValueWidget
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLabel, QPushButton

from napari_lrcs.config import PRESETS, PredictConfig, TrainConfig
from napari_lrcs.plugin.parts.forms import ConfigForm, Fold, label_of
from napari_lrcs.settings import Config, Setting

pytestmark = pytest.mark.gui

SETTINGS = [(c, s) for c in (TrainConfig, PredictConfig) for s in c.settings()]
every_setting = pytest.mark.parametrize(
    ("kind", "setting"),
    [pytest.param(c, s, id=f"{c.__name__}.{s.name}") for c, s in SETTINGS],
)
CHOICES = {"device": ("auto", "cpu", "cuda"), "model": ("lrcsnet", "unet")}


@every_setting
def test_every_field_reaches_the_config(
    qtbot: QtBot, kind: type[Config], setting: Setting
) -> None:
    form = _form(qtbot, kind())
    wanted = _another(setting)

    _type_into(form[setting.name], wanted)

    assert form.config == kind().with_changes(**{setting.name: wanted})


@every_setting
def test_every_field_tells_its_help_range_and_unit(
    qtbot: QtBot, kind: type[Config], setting: Setting
) -> None:
    form = _form(qtbot, kind())

    tooltip = form[setting.name].tooltip or ""
    labels = [label.text() for label in form.findChildren(QLabel)]

    assert setting.tooltip in tooltip
    for bound in (setting.low, setting.high):
        assert bound is None or f"{bound:g}" in tooltip
    assert labels.count(label_of(setting)) == 1  # no field twice
    assert setting.unit.lower() in label_of(setting).lower()


@pytest.mark.parametrize("name", PRESETS)
def test_form_shows_a_config_and_gives_it_back(qtbot: QtBot, name: str) -> None:
    form = _form(
        qtbot, TrainConfig().with_changes(n_epochs=3, phase_weights=(1.0, 2.5))
    )
    changes: list[None] = []
    form.changed.connect(lambda: changes.append(None))

    form.config = PRESETS[name]

    assert form.config == PRESETS[name]
    assert len(changes) == 1


def test_main_fields_are_in_sight_and_the_rest_is_folded(qtbot: QtBot) -> None:
    form = ConfigForm(TrainConfig(), main=("n_epochs",), choices=CHOICES)
    qtbot.addWidget(form)
    form.show()

    assert form["n_epochs"].native.isVisible()
    assert not form["kernel_size"].native.isVisible()

    network = next(f for f in form.findChildren(Fold) if "Network" in _title(f))
    network.unfold()

    assert form["kernel_size"].native.isVisible()
    assert not form["flip"].native.isVisible()


def test_fields_left_out_keep_their_values(qtbot: QtBot) -> None:
    config = PredictConfig(min_size=7)
    form = ConfigForm(config, left_out=("min_size",), choices={"device": ("auto",)})
    qtbot.addWidget(form)

    form["tile_size"].value = 64

    assert form.config == PredictConfig(min_size=7, tile_size=64)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("learning_rate", "fast", "Learning rate must be a number; got 'fast'"),
        ("phase_weights", "1, x", "or several separated by commas; got '1, x'"),
        ("learning_rate", "5", "learning_rate must be at most 1.0, got 5.0"),
    ],
)
def test_a_text_that_is_no_value_is_told(
    qtbot: QtBot, name: str, text: str, message: str
) -> None:
    form = _form(qtbot, TrainConfig())

    form[name].value = text

    with pytest.raises(ValueError, match=message):
        _ = form.config


def test_values_that_do_not_go_together_are_told(qtbot: QtBot) -> None:
    form = _form(qtbot, TrainConfig())

    form["kernel_size"].value = 4

    with pytest.raises(ValueError, match="kernel_size must be odd, got 4"):
        _ = form.config


@pytest.mark.parametrize(
    ("offered", "kept"), [(("auto", "cpu"), "cpu"), (("auto", "cuda"), "auto")]
)
def test_a_choice_stays_while_it_is_offered(
    qtbot: QtBot, offered: tuple[str, ...], kept: str
) -> None:
    form = _form(qtbot, TrainConfig(device="cpu"))

    form.offer("device", offered)

    assert form.config.device == kept


# Layers


def _form(qtbot: QtBot, config: Any) -> ConfigForm[Any]:
    names = {s.name for s in config.settings()}
    choices = {name: known for name, known in CHOICES.items() if name in names}
    form = ConfigForm(config, choices=choices)
    qtbot.addWidget(form)
    return form


def _type_into(widget: ValueWidget[Any], value: Any) -> None:
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    widget.value = value


def _another(setting: Setting) -> Any:
    """Make a value of a setting that is neither its default nor out of bounds."""
    value = setting.default
    if get_origin(setting.type) is Literal:
        return next(v for v in get_args(setting.type) if v != value)
    if setting.name in CHOICES:
        return next(v for v in CHOICES[setting.name] if v != value)
    if setting.type is bool:
        return not value
    if isinstance(value, tuple):
        return (1.0, 2.5)
    if setting.type is int:
        return max(5, setting.low or 0)  # odd, as sides of kernels are
    return (setting.low or 0) + 0.05


def _title(fold: Fold) -> str:
    button = fold.findChild(QPushButton)
    assert button is not None
    return str(button.text())


def test_a_number_with_many_digits_keeps_them(qtbot: QtBot) -> None:
    form = _form(qtbot, TrainConfig())
    config = TrainConfig().with_changes(learning_rate=0.024073412345)

    form.config = config

    assert form.config == config
    assert form["learning_rate"].value == "0.024073412345"
