import json
import math
from dataclasses import FrozenInstanceError, fields
from typing import Any, Literal, get_args, get_origin

import pytest

from napari_lrcs.config import PRESETS, PredictConfig, TrainConfig

CONFIGS = (TrainConfig, PredictConfig)
SETTINGS = [(config, setting) for config in CONFIGS for setting in fields(config)]
BOUNDED = [
    pytest.param(config, setting, id=f"{config.__name__}.{setting.name}")
    for config, setting in SETTINGS
    if setting.metadata["min"] is not None or setting.metadata["max"] is not None
]

every_setting = pytest.mark.parametrize(
    ("config", "setting"),
    [pytest.param(c, s, id=f"{c.__name__}.{s.name}") for c, s in SETTINGS],
)


def as_field(value: float, setting: Any) -> Any:
    """Make a value of a field's type."""
    if get_origin(setting.type) is tuple:
        return (value,)
    return int(value) if setting.type is int else float(value)


@every_setting
def test_settings_explain_themselves(config: Any, setting: Any) -> None:
    del config
    assert setting.metadata["tooltip"]
    assert setting.metadata["group"]
    assert not isinstance(setting.type, str)  # a class that forms and flags can use


@every_setting
def test_defaults_are_within_their_bounds(config: Any, setting: Any) -> None:
    value = getattr(config(), setting.name)

    assert getattr(config(**{setting.name: value}), setting.name) == value


@pytest.mark.parametrize(("config", "setting"), BOUNDED)
def test_bounds_hold_and_the_values_next_to_them_are_refused(
    config: Any, setting: Any
) -> None:
    step = 2 if setting.name in ("kernel_size", "median_size") else 1
    for bound, outwards, message in (
        (setting.metadata["min"], -step, "must be at least"),
        (setting.metadata["max"], step, "must be at most"),
    ):
        if bound is None:
            continue
        config(**{setting.name: as_field(bound, setting)})
        with pytest.raises(ValueError, match=rf"{setting.name} {message} .*, got"):
            config(**{setting.name: as_field(bound + outwards, setting)})


@pytest.mark.parametrize("name", ["learning_rate", "rotation", "decay_ratio"])
def test_nan_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        TrainConfig().with_changes(**{name: math.nan})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_epochs", 2.5),
        ("n_epochs", "2"),
        ("n_epochs", True),
        ("n_epochs", None),
        ("learning_rate", "fast"),
        ("learning_rate", True),
        ("flip", 1),
        ("model", 3),
        ("phase_weights", 1.0),
        ("phase_weights", [1.0, 2.0]),
    ],
)
def test_value_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be of type .*, got"):
        TrainConfig().with_changes(**{name: value})


@pytest.mark.parametrize("weights", [("a", "b"), (None, 1.0), (1.0, math.nan)])
def test_phase_weights_that_are_no_numbers_are_refused(weights: Any) -> None:
    with pytest.raises(ValueError, match="phase_weights"):
        TrainConfig(phase_weights=weights)


@pytest.mark.parametrize("name", ["axis", "loss", "schedule", "precision"])
def test_unknown_choice_is_refused_and_the_known_are_named(name: str) -> None:
    setting = next(s for s in fields(TrainConfig) if s.name == name)
    assert get_origin(setting.type) is Literal

    with pytest.raises(ValueError, match=f"{name} must be one of") as caught:
        TrainConfig().with_changes(**{name: "other"})

    assert all(known in str(caught.value) for known in get_args(setting.type))


def test_unhashable_choice_is_refused() -> None:
    choice: Any = ["dice"]

    with pytest.raises(ValueError, match="loss must be one of"):
        TrainConfig(loss=choice)


@pytest.mark.parametrize(
    ("name", "size"), [("kernel_size", 4), ("median_size", 2), ("kernel_size", 14)]
)
def test_even_sizes_are_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be odd, got {size}"):
        TrainConfig().with_changes(**{name: size})


def test_median_of_zero_is_none() -> None:
    assert TrainConfig(median_size=0).median_size == 0


def test_whole_number_serves_as_a_real_one() -> None:
    assert TrainConfig(rotation=15).rotation == 15


@pytest.mark.parametrize("config", [*PRESETS.values(), PredictConfig(min_size=7)])
def test_config_survives_the_way_to_json_and_back(
    config: TrainConfig | PredictConfig,
) -> None:
    text = json.dumps(config.to_dict())

    assert type(config).from_dict(json.loads(text)) == config


def test_weights_survive_the_way_to_json_and_back() -> None:
    config = TrainConfig(phase_weights=(1.0, 2.5))

    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="TrainConfig has no field n_layers, width"):
        TrainConfig.from_dict({"width": 3, "n_layers": 2, "n_epochs": 1})


def test_missing_fields_are_the_defaults() -> None:
    assert TrainConfig.from_dict({"n_epochs": 3}) == TrainConfig(n_epochs=3)


def test_changes_are_checked_and_leave_the_original() -> None:
    config = TrainConfig()

    changed = config.with_changes(n_epochs=3)

    assert (changed.n_epochs, config.n_epochs) == (3, TrainConfig().n_epochs)
    with pytest.raises(ValueError, match="n_epochs must be at least 1"):
        config.with_changes(n_epochs=0)


def test_config_is_frozen() -> None:
    config = TrainConfig()

    with pytest.raises(FrozenInstanceError):
        config.n_epochs = 3  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"rotation": 5.0}, True),
        ({"scaling": 0.1}, True),
        ({"elastic": 2.0}, True),
        ({"elastic": 2.0, "warp_share": 0.0}, False),
    ],
)
def test_only_warps_look_between_pixels(
    changes: dict[str, float], expected: bool
) -> None:
    assert TrainConfig().with_changes(**changes).is_warping is expected


def test_quick_preset_is_the_default() -> None:
    assert PRESETS["quick"] == TrainConfig()


def test_paper_preset_is_the_papers() -> None:
    paper = PRESETS["paper"]

    assert (paper.model, paper.n_filters, paper.kernel_size) == ("lrcsnet", 32, 5)
    assert (paper.n_bottleneck_convs, paper.context_slices) == (2, 0)
    assert (paper.loss, paper.schedule) == ("dice", "step")
    assert (paper.learning_rate, paper.decay_ratio) == (1e-4, 0.3)
    assert (paper.batch_size, paper.patch_size, paper.n_epochs) == (2, 512, 5)
    assert paper.median_size == 3
    # Its transfer gain levels off for moments after 30,000 steps.
    steps = paper.n_epochs * paper.patches_per_epoch // paper.batch_size
    assert steps == 30_000


@pytest.mark.parametrize("weight", [math.inf, math.nan, -1.0, 10**400])
def test_phase_weights_without_a_sense_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="phase_weights must be at"):
        TrainConfig(phase_weights=(1.0, weight))


@pytest.mark.parametrize("values", [[], None, 5, "config"])
def test_a_config_is_only_read_from_a_dict(values: object) -> None:
    with pytest.raises(ValueError, match="must be read from a dict"):
        TrainConfig.from_dict(values)


def test_network_of_another_config_comes_without_its_schedule() -> None:
    own, other = TrainConfig(n_epochs=3), TrainConfig(n_filters=4, n_epochs=7)

    assert own.with_network_of(other) == TrainConfig(n_filters=4, n_epochs=3)
