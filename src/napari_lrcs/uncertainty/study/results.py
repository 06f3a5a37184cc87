"""What is found with one segmentation of a study: scores and measures.

Needs no torch.
"""

import math
from dataclasses import dataclass, fields
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from napari_lrcs.config import Axis
from napari_lrcs.metrics.composition import MeasuresDict

Share = Annotated[float, Meta(ge=0, le=1)] | None
"""0 to 1; None stands for NaN."""

_Number = Annotated[float, Meta(ge=0, le=1e300)] | None
"""Not negative, and finite; None stands for NaN."""


class TortuosityDict(TypedDict):
    """A tortuosity as a JSON object."""

    label: int
    axis: Axis
    value: _Number


class ResultsDict(TypedDict):
    """Results as a JSON object; what was not requested is missing."""

    accuracy: Share
    iou: list[Share]
    measures: MeasuresDict | None
    surface_areas: NotRequired[list[_Number]]
    length_unit: NotRequired[str | None]
    tortuosity: NotRequired[list[TortuosityDict]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tortuosity:
    """Tortuosity of one phase along one axis.

    Parameters
    ----------
    label : int
        Label of the phase.
    axis : {"z", "y", "x"}
    value : float
        Tortuosity factor, at least 1; NaN if the phase does not percolate, or the
        solver did not converge.
    """

    label: int
    axis: Axis
    value: float

    def to_dict(self) -> TortuosityDict:
        """Return the fields as JSON values."""
        return {
            "label": self.label,
            "axis": self.axis,
            "value": or_none(self.value),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What is found with one segmentation.

    Parameters
    ----------
    accuracy : float
        Accuracy on the test slices, 0 to 1; NaN if it failed.
    iou : tuple of float
        IoU of each phase on the test slices; NaN for a phase that occurs in neither
        labels nor prediction. Empty if it failed.
    measures : MeasuresDict or None
        Measures of the whole segmentation, as in ``measure --json``; None if it failed.
    surface_areas : tuple of float
        Area of each phase per volume, in the inverse of `length_unit`; empty if that
        was not requested.
    length_unit : str, optional
        "voxel" where the voxel size is unknown, None where its unit is.
    tortuosity : tuple of Tortuosity
        Of the requested phases.
    """

    accuracy: float = math.nan
    iou: tuple[float, ...] = ()
    measures: MeasuresDict | None = None
    surface_areas: tuple[float, ...] = ()
    length_unit: str | None = None
    tortuosity: tuple[Tortuosity, ...] = ()

    def fields(self) -> dict[str, Any]:
        """Return the fields by their names, without those of subclasses."""
        return {f.name: getattr(self, f.name) for f in fields(Results)}

    def results_dict(self) -> dict[str, Any]:
        """Return the results as JSON values, None for NaN."""
        values: dict[str, Any] = {
            "accuracy": or_none(self.accuracy),
            "iou": [*map(or_none, self.iou)],
            "measures": self.measures,
        }
        if self.surface_areas:
            values["surface_areas"] = [*map(or_none, self.surface_areas)]
            values["length_unit"] = self.length_unit
        if self.tortuosity:
            values["tortuosity"] = [one.to_dict() for one in self.tortuosity]
        return values


def read_results(values: ResultsDict, *, n_phases: int, name: str) -> dict[str, Any]:
    """Return the fields of `Results` from the JSON values of `results_dict`.

    Raises
    ------
    ValueError
        If scores or measures are not those of `n_phases` phases.
    """
    tortuosity = values.get("tortuosity", ())
    _check(values, n_phases=n_phases, name=name)
    return {
        "accuracy": or_nan(values["accuracy"]),
        "iou": tuple(map(or_nan, values["iou"])),
        "measures": values["measures"],
        "surface_areas": tuple(map(or_nan, values.get("surface_areas", ()))),
        "length_unit": values.get("length_unit"),
        "tortuosity": tuple(
            Tortuosity(label=one["label"], axis=one["axis"], value=or_nan(one["value"]))
            for one in tortuosity
        ),
    }


def _check(values: ResultsDict, *, n_phases: int, name: str) -> None:
    measures = values["measures"]
    if measures is not None:
        pairs = n_phases * (n_phases - 1) // 2
        found = len(values["iou"]), len(measures["phases"])
        if found != (n_phases,) * 2 or len(measures["interfaces"]) != pairs:
            raise ValueError(
                f"{name} has {found[0]} IoU and measures of {found[1]} "
                f"phases and {len(measures['interfaces'])} interfaces, expected "
                f"{n_phases} phases and {pairs} interfaces"
            )
    n_areas = len(values.get("surface_areas", ()))
    if n_areas not in (0, n_phases):
        raise ValueError(f"{name} has {n_areas} surface areas of {n_phases} phases")
    labels = {one["label"] for one in values.get("tortuosity", ())}
    if not labels <= {*range(1, n_phases + 1)}:
        raise ValueError(f"{name} has the tortuosity of unknown phases: {labels}")


def or_none(value: float) -> float | None:
    """Return None for a number that JSON lacks."""
    return value if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """Return NaN for None."""
    return math.nan if value is None else value
