"""What is reported of a study: one quantity over several segmentations.

Needs no torch.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study.results import Results, or_none

Kind = Literal[
    "accuracy",
    "iou",
    "volume_fraction",
    "surface_fraction",
    "interface_fraction",
    "surface_area",
    "tortuosity",
]

KINDS: Mapping[Kind, str] = {
    "accuracy": "Accuracy",
    "iou": "IoU",
    "volume_fraction": "Volume",
    "surface_fraction": "Surface",
    "interface_fraction": "Interface",
    "surface_area": "Surface area",
    "tortuosity": "Tortuosity",
}
"""The kinds of quantities and their names on screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A quantity over the members of a group.

    Parameters
    ----------
    kind : {"accuracy", "iou", "volume_fraction", "surface_fraction", \
"interface_fraction", "surface_area", "tortuosity"}
        What was measured.
    name : str
        Name of the phase, or of both phases of an interface; "all" for the accuracy.
        That of a tortuosity ends with its axis.
    labels : tuple of int
        Label of the phase, or of both; empty for the accuracy.
    values : tuple of float
        Value of each member, in their order; NaN where undefined. Shares are 0 to 1,
        surface areas are in `unit`.
    axis : str
        Axis of a tortuosity; empty for all else.
    unit : str
        Unit of a surface area per volume, such as "1/micrometer"; empty for all else.
    """

    kind: Kind
    name: str
    labels: tuple[int, ...]
    values: tuple[float, ...]
    axis: str = ""
    unit: str = ""

    @property
    def is_share(self) -> bool:
        """Whether its values are 0 to 1, which are shown in percent."""
        return self.kind not in ("surface_area", "tortuosity")

    @property
    def title(self) -> str:
        """What was measured, for the first column of a table.

        Examples
        --------
        >>> Quantity(kind="iou", name="pore", labels=(1,), values=()).title
        'IoU, pore'
        """
        unit = f" ({self.unit})" if self.unit else ""
        name = "" if self.kind == "accuracy" else f", {self.name}"
        return f"{KINDS[self.kind]}{name}{unit}"

    @property
    def column(self) -> str:
        """Name of its column in a table of members, such as ``tortuosity_1_z``."""
        axis = [self.axis] if self.axis else []
        return "_".join([self.kind, *map(str, self.labels), *axis])

    @property
    def defined(self) -> tuple[float, ...]:
        """The values that are not NaN."""
        return tuple(value for value in self.values if not math.isnan(value))

    @property
    def n_missing(self) -> int:
        """Number of members without a value; mean and sd leave them out."""
        return len(self.values) - len(self.defined)

    @property
    def mean(self) -> float:
        """Mean of the defined values; NaN where there is none."""
        return float(np.mean(self.defined)) if self.defined else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation (n - 1); NaN for fewer than two values."""
        return (
            float(np.std(self.defined, ddof=1)) if len(self.defined) > 1 else math.nan
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, None for NaN."""
        return {
            "kind": self.kind,
            "name": self.name,
            "labels": [*self.labels],
            "axis": self.axis or None,
            "unit": self.unit or None,
            "mean": or_none(self.mean),
            "sd": or_none(self.sd),
            "n_missing": self.n_missing,
            "values": [*map(or_none, self.values)],
        }


def quantities_of(
    results: Sequence[Results], phases: PhaseTable, *, like: Results | None
) -> Iterator[Quantity]:
    """Collect quantities over several segmentations.

    Parameters
    ----------
    results : sequence of Results
        Of segmentations that did not fail.
    phases : PhaseTable
    like : Results, optional
        Tells what was requested besides scores and fractions; of that, what `results`
        lack is NaN.
    """
    unit = "" if like is None else f"1/{like.length_unit or 'unknown unit'}"
    for kind, labels, axis in _keys(phases, like or Results()):
        names = " – ".join(phases.names[label - 1] for label in labels)
        yield Quantity(
            kind=kind,
            name=f"{names} along {axis}" if axis else names or "all",
            labels=labels,
            values=tuple(_value(one, kind, labels, axis) for one in results),
            axis=axis,
            unit=unit if kind == "surface_area" else "",
        )


def _keys(
    phases: PhaseTable, like: Results
) -> Iterator[tuple[Kind, tuple[int, ...], str]]:
    single = [(phase.label,) for phase in phases]
    kinds: list[tuple[Kind, Sequence[tuple[int, ...]]]] = [
        ("accuracy", [()]),
        ("iou", single),
        ("volume_fraction", single),
        ("surface_fraction", single),
        ("interface_fraction", [*combinations(range(1, len(phases) + 1), 2)]),
        ("surface_area", single if like.surface_areas else []),
    ]
    for kind, several in kinds:
        for labels in several:
            yield kind, labels, ""
    for one in like.tortuosity:
        yield "tortuosity", (one.label,), one.axis


def _value(results: Results, kind: Kind, labels: tuple[int, ...], axis: str) -> float:
    match kind:
        case "accuracy":
            return results.accuracy
        case "iou":
            return results.iou[labels[0] - 1]
        case "surface_area":
            areas = dict(enumerate(results.surface_areas, 1))
            return areas.get(labels[0], math.nan)
        case "tortuosity":
            own = (one for one in results.tortuosity if (one.label,) == labels)
            return next((one.value for one in own if one.axis == axis), math.nan)
        case "interface_fraction":
            return _interface(results, labels)
        case _:
            assert results.measures is not None
            return float(results.measures["phases"][labels[0] - 1][kind])


def _interface(results: Results, labels: tuple[int, ...]) -> float:
    assert results.measures is not None
    pairs = combinations(range(1, len(results.iou) + 1), 2)
    rows = zip(pairs, results.measures["interfaces"], strict=True)
    return next(float(row["fraction"]) for pair, row in rows if pair == labels)
