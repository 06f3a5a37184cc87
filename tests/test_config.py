import json
import math
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any, Literal, get_args, get_origin

import pytest

from napari_lrcs.augmentation import AugmentationConfig
from napari_lrcs.config import (
    PRESETS,
    NetworkConfig,
    OptimisationConfig,
    PerturbConfig,
    PredictConfig,
    PreprocessingConfig,
    SearchConfig,
    StudyConfig,
    TrainConfig,
)
from napari_lrcs.setting_names import rename_settings
from napari_lrcs.settings import Config, Setting

CONFIGS: tuple[type[Config], ...] = (
    TrainConfig,
    PredictConfig,
    PerturbConfig,
    SearchConfig,
    StudyConfig,
)
SETTINGS = [(config, setting) for config in CONFIGS for setting in config.settings()]
BOUNDED = [
    pytest.param(config, setting, id=f"{config.__name__}.{setting.name}")
    for config, setting in SETTINGS
    if setting.low is not None or setting.high is not None
]

every_setting = pytest.mark.parametrize(
    ("config", "setting"),
    [pytest.param(c, s, id=f"{c.__name__}.{s.name}") for c, s in SETTINGS],
)


def as_field(value: float, setting: Setting) -> Any:
    """Make a value of a field's type."""
    if get_origin(setting.type) is tuple:
        return (value,)
    return int(value) if setting.type is int else float(value)


@every_setting
def test_settings_explain_themselves(config: type[Config], setting: Setting) -> None:
    del config
    assert setting.tooltip
    assert setting.group
    assert not isinstance(setting.type, str)  # a class that forms and flags can use


@every_setting
def test_defaults_are_within_their_bounds(
    config: type[Config], setting: Setting
) -> None:
    same = config().with_changes(**{setting.name: setting.default})

    assert same.to_dict()[setting.name] == setting.default


@pytest.mark.parametrize(("config", "setting"), BOUNDED)
def test_bounds_hold_and_the_values_next_to_them_are_refused(
    config: type[Config], setting: Setting
) -> None:
    step = 2 if setting.name in ("kernel_size", "median_size") else 1
    for bound, outwards, message in (
        (setting.low, -step, "must be at least"),
        (setting.high, step, "must be at most"),
    ):
        if bound is None:
            continue
        config().with_changes(**{setting.name: as_field(bound, setting)})
        with pytest.raises(ValueError, match=rf"{setting.name} {message} .*, got"):
            config().with_changes(**{setting.name: as_field(bound + outwards, setting)})


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
        OptimisationConfig(phase_weights=weights)


@pytest.mark.parametrize("name", ["axis", "loss", "schedule", "precision"])
def test_unknown_choice_is_refused_and_the_known_are_named(name: str) -> None:
    setting = next(s for s in TrainConfig.settings() if s.name == name)
    assert get_origin(setting.type) is Literal

    with pytest.raises(ValueError, match=f"{name} must be one of") as caught:
        TrainConfig().with_changes(**{name: "other"})

    assert all(known in str(caught.value) for known in get_args(setting.type))


def test_unhashable_choice_is_refused() -> None:
    choice: Any = ["dice"]

    with pytest.raises(ValueError, match="loss must be one of"):
        OptimisationConfig(loss=choice)


@pytest.mark.parametrize(
    ("name", "size"), [("kernel_size", 4), ("median_size", 2), ("kernel_size", 14)]
)
def test_even_sizes_are_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be odd, got {size}"):
        TrainConfig().with_changes(**{name: size})


def test_median_of_zero_is_none() -> None:
    assert PreprocessingConfig(median_size=0).median_size == 0


def test_whole_number_serves_as_a_real_one() -> None:
    assert AugmentationConfig(rotation=15).rotation == 15


@pytest.mark.parametrize("config", [*PRESETS.values(), PredictConfig(min_size=7)])
def test_config_survives_the_way_to_json_and_back(
    config: TrainConfig | PredictConfig,
) -> None:
    text = json.dumps(config.to_dict())

    assert type(config).from_dict(json.loads(text)) == config


def test_weights_survive_the_way_to_json_and_back() -> None:
    config = TrainConfig().with_changes(phase_weights=(1.0, 2.5))

    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="TrainConfig has no field n_layers, width"):
        TrainConfig.from_dict({"width": 3, "n_layers": 2, "n_epochs": 1})


def test_missing_fields_are_the_defaults_or_what_they_were_before_they_were() -> None:
    found = TrainConfig.from_dict({"n_epochs": 3})

    assert found == TrainConfig().with_changes(n_epochs=3, **TrainConfig.before)


def test_settings_as_before_do_not_tell_one_training_from_another() -> None:
    old = TrainConfig().with_changes(**TrainConfig.before)

    assert not set(old.identity()) & set(TrainConfig.before)
    assert old.with_changes(weight_averaging=0.5).identity() == {
        **old.identity(),
        "weight_averaging": 0.5,
    }


