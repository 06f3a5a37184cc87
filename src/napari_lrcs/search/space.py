"""What a search varies: settings of `TrainConfig`, and the values of each."""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Literal, Self, TypeAlias, get_args, get_origin

import numpy as np

from napari_lrcs.config import TrainConfig
from napari_lrcs.settings import Setting

Value: TypeAlias = bool | int | float | str
Values: TypeAlias = dict[str, Value]
"""Values by the names of the settings."""

_FIXED: Mapping[str, str] = {
    "axis": "the painted slices lie across one axis",
    "deterministic": "it changes only rounding",
    "device": "it changes no score",
    "phase_weights": "it is a list of numbers",
    "pitfall_restarts": "a trial in the pitfall is pruned",
    "seed": "each repeat has a seed of its own",
}
"""Settings that cannot be searched, and why."""

_FORMS = "NAME=VALUE,VALUE,… or NAME=LOW:HIGH or NAME=LOW:HIGH:log"


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values, each as likely as any other."""

    values: tuple[Value, ...]

    @property
    def grid(self) -> tuple[Value, ...]:
        """Values on a grid: all of them."""
        return self.values

    def at(self, share: float) -> Value:
        """Return the value at a share of the list, from 0 to below 1."""
        return self.values[int(share * len(self.values))]

    def __str__(self) -> str:
        """Return what the command line calls it."""
        return ",".join(map(_text, self.values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; integers if they are integers.

    Parameters
    ----------
    log : bool
        Whether factors are as likely as one another, instead of differences.
    step : int
        2 for odd numbers only, 1 for other integers, 0 for real numbers.
    """

    low: float
    high: float
    log: bool = False
    step: int = 0

    @property
    def grid(self) -> tuple[Value, ...]:
        """Values on a grid: both ends and the middle."""
        return tuple(dict.fromkeys((self.low, self.at(0.5), self.high)))

    def at(self, share: float) -> Value:
        """Return the value at a share of the range, from 0 to below 1."""
        # Half a step beyond, or the ends would be half as likely as other integers.
        low, high = self.low - self.step / 2, self.high + self.step / 2
        value = low * (high / low) ** share if self.log else low + share * (high - low)
        if self.step:
            steps = math.floor((value - low) / self.step)
            value = int(self.low) + self.step * steps
        return min(max(value, self.low), self.high)

    def __str__(self) -> str:
        """Return what the command line calls it."""
        return f"{self.low!r}:{self.high!r}" + (":log" if self.log else "")


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The settings that a search varies, by name.

    Parameters
    ----------
    fields : mapping of str to Choices or Range
        At least one.
    """

    fields: Mapping[str, Choices | Range]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read settings as the command line has them.

        Parameters
        ----------
        texts : iterable of str
            One setting each, as ``batch_size=2,4,8`` for some values, or as
            ``learning_rate=1e-4:1e-2:log`` for a range.

        Raises
        ------
        ValueError
            If a setting is unknown, given twice or cannot be searched, or if a value
            has the wrong type or is out of bounds.
        """
        fields: dict[str, Choices | Range] = {}
        for text in texts:
            name, equals, values = text.partition("=")
            if not equals:
                raise ValueError(f"{text!r} is not a setting to search; give {_FORMS}")
            setting = _setting_of(name.strip().replace("-", "_"))
            if setting.name in fields:
                raise ValueError(f"{setting.name} is given twice; give it once")
            fields[setting.name] = _parse_values(setting, values)
        return cls(fields)

    @classmethod
    def default_for(cls, config: TrainConfig, *, without: Container[str] = ()) -> Self:
        """Vary what matters most around a config.

        In the paper, the learning rate and the batch size decide; then come the width,
        the kernel size and the decay of the learning rate.

        Parameters
        ----------
        without : container of str
            Names of settings that are not to be varied.
        """
        rate, batch = config.optimisation.learning_rate, config.optimisation.batch_size
        width = config.network.n_filters
        batches = [n for n in (batch // 4, batch // 2, batch, 2 * batch) if n]
        widths = [n for n in (width // 2, width, 2 * width) if n]
        texts = [
            f"learning_rate={rate / 10:.3g}:{min(1.0, 10 * rate):.3g}:log",
            f"batch_size={','.join(map(str, batches))}",
            f"n_filters={','.join(map(str, widths))}",
            "kernel_size=3,5",
        ]
        if config.optimisation.schedule in ("step", "exponential"):
            texts.append("decay_ratio=0.1,0.3,1.0")
        return cls.parse(t for t in texts if t.partition("=")[0] not in without)

    def to_list(self) -> list[str]:
        """Return what `parse` reads."""
        return [f"{name}={field}" for name, field in self.fields.items()]

    @property
    def middle(self) -> Values:
        """The values in the middle."""
        return {name: field.at(0.5) for name, field in self.fields.items()}

    @property
    def grid(self) -> list[Values]:
        """All combinations of the values on a grid, the last setting fastest."""
        values = (field.grid for field in self.fields.values())
        return [dict(zip(self.fields, each, strict=True)) for each in product(*values)]

    def draw(self, rng: np.random.Generator) -> Values:
        """Draw a value for each setting."""
        return {name: field.at(rng.random()) for name, field in self.fields.items()}


def searchable() -> tuple[Setting, ...]:
    """List the settings that can be searched."""
    return tuple(s for s in TrainConfig.settings() if s.name not in _FIXED)


def suggest_values(setting: Setting, config: TrainConfig) -> str:
    """Return values of a setting around that of a config, as `SearchSpace.parse` reads.

    Of a setting that is text, it is the value alone.

    Examples
    --------
    >>> settings = {setting.name: setting for setting in searchable()}
    >>> suggest_values(settings["n_epochs"], TrainConfig().with_changes(n_epochs=8))
    '4,8,16'
    >>> suggest_values(settings["gain"], TrainConfig().with_changes(gain=0.1))
    '0.05:0.2'
    """
    value = config.to_dict()[setting.name]
    if setting.type is bool:
        return "false,true"
    if get_origin(setting.type) is Literal:
        return ",".join(get_args(setting.type))
    if setting.type is str:
        return str(value)
    low = -math.inf if setting.low is None else setting.low
    high = math.inf if setting.high is None else setting.high
    if setting.type is float:
        first, last = (value / 2, 2 * value) if value else (0.0, 1.0)
        return f"{max(low, first):g}:{min(high, last):g}"
    around = [n for n in _integers_around(value, setting) if low <= n <= high]
    return ",".join(map(str, dict.fromkeys(around)))


def _integers_around(value: int, setting: Setting) -> tuple[int, ...]:
    if setting.odd:
        return (value - 2, value, value + 2) if value else (0, 3, 5)
    return value // 2, value, 2 * value or 1


def describe(settings: Values) -> str:
    """Write the values of settings on a line.

    Examples
    --------
    >>> describe({"batch_size": 4, "learning_rate": 0.00123456})
    'batch_size 4, learning_rate 0.00123'
    """
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in settings.items()
    )


def _setting_of(name: str) -> Setting:
    known = {s.name: s for s in searchable()}
    if name in _FIXED:
        raise ValueError(f"{name} cannot be searched: {_FIXED[name]}")
    if name not in known:
        near = get_close_matches(name, known) or sorted(known)
        raise ValueError(f"there is no setting {name!r}; did you mean {_or(near)}?")
    return known[name]


def _or(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _parse_values(setting: Setting, text: str) -> Choices | Range:
    if ":" in text and setting.type in (int, float):
        return _parse_range(setting, text)
    values = tuple(_value(setting, word.strip()) for word in text.split(","))
    if len(values) < 2 or len(set(values)) < len(values):
        raise ValueError(
            f"{setting.name} needs at least two different values to search, got "
            f"{text!r}; give {_FORMS}"
        )
    return Choices(values)


def _parse_range(setting: Setting, text: str) -> Range:
    low, high, *rest = text.split(":")
    if rest not in ([], ["log"]):
        raise ValueError(f"{text!r} is not a range of {setting.name}; give {_FORMS}")
    first, last = _value(setting, low), _value(setting, high)
    assert not isinstance(first, str)
    assert not isinstance(last, str)
    if first >= last:
        raise ValueError(
            f"the range {text} of {setting.name} must end above its beginning"
        )
    if rest and first <= 0:
        raise ValueError(
            f"the range {text} of {setting.name} must begin above 0 to be logarithmic"
        )
    if setting.odd and not first:
        raise ValueError(
            f"a range of {setting.name} cannot begin at 0; list its values, as 0,3,5"
        )
    step = 0 if setting.type is float else 2 if setting.odd else 1
    return Range(low=first, high=last, log=bool(rest), step=step)


def _value(setting: Setting, word: str) -> Value:
    """Read a value, and refuse one that the setting cannot have."""
    kind = str if get_origin(setting.type) is Literal else setting.type
    try:
        value: Value = _BOOLEANS[word] if kind is bool else kind(word)
    except (ValueError, KeyError):
        expected = "true or false" if kind is bool else _NUMBERS[kind]
        raise ValueError(
            f"{setting.name} must be {expected}, got {word!r}; give {_FORMS}"
        ) from None
    TrainConfig().with_changes(**{setting.name: value})
    return value


_BOOLEANS = {"true": True, "false": False}
_NUMBERS = {int: "an integer", float: "a number"}


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
