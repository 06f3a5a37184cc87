"""Everything that is measured of one volume of labels: events while it is measured."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.comparison.adding import add_slabs
from napari_lrcs.comparison.evaluate import (
    count_slabs,
    nothing_labelled,
    read_inside,
    slices_at_once,
)
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.composition import (
    Composition,
    MeasuresDict,
    Neighbourhood,
    measure_dict,
)
from napari_lrcs.phases import Phase
from napari_lrcs.progress import changed

if TYPE_CHECKING:  # SciPy and scikit-image take their time, and serve few measures
    from napari_lrcs.metrics.structure import Particles, ParticlesDict
    from napari_lrcs.metrics.surface import SurfaceArea
    from napari_lrcs.metrics.transport import PhaseTransport

_PARTICLE_BYTES = 80
"""Memory per voxel that `separate_particles` takes."""

_VOXELS_AT_ONCE, _FEWEST_SLICES = 2**23, 8
"""Voxels of a slab whose surface is measured, unless these few slices have more."""

_SURFACE, _PARTICLES = 3, 12
"""Rough duration of these measures, in that of counting the voxels."""


class AreaDict(TypedDict):
    """The surface area of one phase as it stands in JSON."""

    phase: int
    name: str
    per_volume: float
    unit: str | None


class AllMeasuresDict(MeasuresDict, total=False):
    """What ``measure --json`` prints with what is requested besides fractions."""

    surface_areas: list[AreaDict]
    particles: "list[ParticlesDict]"
    tortuosity: list[dict[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """More of the work is done."""

    share: float
    """Share of the work, 0 to 1."""
    text: str
    """What is being measured."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Separated:
    """The particles of a phase are separated."""

    phase: Phase
    particles: "Particles"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhaseParticles:
    """Sizes of the particles of one phase.

    Parameters
    ----------
    summary : ParticlesDict
        As ``measure --particles PHASE --json`` prints them.
    diameters : ndarray of float64, shape (n_particles,)
        Equivalent diameters, in the unit of the summary.
    """

    summary: "ParticlesDict"
    diameters: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measures:
    """What is measured of one volume of labels so far.

    Parameters
    ----------
    name : str
        Name of the labels.
    phases : tuple of Phase
        In the order of the counts.
    composition : Composition
    unit : str or None
        Unit of length: "voxel" where the voxel size is unknown, None where its unit is.
    surface_area : ndarray of float64, shape (n_phases,), optional
        Surface area of each phase per volume.
    particles : tuple of PhaseParticles
    transport : tuple of PhaseTransport
    """

    name: str
    phases: tuple[Phase, ...]
    composition: Composition
    unit: str | None
    surface_area: NDArray[np.float64] | None = None
    particles: tuple[PhaseParticles, ...] = ()
    transport: "tuple[PhaseTransport, ...]" = ()

    def with_transport(self, found: "PhaseTransport") -> "Measures":
        """Add transport through a phase, in place of what was found before."""
        others = (t for t in self.transport if t.phase != found.phase)
        both = sorted((*others, found), key=lambda t: t.phase.label)
        return replace(self, transport=tuple(both))

    def to_dict(self) -> AllMeasuresDict:
        """Gather what ``measure --json`` prints, unrounded."""
        shares = measure_dict(self.composition, self.phases)
        found = AllMeasuresDict(
            phases=shares["phases"],
            interfaces=shares["interfaces"],
            neighbourhood=shares["neighbourhood"],
        )
        if self.surface_area is not None:
            found["surface_areas"] = [
                AreaDict(
                    phase=phase.label,
                    name=phase.name,
                    per_volume=float(area),
                    unit=self.unit,
                )
                for phase, area in zip(self.phases, self.surface_area, strict=True)
            ]
        if self.particles:
            found["particles"] = [part.summary for part in self.particles]
        if self.transport:
            found["tortuosity"] = [through.to_dict() for through in self.transport]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What is measured besides fractions.

    Parameters
    ----------
    surface_area : bool
        Whether to measure the area of surfaces.
    particles : sequence of Phase
        Phases whose particles are separated, with all labels in memory.
    """

    surface_area: bool = False
    particles: Sequence[Phase] = ()


_NO_EXTRAS = Extras()

MeasureEvent: TypeAlias = Measuring | Separated | Measures

Result = TypeVar("Result")


def measure_labels(
    labels: Volume,
    *,
    phases: Sequence[Phase],
    mask: Volume | None = None,
    neighbourhood: Neighbourhood = 26,
    extras: Extras = _NO_EXTRAS,
    others: Elsewhere | None = None,
) -> Generator[MeasureEvent]:
    """Measure fractions, then, if requested, surface areas and particles.

    Parameters
    ----------
    labels : Volume
        A single slice is measured in 2D.
    phases : sequence of Phase
        As from `phases_in`, in the order of the counts.
    mask : Volume of bool, optional
        Voxels outside count as unpainted.
    neighbourhood : {26, 18, 6, 8, 4}
        Which voxels are neighbours, for surface and interface fractions.
    extras : Extras
        What else is measured.
    others : Elsewhere, optional
        Other processes that count voxels and measure surfaces; the results are the
        same. The labels, and the file of the mask, come from `open_to_share` then.

    Yields
    ------
    MeasureEvent
        `Measures` after each kind of measure, with all that is known by then.

    Raises
    ------
    ValueError
        If nothing is labelled, or as `add_slabs` does.
    LrcsError, OSError
        As `add_slabs` does.
    """
    work = 1 + _SURFACE * extras.surface_area + _PARTICLES * len(extras.particles)
    done = 1.0
    counting = _count(labels, phases, mask, neighbourhood, others)
    composition = yield from _within(counting, 0, done / work)
    measures = Measures(
        name=labels.name,
        phases=tuple(phases),
        composition=composition,
        unit=labels.unit if labels.voxel_size is not None else "voxel",
    )
    yield measures
    if extras.surface_area:
        measuring = _measure_surface(labels, phases, mask, others)
        done += _SURFACE
        area = yield from _within(measuring, 1 / work, done / work)
        measures = replace(measures, surface_area=area)
        yield measures
    for phase in extras.particles:
        start, done = done / work, done + _PARTICLES
        separating = _separate(labels, phase, mask)
        found = yield from _within(separating, start, done / work)
        yield Separated(phase=phase, particles=found)
        measures = _with_particles(measures, phase, found)
        yield measures


def _within(
    events: Generator[Measuring, None, Result], start: float, stop: float
) -> Generator[Measuring, None, Result]:
    """Report the progress of a part of the work as that of the whole."""
    return changed(
        events, lambda event: replace(event, share=start + (stop - start) * event.share)
    )


def _count(
    labels: Volume,
    phases: Sequence[Phase],
    mask: Volume | None,
    neighbourhood: Neighbourhood,
    others: Elsewhere | None,
) -> Generator[Measuring, None, Composition]:
    depth = max(1, slices_at_once(labels) // 4)  # for several events a second
    count = partial(
        count_slabs, phases=tuple(phases), neighbourhood=neighbourhood, depth=depth
    )
    adding = add_slabs(
        count, labels, mask, n_slices=labels.shape[0], depth=depth, others=others
    )
    composition = yield from changed(adding, _measuring("Counting voxels"))
    if not composition.n_voxels.any():
        raise nothing_labelled(labels)
    return composition


def _measure_surface(
    labels: Volume,
    phases: Sequence[Phase],
    mask: Volume | None,
    others: Elsewhere | None,
) -> Generator[Measuring, None, NDArray[np.float64]]:
    n_slices, n_rows, n_columns = labels.shape
    depth = min(max(_FEWEST_SLICES, _VOXELS_AT_ONCE // (n_rows * n_columns)), n_slices)
    measure = partial(_surface_slabs, phases=tuple(phases), depth=depth)
    adding = add_slabs(
        measure, labels, mask, n_slices=n_slices, depth=depth, others=others
    )
    total = yield from changed(adding, _measuring("Measuring surfaces"))
    return total.per_volume


def _surface_slabs(
    labels: Volume,
    *,
    mask: Volume | None,
    run: range,
    phases: Sequence[Phase],
    depth: int,
) -> "Iterator[SurfaceArea]":
    from napari_lrcs.metrics.surface import surface_area_slabs

    return surface_area_slabs(
        lambda start, stop: read_inside(labels, mask, start, stop),
        n_slices=labels.shape[0],
        phases=[phase.label for phase in phases],
        voxel_size=labels.voxel_size,
        slab=depth,
        run=run,
    )


def _measuring(text: str) -> Callable[[float], Measuring]:
    return lambda share: Measuring(share=min(share, 1.0), text=text)


def _separate(
    labels: Volume, phase: Phase, mask: Volume | None
) -> Generator[Measuring, None, "Particles"]:
    from napari_lrcs.comparison.particles import particles_of_volume

    text = f"Separating particles of {phase.name}"
    yield Measuring(share=0, text=text)
    shares = particles_of_volume(labels, phase=phase.label, mask=mask)
    while True:
        try:
            share = next(shares)
        except StopIteration as end:
            particles: Particles = end.value
            return particles
        yield Measuring(share=share, text=text)


def _with_particles(measures: Measures, phase: Phase, found: "Particles") -> Measures:
    from napari_lrcs.metrics.structure import particles_dict

    part = PhaseParticles(
        summary=particles_dict(found, phase, unit=measures.unit),
        diameters=found.equivalent_diameter,
    )
    return replace(measures, particles=(*measures.particles, part))


def check_memory_for_particles(labels: Volume) -> None:
    """Refuse labels whose particles cannot be separated in the memory that is free.

    Raises
    ------
    ValueError
        Says how much is needed and free.
    """
    import psutil

    needed = _PARTICLE_BYTES * math.prod(labels.shape)
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"particles of {labels.name} are left out: they need about "
            f"{needed / 1e9:.0f} GB of memory, and {free / 1e9:.0f} GB are free; "
            "measure a part of the volume"
        )