def test_changes_are_checked_and_leave_the_original() -> None:
    config = TrainConfig()

    changed = config.with_changes(n_epochs=3)

    assert changed.optimisation.n_epochs == 3
    assert config == TrainConfig()
    with pytest.raises(ValueError, match="n_epochs must be at least 1"):
        config.with_changes(n_epochs=0)


def test_config_is_frozen() -> None:
    config = TrainConfig()

    with pytest.raises(FrozenInstanceError):
        config.seed = 3  # type: ignore[misc]  # that is the point


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
    assert AugmentationConfig().with_changes(**changes).is_warping is expected


def test_quick_preset_is_the_default() -> None:
    assert PRESETS["quick"] == TrainConfig()


def test_added_settings_are_off_in_the_papers_preset() -> None:
    paper = PRESETS["paper"].to_dict()

    assert {name: paper[name] for name in TrainConfig.before} == TrainConfig.before


def test_paper_preset_is_the_papers() -> None:
    network = PRESETS["paper"].network
    paper = PRESETS["paper"].optimisation

    assert (network.model, network.n_filters, network.kernel_size) == ("lrcsnet", 32, 5)
    assert (network.n_bottleneck_convs, network.context_slices) == (2, 0)
    assert (paper.loss, paper.schedule) == ("dice", "step")
    assert (paper.learning_rate, paper.decay_ratio) == (1e-4, 0.3)
    assert (paper.batch_size, paper.patch_size, paper.n_epochs) == (2, 512, 5)
    assert PRESETS["paper"].preprocessing.median_size == 3
    # Its transfer gain levels off for moments after 30,000 steps.
    steps = paper.n_epochs * paper.patches_per_epoch // paper.batch_size
    assert steps == 30_000


@pytest.mark.parametrize("weight", [math.inf, math.nan, -1.0, 10**400])
def test_phase_weights_without_a_sense_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="phase_weights must be at"):
        OptimisationConfig(phase_weights=(1.0, weight))


@pytest.mark.parametrize("values", [[], None, 5, "config"])
def test_a_config_is_only_read_from_a_dict(values: object) -> None:
    with pytest.raises(ValueError, match="must be read from a dict"):
        TrainConfig.from_dict(values)


def test_network_of_another_config_comes_without_its_schedule() -> None:
    own = TrainConfig().with_changes(n_epochs=3)
    other = TrainConfig().with_changes(n_filters=4, n_epochs=7)

    transferred = replace(own, network=other.network)

    assert transferred == TrainConfig().with_changes(n_filters=4, n_epochs=3)


# Parts


@pytest.mark.parametrize("config", CONFIGS)
def test_no_two_settings_share_a_name(config: type[Config]) -> None:
    names = [setting.name for setting in config.settings()]

    assert len(set(names)) == len(names)


def test_settings_are_written_flat_whatever_part_they_are_in() -> None:
    values = TrainConfig().to_dict()

    assert list(values) == [setting.name for setting in TrainConfig.settings()]
    assert values == {s.name: s.default for s in TrainConfig.settings()}


def test_changes_reach_their_parts_and_leave_the_others() -> None:
    config = TrainConfig(network=NetworkConfig(n_filters=4))

    changed = config.with_changes(seed=7, flip=False, kernel_size=5)

    assert changed.network == NetworkConfig(n_filters=4, kernel_size=5)
    assert changed.augmentation == AugmentationConfig(flip=False)
    assert changed.seed == 7
    assert changed.optimisation == config.optimisation


def test_a_part_and_its_settings_are_changed_together() -> None:
    changed = TrainConfig().with_changes(
        network=NetworkConfig(n_filters=4), kernel_size=5
    )

    assert changed.network == NetworkConfig(n_filters=4, kernel_size=5)


def test_part_of_another_kind_is_refused() -> None:
    part: Any = OptimisationConfig()

    with pytest.raises(ValueError, match="network must be of type NetworkConfig, got"):
        TrainConfig(network=part)


def test_a_change_of_no_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="n_layers"):
        TrainConfig().with_changes(n_layers=3)


@pytest.mark.parametrize("name", PRESETS)
def test_config_survives_the_way_to_another_process(name: str) -> None:
    assert pickle.loads(pickle.dumps(PRESETS[name])) == PRESETS[name]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("phase_weights must be 2 numbers", "Phase weights must be 2 numbers"),
        (
            "it sees 1 slice; set context_slices to 0",
            "it sees 1 slice; set Context slices to 0",
        ),
        ("axis must be one of z, y, x", "Axis must be one of z, y, x"),
        ("the device is absent, at /scan/my_patch_size.tif", None),
        ("patch_size.tif is no TIFF, nor is /batch_size/a.tif", None),
        (r"C:\patch_size\a.tif and run-n_epochs are in use", None),
        ("lower batch_size.", "lower Batch size."),
    ],
)
def test_settings_are_named_for_the_reader_and_words_left_alone(
    message: str, shown: str | None
) -> None:
    assert rename_settings(message, lambda s: s.title) == (shown or message)
