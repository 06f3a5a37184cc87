"""What configs are made of: settings with a help and bounds, which check themselves."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin

T = TypeVar("T")


def setting(
    default: T,
    tooltip: str,
    *,
    bounds: tuple[float | None, float | None] = (None, None),
    unit: str = "",
    odd: bool = False,
    group: str = "",
) -> T:
    """Declare a field of a config with its help, its bounds and its unit.

    Parameters
    ----------
    tooltip : str
        The help.
    bounds : tuple of float or None
        Smallest and largest value, or items of a tuple.
    unit : str
        Empty without one.
    odd : bool
        Whether even numbers but 0 are refused.
    group : str
        Heading in a form and among the flags; by default that of the config.
    """
    low, high = bounds
    metadata = {
        "tooltip": tooltip,
        "low": low,
        "high": high,
        "unit": unit,
        "odd": odd,
        "group": group,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A field of a config, for forms and flags; see `setting` for what is in it."""

    name: str
    type: Any
    default: Any
    tooltip: str
    low: float | None
    high: float | None
    unit: str
    odd: bool
    group: str

    @property
    def title(self) -> str:
        """The setting as a form names it: ``n_epochs`` is "Epochs"."""
        return self.name.removeprefix("n_").replace("_", " ").capitalize()

    @property
    def flag(self) -> str:
        """The setting as the command line names it: ``--n-epochs``."""
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings, and parts that are configs themselves.

    Files, flags, forms and `with_changes` know the settings by their own names alone,
    whichever part they are in; so no two parts may share a name.
    """

    group: ClassVar[str]
    """Heading of the settings in a form and among the flags."""
    before: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """What settings that were added later mean to files that lack them, by name."""

    def __post_init__(self) -> None:
        for f in fields(self):
            _check(f, getattr(self, f.name))

    @classmethod
    def settings(cls) -> tuple[Setting, ...]:
        """List the settings, those of each part in its place."""
        found: list[Setting] = []
        for f in fields(cls):
            if isinstance(f.default, Config):
                found += f.default.settings()
            else:
                known = {**f.metadata, "group": f.metadata["group"] or cls.group}
                found.append(
                    Setting(name=f.name, type=f.type, default=f.default, **known)
                )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings, of the parts too, as JSON values by their names."""
        values: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            values |= value.to_dict() if isinstance(value, Config) else {f.name: value}
        return values

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Read what `to_dict` wrote; what is missing is as `before`, or its default.

        Raises
        ------
        ValueError
            If `values` is no mapping, a name is unknown or a value is out of its
            bounds.
        """
        if not isinstance(values, Mapping):
            found = type(values).__name__
            raise ValueError(f"{cls.__name__} must be read from a dict, got a {found}")
        unknown = sorted(set(values) - {s.name for s in cls.settings()})
        if unknown:
            raise ValueError(f"{cls.__name__} has no field {', '.join(unknown)}")
        lists_as_tuples = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in {**cls.before, **values}.items()
        }
        return cls().with_changes(**lists_as_tuples)

    def with_changes(self, **changes: object) -> Self:
        """Return a copy with some settings changed, whichever parts they are in."""
        for f in fields(self):
            part = changes.get(f.name, getattr(self, f.name))
            if isinstance(part, Config):
                names = [name for name in part.to_dict() if name in changes]
                its = {name: changes.pop(name) for name in names}
                changes[f.name] = part.with_changes(**its)
        return replace(self, **changes)


def _check(f: Field[Any], value: object) -> None:
    _check_type(f.name, value, f.type)
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        low, high = f.metadata["low"], f.metadata["high"]
        if number != number or (low is not None and number < low):
            raise ValueError(f"{f.name} must be at least {low}, got {number}")
        if high is not None and number > high:
            raise ValueError(f"{f.name} must be at most {high}, got {number}")
        if f.metadata["odd"] and number and number % 2 == 0:
            raise ValueError(f"{f.name} must be odd, got {number}")


def _check_type(name: str, value: object, annotation: Any) -> None:
    if get_origin(annotation) is Literal:
        if value not in get_args(annotation):
            known = ", ".join(get_args(annotation))
            raise ValueError(f"{name} must be one of {known}; got {value!r}")
        return
    accepted = get_origin(annotation) or annotation
    if accepted is float:
        accepted = (int, float)
    if not isinstance(value, accepted) or (
        isinstance(value, bool) and annotation is not bool
    ):
        raise ValueError(
            f"{name} must be of type {getattr(annotation, '__name__', annotation)}, "
            f"got {value!r}"
        )
    for item in value if isinstance(value, tuple) else ():
        _check_type(name, item, get_args(annotation)[0])
