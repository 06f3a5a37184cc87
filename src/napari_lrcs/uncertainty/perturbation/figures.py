"""The width of perturbed interfaces, in words and in a figure; needs no torch."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.io.units import SYMBOLS
from napari_lrcs.io.volume import VoxelSize
from napari_lrcs.uncertainty.perturbation.histogram import (
    GaussianFit,
    InterfaceHistogram,
    InterfaceWidths,
    fit_gaussian,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COUNTED, _FITTED = "#3a87c8", "#d8752a"
"""Readable on white and on black."""

_SD_PER_FWHM = 1 / (2 * np.sqrt(2 * np.log(2)))


def widths_text(
    widths: InterfaceWidths, *, voxel_size: VoxelSize | None, unit: str | None
) -> str:
    """Write how wide interfaces are: in voxels, and in the unit if voxels are cubes.

    Parameters
    ----------
    voxel_size : tuple of float, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        In OME-NGFF's spelling.

    Returns
    -------
    str
        One sentence or two.
    """
    if not widths.n_fitted:
        return (
            "No width: the phases are too thin here for a Gaussian to fit across an "
            "interface. The image layer shows where interfaces lie."
        )
    n = widths.n_fitted
    width = f"{widths.median_fwhm:.1f} px"
    symbol = SYMBOLS.get(unit or "")
    # Without an absolute tolerance: in metres, all voxels would be cubes.
    is_cube = voxel_size is not None and np.allclose(voxel_size, voxel_size[0], atol=0)
    if voxel_size is not None and symbol and is_cube:
        width += f" ({widths.median_fwhm * voxel_size[0]:.3g} {symbol})"
    return (
        f"Full width at half maximum {width}: the median of {n} "
        f"place{'s' if n > 1 else ''} on the interfaces"
    )


def draw_interface_profile(
    ax: "Axes", widths: InterfaceWidths, histogram: InterfaceHistogram
) -> None:
    """Draw how often interfaces lie where, across the painted one, and the fit.

    Parameters
    ----------
    widths : InterfaceWidths
        Its median profile is drawn, and the Gaussian that fits that.
    histogram : InterfaceHistogram
        The one that the widths were fitted to.
    """
    distance = widths.distance
    share = 100 * widths.median_profile / histogram.n_simulations
    ax.plot(distance, share, "o", ms=3, color=_COUNTED)
    fit = fit_gaussian(distance, share)
    if np.isfinite(fit.fwhm):
        fine = np.linspace(distance[0], distance[-1], 200)
        ax.plot(fine, _gaussian(fine, fit), color=_FITTED)
        ax.set_title(f"Median profile, and its Gaussian of {fit.fwhm:.1f} px")
    ax.set_xlabel("Distance from the painted interface (px)", labelpad=1)
    ax.set_ylabel("On an interface (%)")
    ax.set_ylim(0, None)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)


def _gaussian(distance: NDArray[np.float64], fit: GaussianFit) -> NDArray[np.float64]:
    sd = fit.fwhm * _SD_PER_FWHM
    values: NDArray[np.float64] = np.exp(-(((distance - fit.centre) / sd) ** 2) / 2)
    return fit.amplitude * values
