import math
from itertools import product
from typing import Any

import numpy as np
import pytest

from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.search.space import (
    Choices,
    Range,
    SearchSpace,
    searchable,
    suggest_values,
)


def field(text: str) -> Any:
    (parsed,) = SearchSpace.parse([text]).fields.values()
    return parsed


def test_settings_are_read_with_the_types_of_their_fields() -> None:
    texts = [
        "learning_rate=1e-4:1e-2:log",
        "batch_size=2,4,8",
        "kernel-size=1:7",
        "flip=true,false",
        "loss=dice,cross_entropy",
    ]

    space = SearchSpace.parse(texts)

    assert space.fields == {
        "learning_rate": Range(low=1e-4, high=1e-2, log=True),
        "batch_size": Choices((2, 4, 8)),
        "kernel_size": Range(low=1, high=7, step=2),
        "flip": Choices((True, False)),
        "loss": Choices(("dice", "cross_entropy")),
    }
    assert SearchSpace.parse(space.to_list()) == space


def test_a_logarithmic_range_has_its_geometric_mean_in_the_middle() -> None:
    assert field("learning_rate=1e-4:1e-2:log").grid == (
        1e-4,
        pytest.approx(1e-3),
        1e-2,
    )
    assert field("gain=0.1:0.3").grid == (0.1, pytest.approx(0.2), 0.3)
    assert field("kernel_size=1:7").at(0.5) == 5  # one of 3 and 5, which are as near


@pytest.mark.parametrize(
    ("text", "values"),
    [("kernel_size=1:7", [1, 3, 5, 7]), ("batch_size=2:4", [2, 3, 4])],
)
def test_all_integers_of_a_range_are_equally_likely(
    text: str, values: list[int]
) -> None:
    shares = (np.arange(1200) + 0.5) / 1200

    drawn = [field(text).at(share) for share in shares]

    assert all(isinstance(value, int) for value in drawn)
    assert [drawn.count(value) for value in values] == [1200 // len(values)] * len(
        values
    )


def test_a_draw_stays_within_the_range() -> None:
    rng = np.random.default_rng(0)
    space = SearchSpace.parse(["learning_rate=1e-4:1e-2:log", "n_filters=2:8:log"])

    drawn = [space.draw(rng) for _ in range(500)]

    rates = np.array([math.log10(float(d["learning_rate"])) for d in drawn])
    assert rates.min() >= -4
    assert rates.max() <= -2
    assert abs(rates.mean() + 3) < 0.1
    assert {*range(2, 9)} == {d["n_filters"] for d in drawn}


def test_a_grid_is_the_product_of_its_settings() -> None:
    space = SearchSpace.parse(["learning_rate=1e-3,1e-2", "batch_size=2,4,8"])

    assert [tuple(each.values()) for each in space.grid] == list(
        product((1e-3, 1e-2), (2, 4, 8))
    )


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_the_default_is_around_the_preset(preset: TrainConfig) -> None:
    space = SearchSpace.default_for(preset, without=["n_filters"])

    rate = space.fields["learning_rate"]
    assert isinstance(rate, Range)
    assert rate.at(0.5) == pytest.approx(preset.optimisation.learning_rate)
    assert str(preset.optimisation.batch_size) in str(space.fields["batch_size"])
    assert "n_filters" not in space.fields
    is_decaying = preset.optimisation.schedule == "step"
    assert ("decay_ratio" in space.fields) == is_decaying


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning_rate", "is not a setting to search; give NAME=VALUE"),
        ("learning_rat=1,2", "did you mean learning_rate"),
        ("zzz=1,2", "there is no setting 'zzz'; did you mean balance"),
        ("seed=1,2", "seed cannot be searched: each repeat has a seed of its own"),
        ("phase_weights=1,2", "it is a list of numbers"),
        ("batch_size=2", "needs at least two different values"),
        ("batch_size=2,2", "needs at least two different values"),
        ("batch_size=2,x", "batch_size must be an integer, got 'x'"),
        ("gain=0.1,", "gain must be a number, got ''"),
        ("flip=yes,no", "flip must be true or false, got 'yes'"),
        ("batch_size=0,2", "batch_size must be at least 1, got 0"),
        ("kernel_size=3,4", "kernel_size must be odd, got 4"),
        ("loss=dice,focal", "loss must be one of dice_cross_entropy"),
        ("learning_rate=1e-2:1e-4", "must end above its beginning"),
        ("learning_rate=1e-2:2", "at most 1.0, got 2.0"),
        ("learning_rate=1e-4:1e-2:lin", "is not a range of learning_rate"),
        ("gain=0:0.5:log", "must begin above 0 to be logarithmic"),
        ("median_size=0:5", "cannot begin at 0; list its values"),
    ],
)
def test_a_bad_setting_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says[:20].replace("(", r"\(")) as error:
        SearchSpace.parse([text])

    assert says in str(error.value)


def test_a_setting_is_given_once() -> None:
    with pytest.raises(ValueError, match="batch_size is given twice"):
        SearchSpace.parse(["batch_size=2,4", "batch-size=8,16"])


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_values_are_suggested_for_all_settings(preset: TrainConfig) -> None:
    values = {s.name: suggest_values(s, preset) for s in searchable()}
    del values["model"]  # its names are those of the registry

    space = SearchSpace.parse(f"{name}={text}" for name, text in values.items())

    assert {"learning_rate", "median_size", "flip"} < set(space.fields)
    assert not {"seed", "device"} & set(space.fields)
