"""What the dock "Perturb labels" does in a thread."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from napari_lrcs.inference.estimate import amount, fits_memory
from napari_lrcs.phases import PhaseTable, phases_up_to
from napari_lrcs.plugin.parts.layers.layers import layer_shape
from napari_lrcs.plugin.parts.workers import Events
from napari_lrcs.plugin.perturb.setup import PerturbRequest
from napari_lrcs.uncertainty.perturbation.histogram import (
    InterfaceHistogram,
    InterfaceWidths,
    interface_histogram,
    interface_widths,
    usual_simulations,
)
from napari_lrcs.uncertainty.perturbation.packed_slices import (
    PaintedSlices,
    read_painted,
)
from napari_lrcs.uncertainty.perturbation.perturb import advice
from napari_lrcs.uncertainty.perturbation.perturbed_set import (
    PerturbTask,
    write_perturbed_set,
)
from napari_lrcs.uncertainty.perturbation.perturbed_slices import (
    PerturbedSlice,
    perturb_slice,
    perturbed_members,
)
from napari_lrcs.uncertainty.perturbation.suggestion import suggest_perturbation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Previewed:
    """A slice is perturbed."""

    request: PerturbRequest
    slice: PerturbedSlice
    array: zarr.Array[Any]
    """Array of the layer's shape; all other slices are empty."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemberMade:
    """A member is in memory."""

    number: int
    n_members: int
    changed_share: float
    array: zarr.Array[Any]
    """Array of the layer's shape; slices that are not perturbed take no memory."""
    phases: PhaseTable
    advice: tuple[str, ...]
    """Advice about the first member; empty for the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counted:
    """The interfaces are counted."""

    histogram: InterfaceHistogram
    widths: InterfaceWidths
    array: zarr.Array[Any]
    """Counts, of the layer's shape."""
    highest: int


def preview(request: PerturbRequest, index: int) -> Events:
    """Perturb a slice."""
    found = perturb_slice(
        request.labels,
        index,
        axis=request.axis,
        slices=request.slices,
        config=request.config,
        seed=request.seed,
    )
    yield Previewed(
        request=request,
        slice=found,
        array=found.in_volume(shape=layer_shape(request.layer), axis=request.axis),
    )


def suggest(request: PerturbRequest, wanted_share: float) -> Events:
    """Find a perturbation that changes a share of the voxels; yields a Suggestion."""
    painted = yield from _read(request)
    yield suggest_perturbation(
        painted.labels,
        config=request.config,
        wanted_share=wanted_share,
        seed=request.seed,
        dimensions=painted.dimensions,
    )


def members(request: PerturbRequest, n_members: int) -> Events:
    """Draw members into memory."""
    painted = yield from _read(request)
    original = painted.of(painted.labels)
    needed = n_members * original.nbytes
    if not fits_memory(needed):
        raise MemoryError(
            f"{n_members} members need {amount(needed)} of memory, which is more than "
            "half of what is free; write files, or make fewer members or slices"
        )
    phases = phases_up_to(int(original.max()), request.labels.phases)
    for member in perturbed_members(
        painted, config=request.config, n_members=n_members, seed=request.seed
    ):
        said: tuple[str, ...] = ()
        if member.number == 0:
            said = advice(original, painted.of(member.labels), phases)
        yield MemberMade(
            number=member.number,
            n_members=n_members,
            changed_share=member.changed_share,
            array=painted.in_volume(
                member.labels, shape=layer_shape(request.layer), axis=request.axis
            ),
            phases=phases,
            advice=said,
        )


def files(request: PerturbRequest, n_members: int, out: Path) -> Events:
    """Write a set as the command line does."""
    out.parent.mkdir(parents=True, exist_ok=True)
    yield from write_perturbed_set(
        PerturbTask(
            labels=request.labels,
            config=request.config,
            n_members=n_members,
            seed=request.seed,
            slices=request.slices,
            axis=request.axis,
        ),
        out=out,
    )


def histogram(request: PerturbRequest, n_simulations: int) -> Events:
    """Count interfaces; 0 simulations are as many as the paper takes."""
    painted = yield from _read(request)
    for event in interface_histogram(
        painted.labels,
        config=request.config,
        n_simulations=n_simulations or usual_simulations(painted.dimensions),
        seed=request.seed,
        dimensions=painted.dimensions,
    ):
        yield event
        if isinstance(event, InterfaceHistogram):
            yield Counted(
                histogram=event,
                widths=interface_widths(event, painted.labels),
                highest=int(event.counts.max()),
                array=painted.in_volume(
                    event.counts, shape=layer_shape(request.layer), axis=request.axis
                ),
            )


def _read(request: PerturbRequest) -> Generator[Any, None, PaintedSlices]:
    event = None
    for event in read_painted(
        request.labels, config=request.config, axis=request.axis, slices=request.slices
    ):
        yield event
    assert isinstance(event, PaintedSlices)
    return event
