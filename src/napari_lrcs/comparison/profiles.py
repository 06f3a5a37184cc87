"""Grey levels of a volume along a line: read, fitted and written."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lrcs.config import Axis
from napari_lrcs.io.tables import Row, write_csv
from napari_lrcs.io.units import SYMBOLS
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import replacing
from napari_lrcs.metrics.profile import Profile, SlopeFit, fit_slope, line_profile
from napari_lrcs.preprocessing.slices import AXES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Place = tuple[float, float, float]

_GREY, _FITTED = "#8a8a8a", "#3a87c8"
"""Readable on white and on black."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A straight line within one slice.

    Parameters
    ----------
    start, stop : tuple of float
        Ends (z, y, x), in voxels, counted from 0.

    Raises
    ------
    ValueError
        If the ends are one place, or lie in no common slice.
    """

    start: Place
    stop: Place

    def __post_init__(self) -> None:
        if self.start == self.stop:
            raise ValueError(f"the line starts and ends at {self.start}")
        if not self._axes:
            raise ValueError(
                f"the line from {self.start} to {self.stop} (z, y, x) crosses slices; "
                "draw it within one slice"
            )

    @property
    def _axes(self) -> list[Axis]:
        ends = zip(AXES, self.start, self.stop, strict=True)
        return [axis for axis, a, b in ends if round(a) == round(b)]

    @property
    def axis(self) -> Axis:
        """Axis across which its slice lies; z if there is a choice."""
        return self._axes[0]

    @property
    def index(self) -> int:
        """The slice."""
        return round(self.start[AXES[self.axis]])

    def in_slice(self, place: Place) -> tuple[float, float]:
        """Leave out the coordinate across the slice."""
        first, second = (c for i, c in enumerate(place) if i != AXES[self.axis])
        return first, second


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredProfile:
    """A profile, and the slope that is fitted to it.

    Parameters
    ----------
    name : str
        Name of the image.
    line : Line
    n_averaged : int
        Voxels across the line that are averaged.
    profile : Profile
        Over the distance in voxels.
    fit : SlopeFit or None
        In voxels.
    reason : str
        Why nothing could be fitted.
    length_of_voxel : float or None
        Length of a voxel along the line, in `unit`.
    unit : str or None
        Unit of length, if it is known.
    """

    name: str
    line: Line
    n_averaged: int
    profile: Profile
    fit: SlopeFit | None
    reason: str = ""
    length_of_voxel: float | None = None
    unit: str | None = None

    @property
    def symbol(self) -> str:
        """Symbol of the unit of length."""
        return SYMBOLS.get(self.unit or "", "unknown units")

    def to_dict(self) -> dict[str, Any]:
        """Gather what ``profile --json`` prints, unrounded."""
        fit, length = self.fit, self.length_of_voxel
        return {
            "start": [*self.line.start],
            "stop": [*self.line.stop],
            "averaged": self.n_averaged,
            "distance": self.profile.distance.tolist(),
            "value": self.profile.values.tolist(),
            "fit": fit
            and {
                "centre": fit.centre,
                "width": fit.width,
                "slope": fit.steepest,
                "low": fit.low,
                "high": fit.high,
                "residual": fit.residual,
            },
            "reason": self.reason or None,
            "physical": length
            and {
                "unit": self.unit,
                "voxel": length,
                "width": fit and fit.width * length,
                "slope": fit and fit.steepest / length,
            },
        }

    def rows(self) -> list[Row]:
        """Make a row per sample: its distance, its value and that of the fit."""
        fitted = None if self.fit is None else self.fit.at(self.profile.distance)
        rows: list[Row] = []
        for i, distance in enumerate(self.profile.distance.tolist()):
            row: Row = {"distance_voxel": distance}
            if self.length_of_voxel is not None:
                row[f"distance_{self.unit or 'unit'}"] = distance * self.length_of_voxel
            row["value"] = float(self.profile.values[i])
            row["fitted"] = None if fitted is None else float(fitted[i])
            rows.append(row)
        return rows


def parse_line(text: str) -> Line:
    """Parse a line such as ``10,20,5:24,40``: slice, then the ends y,x in it.

    Raises
    ------
    ValueError
        If the text is malformed, or both ends are one place.

    Examples
    --------
    >>> parse_line("10,20,5:24.5,40")
    Line(start=(10.0, 20.0, 5.0), stop=(10.0, 24.5, 40.0))
    """
    number = r"\s*(\d+(?:\.\d*)?)\s*"
    match = re.fullmatch(rf"{number},{number},{number}:{number},{number}", text)
    if match is None:
        raise ValueError(
            f"a line must look like z,y0,x0:y1,x1, such as 10,20,5:24,40; got {text!r}"
        )
    z, y0, x0, y1, x1 = map(float, match.groups())
    return Line(start=(z, y0, x0), stop=(z, y1, x1))


def measure_profile(image: Volume, line: Line, *, width: int = 1) -> MeasuredProfile:
    """Read grey levels along a line, and fit the slope of the interface on it.

    Parameters
    ----------
    image : Volume
        A single slice is read.
    line : Line
    width : int
        Voxels across the line that are averaged.

    Raises
    ------
    ValueError
        If the line leaves the image, or the width is below 1.
    """
    across = AXES[line.axis]
    if not 0 <= line.index < image.shape[across]:
        raise ValueError(
            f"slice {line.axis}={line.index} does not exist: {image.name} has slices 0 "
            f"to {image.shape[across] - 1}"
        )
    (plane,) = image.slab(line.index, line.index + 1, axis=line.axis)
    ends = line.in_slice(line.start), line.in_slice(line.stop)
    profile = line_profile(plane, start=ends[0], stop=ends[1], width=width)
    fit, reason = None, ""
    try:
        fit = fit_slope(profile)
    except ValueError as error:
        reason = str(error)
    length = None
    if image.voxel_size is not None:
        sides = line.in_slice(image.voxel_size)
        steps = [(b - a) * side for a, b, side in zip(*ends, sides, strict=True)]
        length = math.hypot(*steps) / math.dist(*ends)
    return MeasuredProfile(
        name=image.name,
        line=line,
        n_averaged=width,
        profile=profile,
        fit=fit,
        reason=reason,
        length_of_voxel=length,
        unit=image.unit,
    )


def write_profile_csv(path: Path, measured: MeasuredProfile) -> None:
    """Write `MeasuredProfile.rows`; the file is replaced only when complete."""
    write_csv(path, measured.rows())


def write_profile_figure(path: Path, measured: MeasuredProfile) -> None:
    """Draw a profile and its fit.

    Parameters
    ----------
    path : Path
        ``.png``, ``.pdf`` or ``.svg``; replaced only when complete.
    measured : MeasuredProfile
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=150, layout="tight")
    ax = figure.subplots()
    draw_profile(ax, measured)
    ax.set_title(width_text(measured))
    with replacing(path) as temporary:
        figure.savefig(temporary)


