"""Transport through the phases of labels: events while it is solved for."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from napari_lrcs.comparison.evaluate import read_inside, slices_at_once
from napari_lrcs.comparison.measures import Measuring
from napari_lrcs.config import Axis
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import UNPAINTED, Phase
from napari_lrcs.preprocessing.slices import AXES

if TYPE_CHECKING:  # SciPy takes its time
    from napari_lrcs.metrics.transport import PhaseTransport


def transport_axes(shape: Sequence[int]) -> list[Axis]:
    """List the axes along which `measure_transport` solves: a slice has no depth."""
    return [axis for axis, n in zip(AXES, shape, strict=True) if n > 1]


def check_labels(labels: Volume, *, mask: Volume | None = None) -> None:
    """Refuse labels whose transport cannot be measured, before all else is.

    Parameters
    ----------
    labels : Volume
        Read slab by slab.
    mask : Volume of bool, optional
        As of `measure_transport`.

    Raises
    ------
    LrcsError
        If TauFactor is not installed.
    ValueError
        If voxels are unpainted, or there are too few along an axis.
    """
    from napari_lrcs.metrics.transport import check_painted, check_transport

    check_transport(labels.shape, axes=transport_axes(labels.shape))
    n_slices, depth = labels.shape[0], slices_at_once(labels)
    slabs = (
        read_inside(labels, mask, start, min(start + depth, n_slices))
        for start in range(0, n_slices, depth)
    )
    check_painted(sum(int((slab == UNPAINTED).sum()) for slab in slabs))


def measure_transport(
    labels: Volume, *, phase: Phase, mask: Volume | None = None
) -> "Iterator[Measuring | PhaseTransport]":
    """Solve for diffusion through a phase along z, y and x.

    Parameters
    ----------
    labels : Volume
        Read into memory; the work takes about 40 bytes more a voxel.
    phase : Phase
        The one that conducts.
    mask : Volume of bool, optional
        Voxels outside count as unpainted, which are refused.

    Yields
    ------
    Measuring or PhaseTransport
        The latter after each direction, with those before it.

    Raises
    ------
    LrcsError
        If TauFactor is not installed.
    ValueError
        If voxels are unpainted, or there are too few along an axis.
    """
    from napari_lrcs.comparison.particles import read_whole
    from napari_lrcs.metrics.transport import (
        PhaseTransport,
        Transport,
        solve_transport,
    )

    axes = transport_axes(labels.shape)
    yield Measuring(share=0, text=f"Diffusion through {phase.name}")
    found: list[Transport] = []
    for event in solve_transport(
        read_whole(labels, mask=mask),
        phase=phase.label,
        axes=axes,
        voxel_size=labels.voxel_size,
    ):
        if isinstance(event, Transport):
            found.append(event)
            yield PhaseTransport(phase=phase, directions=tuple(found))
            continue
        share = (len(found) + event.share) / len(axes)
        steps = f"{phase.name} along {event.axis}, step {event.n_steps}"
        yield Measuring(share=share, text=steps)
