import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erf

from napari_lrcs.comparison.profiles import Line, measure_profile, parse_line
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.metrics.profile import SlopeFit

WIDTH_IN_SD = 2.5631
"""From 10 to 90% of an error function, in its standard deviations."""


def edge(sd: float, *, normal: tuple[float, float] = (0.0, 1.0)) -> NDArray[np.float64]:
    """Make a slice with an interface in its middle, at right angles to `normal`."""
    y, x = np.mgrid[-30:31, -30:31]
    distance = (normal[0] * y + normal[1] * x) / math.hypot(*normal)
    noise = np.random.default_rng(0).normal(0, 2, y.shape)
    grey: NDArray[np.float64] = 500 + 100 * erf(distance / (sd * math.sqrt(2))) + noise
    return grey


def volume(plane: NDArray[np.float64], *, axis: int = 0, **options: object) -> Volume:
    stack = np.stack([np.full_like(plane, 7.0), plane], axis=axis)
    return as_volume(stack, **options)  # type: ignore[arg-type]


def fitted(measured: object) -> SlopeFit:
    fit = getattr(measured, "fit", None)
    assert isinstance(fit, SlopeFit)
    return fit


@pytest.mark.parametrize("sd", [1.5, 3, 5])
def test_width_of_an_edge_is_that_of_its_blur_within_5_percent(sd: float) -> None:
    image = volume(edge(sd), voxel_size=(0.2, 0.05, 0.05), unit="um")
    line = Line(start=(1, 30, 4), stop=(1, 30, 56))

    measured = measure_profile(image, line, width=9)

    fit = fitted(measured)
    assert fit.width == pytest.approx(WIDTH_IN_SD * sd, rel=0.05)
    assert fit.steepest == pytest.approx(200 / (sd * math.sqrt(2 * math.pi)), rel=0.05)
    physical = measured.to_dict()["physical"]
    assert physical["unit"] == "micrometer"
    assert physical["width"] == pytest.approx(WIDTH_IN_SD * sd * 0.05, rel=0.05)


def test_width_does_not_depend_on_the_direction_of_the_interface() -> None:
    image = volume(edge(3, normal=(3, 4)))
    line = Line(start=(1, 15, 10), stop=(1, 45, 50))

    measured = measure_profile(image, line, width=5)

    assert fitted(measured).width == pytest.approx(WIDTH_IN_SD * 3, rel=0.05)
    assert measured.to_dict()["physical"] is None


def test_flat_voxels_are_as_long_as_the_line_cuts_them() -> None:
    size = (0.3, 0.4, 1.0)
    image = as_volume(np.zeros((9, 9, 9)), voxel_size=size, unit="um")

    along = [
        measure_profile(image, Line(start=(0, 0, 2), stop=stop)).length_of_voxel
        for stop in ((8, 0, 2), (0, 8, 2), (8, 8, 2))
    ]

    assert along == pytest.approx([0.3, 0.4, 0.5 / math.sqrt(2)])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_line_may_lie_in_a_slice_across_any_axis(axis: int) -> None:
    image = volume(edge(2), axis=axis)
    start, stop = [28.0, 4.0], [32.0, 56.0]
    for end in (start, stop):
        end.insert(axis, 1.2)

    measured = measure_profile(image, Line(start=tuple(start), stop=tuple(stop)))  # type: ignore[arg-type]

    assert measured.line.axis == "zyx"[axis]
    assert fitted(measured).width == pytest.approx(WIDTH_IN_SD * 2, rel=0.05)


def test_line_without_an_interface_is_shown_with_the_reason() -> None:
    measured = measure_profile(volume(edge(2)), Line(start=(0, 5, 5), stop=(0, 5, 40)))

    assert measured.fit is None
    assert "no single slope is found" in measured.reason
    assert measured.rows()[0] == {"distance_voxel": 0, "value": 7, "fitted": None}


def test_impossible_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="crosses slices"):
        Line(start=(0, 0, 0), stop=(5, 5, 5))
    with pytest.raises(ValueError, match="starts and ends"):
        parse_line("1,2,3:2,3")
    with pytest.raises(ValueError, match=r"such as 10,20,5:24,40; got '1,2'"):
        parse_line("1,2")
    with pytest.raises(ValueError, match="slice z=9 does not exist: array has"):
        measure_profile(volume(edge(2)), Line(start=(9, 0, 0), stop=(9, 0, 9)))