def draw_profile(ax: "Axes", measured: MeasuredProfile) -> None:
    """Draw the values along a line, the fitted slope and its width.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    measured : MeasuredProfile
    """
    import numpy as np

    profile, fit = measured.profile, measured.fit
    ax.plot(profile.distance, profile.values, "o-", ms=3, lw=0.8, color=_GREY)
    if fit is not None:
        fine = np.linspace(profile.distance[0], profile.distance[-1], 300)
        ax.plot(fine, fit.at(fine), color=_FITTED, lw=2)
        half = fit.width / 2
        ax.axvspan(fit.centre - half, fit.centre + half, color=_FITTED, alpha=0.15)
    ax.set_xlabel("Distance in voxels", labelpad=1)
    ax.set_ylabel("Grey level")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)


def width_text(measured: MeasuredProfile) -> str:
    """Say how wide the interface is; empty where nothing was fitted.

    Samples are a voxel apart, so that a smaller width says no more than that.
    """
    fit, length = measured.fit, measured.length_of_voxel
    if fit is None:
        return ""
    below, width = ("below ", 1.0) if fit.width < 1 else ("", fit.width)
    text = f"Width, 10 to 90%: {below}{width:.3g} voxel{'s' if width > 1 else ''}"
    if length is not None:
        text += f", {below}{width * length:.3g} {measured.symbol}"
    return text
