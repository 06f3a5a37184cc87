"""How much longer the way through a phase is than straight on, through TauFactor."""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.config import Axis
from napari_lrcs.errors import LrcsError
from napari_lrcs.phases import UNPAINTED, Phase

_MOST_STEPS = 10_000
_SETTLED = 1e-2
"""TauFactor's defaults: steps after which it gives up, and how far the fluxes through
the slices may differ in the end."""

_PAUSE_SECONDS = 0.2
"""Time between two reports of progress."""

_FEWEST_SLICES = 3
"""The relaxation factor 2 - π / 1.5 n of TauFactor is below 1 for fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """Steady diffusion through one phase along one axis.

    Parameters
    ----------
    tortuosity : float
        Tortuosity factor τ = ε / D, 1 for straight channels, infinite for a phase that
        does not percolate, NaN where the solver did not settle.
    effective_diffusivity : float
        D: diffusivity of the whole relative to that of the phase, 0 to 1; 0 for a
        phase that does not percolate, NaN where the solver did not settle.
    """

    axis: Axis
    tortuosity: float
    effective_diffusivity: float

    @property
    def percolates(self) -> bool:
        """Whether the phase connects both ends."""
        return not math.isinf(self.tortuosity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solving:
    """How far the solver is along one axis; yielded several times a second."""

    axis: Axis
    n_steps: int
    share: float
    """Share of the orders of magnitude by which fluxes have to settle, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTransport:
    """Steady diffusion through one phase along several axes."""

    phase: Phase
    directions: tuple[Transport, ...]

    def to_dict(self) -> dict[str, object]:
        """Gather what ``measure --tortuosity PHASE --json`` adds, unrounded."""
        return {
            "phase": self.phase.label,
            "name": self.phase.name,
            "directions": [
                {
                    "axis": d.axis,
                    "percolates": d.percolates,
                    "tortuosity": d.tortuosity,
                    "effective_diffusivity": d.effective_diffusivity,
                }
                for d in self.directions
            ],
        }


def tortuosity(
    labels: Labels,
    *,
    phase: int,
    axes: Sequence[Axis] = ("z", "y", "x"),
    voxel_size: tuple[float, float, float] | None = None,
) -> Iterator[Transport]:
    """Solve for diffusion through a phase along each axis; see `solve_transport`."""
    events = solve_transport(labels, phase=phase, axes=axes, voxel_size=voxel_size)
    return (event for event in events if isinstance(event, Transport))


def solve_transport(
    labels: Labels,
    *,
    phase: int,
    axes: Sequence[Axis] = ("z", "y", "x"),
    voxel_size: tuple[float, float, float] | None = None,
) -> Iterator[Solving | Transport]:
    """Solve for diffusion through a phase along each axis.

    Between two ends at fixed concentrations, with all other sides closed. Voxels
    conduct through their faces. Needs the extra ``transport``.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Fully labelled.
    phase : int
        Label of the phase that conducts.
    axes : sequence of {"z", "y", "x"}
        Directions, each at least 3 voxels long.
    voxel_size : tuple of float, optional
        Along z, y and x; all 1 by default.

    Yields
    ------
    Solving or Transport
        The latter for each of `axes`, which takes from seconds to many minutes.

    Raises
    ------
    LrcsError
        If TauFactor is not installed.
    ValueError
        If voxels are unpainted, or there are too few along an axis.

    References
    ----------
    Kench, Squires and Cooper, TauFactor 2: a GPU accelerated python tool for
    microstructural analysis, J. Open Source Softw. 8 (2023) 5358,
    doi 10.21105/joss.05358; its defaults for what counts as settled.
    """
    solver = _load_solver()
    _check(labels, axes)
    inside = labels == phase
    fraction = float(inside.mean())
    components, _ = ndimage.label(inside)
    for axis in axes:
        along = "zyx".index(axis)
        facing = np.moveaxis(components, along, 0)
        through = np.setdiff1d(np.intersect1d(facing[0], facing[-1]), UNPAINTED)
        if not through.size:
            yield Transport(axis=axis, tortuosity=math.inf, effective_diffusivity=0.0)
            continue
        sizes = [float(size) for size in voxel_size or (1, 1, 1)]
        sizes.insert(0, sizes.pop(along))
        # Parts that lead nowhere conduct nothing, but would take their time to settle.
        paths = np.isin(facing, through)
        diffusivity = yield from _solve(solver, paths, spacing=sizes, axis=axis)
        yield Transport(
            axis=axis,
            tortuosity=fraction / diffusivity,
            effective_diffusivity=diffusivity,
        )


