import re
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from command_line import SLICES, call
from napari_lrcs import __main__ as program
from napari_lrcs.commands.parts import context
from napari_lrcs.config import PRESETS, PredictConfig, TrainConfig
from napari_lrcs.progress import TrainEvent
from napari_lrcs.settings import Config, Setting

pytestmark = pytest.mark.usefixtures("one_thread")


def other_value(config: type[Config], setting: Setting) -> tuple[list[str], object]:
    """Choose a value that is not the default, and the words that ask for it."""
    flag, default = "--" + setting.name.replace("_", "-"), setting.default
    if setting.type is bool:
        return [flag if not default else "--no-" + flag[2:]], not default
    if get_origin(setting.type) is Literal:
        value: object = next(v for v in get_args(setting.type) if v != default)
        return [flag, str(value)], value
    if get_origin(setting.type) is tuple:
        return [flag, "1.0", "2.0"], (1.0, 2.0)
    if setting.type is str:
        value = {"device": "cpu", "model": "unet"}[setting.name]
        return [flag, value], value
    start: Any = default
    others = (start + 1, start + 2) if setting.type is int else (start / 2, start + 0.5)
    for value in others:
        try:
            if config().with_changes(**{setting.name: value}) != config():
                return [flag, str(value)], value
        except ValueError:  # an even kernel, or out of bounds
            continue
    raise AssertionError(f"no other value for {setting.name}")


@pytest.fixture
def asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Gather the configs that training and prediction are asked for; do neither."""
    assert Path.cwd() == place
    configs: list[Any] = []

    def capture(*_: object, config: Any, **__: object) -> Iterator[TrainEvent]:
        configs.append(config)
        raise ValueError("captured")

    monkeypatch.setattr("napari_lrcs.training.loop.train", capture)
    monkeypatch.setattr("napari_lrcs.inference.spread.predict_volume", capture)
    # The sample's slices show the same: across y, distant ones are as alike.
    monkeypatch.setattr(context, "fit", lambda config, *_: (config, ""))
    return configs


COMMANDS: dict[type[Config], str] = {
    TrainConfig: f"train image.tif labels.tif {SLICES} --out new",
    PredictConfig: "predict image.tif run --out new.tif",
}


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        pytest.param(config, setting, id=f"{config.__name__}.{setting.name}")
        for config in COMMANDS
        for setting in config.settings()
    ],
)
def test_cli_matches_api(
    config: type[Config],
    setting: Setting,
    asked: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = COMMANDS[config]
    words, value = other_value(config, setting)

    call(f"{command.split()[0]} --help")
    call(f"{command} {' '.join(words)}")

    flags = re.findall(r"^\s+(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert flags.count("--" + setting.name.replace("_", "-")) == 1
    assert asked == [config().with_changes(**{setting.name: value})]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_what_the_settings_start_from(
    preset: str, asked: list[Any]
) -> None:
    call(
        f"{COMMANDS[TrainConfig]} --preset {preset} --seed 7 --no-flip --phase-weights"
    )

    equal = PRESETS[preset].with_changes(phase_weights=())
    assert asked == [equal.with_changes(seed=7, flip=False)]


def test_the_preset_is_quick_unless_given(asked: list[Any]) -> None:
    call(COMMANDS[TrainConfig])

    assert asked == [PRESETS["quick"]]


def test_initial_weights_bring_their_network_but_not_their_schedule(
    asked: list[Any],
) -> None:
    call(f"{COMMANDS[TrainConfig]} --initial-weights run")

    quick = PRESETS["quick"]
    assert asked == [quick.with_changes(n_filters=4, context_slices=1)]


@pytest.mark.parametrize("command", program.COMMANDS.values(), ids=program.COMMANDS)
def test_every_path_is_checked_as_an_input_or_an_output(
    command: program.Command,
) -> None:
    parser = ArgumentParser()
    command.add_arguments(parser)
    for part, own in parts_of(parser).items():
        assert_every_path_is_checked(command, own, part=part)


def parts_of(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    """Return the parts of a command, as of check; else the command itself."""
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            return dict(action.choices)
    return {"": parser}


def assert_every_path_is_checked(
    command: program.Command, parser: ArgumentParser, *, part: str
) -> None:
    given: dict[str, Any] = {"part": part}
    for action in parser._actions:
        value: Any = Path(action.dest) if action.type is Path else action.default
        if isinstance(action.default, list) and action.type is Path:
            value = [value]  # a flag that may be given several times
        is_text = not action.option_strings and action.type is None
        given[action.dest] = action.dest if is_text else value

    places = command.places(Namespace(**given))

    values = [x for v in given.values() for x in (v if isinstance(v, list) else [v])]
    paths = {value for value in values if isinstance(value, Path)}
    assert paths <= {*places.read, *places.written}


def test_defaults_in_the_help_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["train", "--help"])

    shown = " ".join(capsys.readouterr().out.split())
    assert "(paper: no) (quick: yes)" in shown
    assert "leave empty for equal weights (quick: empty)" in shown