def check_transport(shape: Sequence[int], *, axes: Sequence[Axis]) -> None:
    """Refuse a volume in which diffusion cannot be solved for, before it is computed.

    Parameters
    ----------
    shape : sequence of three ints
        z, y, x.
    axes : sequence of {"z", "y", "x"}
        As of `solve_transport`.

    Raises
    ------
    LrcsError
        If TauFactor is not installed.
    ValueError
        If there are too few voxels along an axis.
    """
    _load_solver()
    _check_length(shape, axes)


def check_painted(n_unpainted: int) -> None:
    """Refuse labels with so many unpainted voxels, unless there are none.

    Raises
    ------
    ValueError
        Says how many there are, and what to do.
    """
    if n_unpainted:
        raise ValueError(
            f"{n_unpainted} voxels are 0 (unpainted or outside the mask); tortuosity "
            "needs a full box: cut one out of the labels"
        )


def _load_solver() -> Any:
    """Import TauFactor, which loads torch, only when it is needed."""
    try:
        from taufactor import AnisotropicSolver
    except ModuleNotFoundError as error:
        raise LrcsError(
            f"tortuosity needs TauFactor ({error}); install it: "
            'pip install "napari-lrcs[transport]"'
        ) from error
    return AnisotropicSolver


def _check_length(shape: Sequence[int], axes: Sequence[Axis]) -> None:
    short = [a for a in axes if shape["zyx".index(a)] < _FEWEST_SLICES]
    if short:
        raise ValueError(
            f"tortuosity along {short[0]} needs at least {_FEWEST_SLICES} voxels along "
            f"it; the labels are {tuple(shape)} (z, y, x)"
        )


def _check(labels: Labels, axes: Sequence[Axis]) -> None:
    if labels.ndim != 3:
        raise ValueError(
            f"tortuosity needs a volume (z, y, x), got labels of shape {labels.shape}"
        )
    _check_length(labels.shape, axes)
    check_painted(int((labels == UNPAINTED).sum()))


def _solve(
    solver: Any, paths: Mask, *, spacing: Sequence[float], axis: Axis
) -> Generator[Solving, None, float]:
    """Return the relative diffusivity along the first axis; NaN if none was reached."""
    simulation = solver(paths.astype(np.uint8), tuple(spacing), device="cpu")
    links = simulation.field.new_tensor(paths[1:] & paths[:-1])

    # TauFactor 1.2.1's own takes the voxels whose weighted neighbours sum to more than
    # 8 for closed, which is right for cubes alone: flat ones would conduct too little.
    def flux() -> Any:
        field = simulation.field[:, 1:-1, 1:-1, 1:-1]
        return (field[:, 1:] - field[:, :-1]) * links

    simulation.vertical_flux = flux
    # Its one message that no option silences; NaN says the same.
    simulation._end_simulation = lambda *_: None
    reported = time.monotonic()
    while not simulation.converged and simulation.iter < _MOST_STEPS:
        simulation.solve(iter_limit=simulation.iter + 1, verbose=False)
        if time.monotonic() - reported > _PAUSE_SECONDS:
            reported = time.monotonic()
            share = _share_settled(simulation)
            yield Solving(axis=axis, n_steps=simulation.iter, share=share)
    return float(simulation.D_eff[0]) if simulation.converged else math.nan


def _share_settled(simulation: Any) -> float:
    if not hasattr(simulation, "flux_1d"):  # it looks every hundred steps
        return 0.0
    (flux,) = simulation.flux_1d
    differ = float((flux.max() - flux.min()) / flux.max())
    return min(max(math.log(max(differ, _SETTLED)) / math.log(_SETTLED), 0.0), 1.0)
