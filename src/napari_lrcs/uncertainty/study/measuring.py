"""Score and measure one segmentation of a study: a member's, or the ensemble."""

import math
from collections.abc import Generator
from dataclasses import replace

import numpy as np

from napari_lrcs.arrays import Confusion
from napari_lrcs.comparison.evaluate import read_pair
from napari_lrcs.comparison.measures import (
    Extras,
    Measures,
    Measuring,
    measure_labels,
)
from napari_lrcs.comparison.transport import measure_transport, transport_axes
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.composition import measure_dict
from napari_lrcs.metrics.overlap import accuracy, confusion_matrix, iou_per_phase
from napari_lrcs.metrics.transport import PhaseTransport, check_transport
from napari_lrcs.phases import Phase, PhaseTable, phase_called
from napari_lrcs.uncertainty.study.results import Results, Tortuosity
from napari_lrcs.uncertainty.study.task import StudyTask


def with_checked_measures(task: StudyTask, phases: PhaseTable) -> StudyTask:
    """Name the phases whose tortuosity is requested, before anything is computed.

    Raises
    ------
    LrcsError
        If TauFactor, which tortuosity needs, is not installed.
    ValueError
        If there is no such phase, or its tortuosity could not be computed.
    """
    wanted = task.also_measure.tortuosity
    if not wanted:
        return task
    found = {phase_called(text, phases).label for text in wanted}
    if task.mask is not None:
        raise ValueError(
            "tortuosity needs a full box, but voxels outside the mask have no phase; "
            "leave out the mask or the tortuosity"
        )
    shape = task.image.shape
    check_transport(shape, axes=transport_axes(shape))
    names = tuple(phase.name for phase in phases if phase.label in found)
    return replace(task, also_measure=task.also_measure.with_changes(tortuosity=names))


def score(segmentation: Volume, task: StudyTask, phases: PhaseTable) -> Confusion:
    """Return the confusion matrix of the test slices."""
    total = np.zeros((len(phases),) * 2, np.int64)
    for i in task.test:
        painted, answer = read_pair(
            segmentation,
            task.labels,
            i,
            i + 1,
            mask=task.mask,
            axis=task.config.preprocessing.axis,
        )
        total += confusion_matrix(painted, answer, n_phases=len(phases))
    return total


def measure(
    segmentation: Volume, task: StudyTask, confusion: Confusion
) -> Generator[Measuring, None, Results]:
    """Measure the whole segmentation, which is 0 outside the mask.

    Parameters
    ----------
    segmentation : Volume of uint8
    task : StudyTask
        With its phases.
    confusion : ndarray of int64, shape (n_phases, n_phases)
        Of the test slices, from `score`.

    Yields
    ------
    Measuring
        Share of the work that is done, several times a second.

    Returns
    -------
    Results

    Raises
    ------
    ValueError
        If nothing is labelled.
    """
    assert task.phases is not None
    through = [phase_called(name, task.phases) for name in task.also_measure.tortuosity]
    parts = 1 + len(through)
    measures: Measures | None = None
    for event in measure_labels(
        segmentation,
        phases=task.phases.phases,
        extras=Extras(surface_area=task.also_measure.surface_area),
    ):
        match event:
            case Measures():
                measures = event
            case Measuring():
                yield replace(event, share=event.share / parts)
    assert measures is not None
    tortuosity: list[Tortuosity] = []
    for i, phase in enumerate(through, 1):
        tortuosity += yield from _solve(segmentation, phase, i / parts, 1 / parts)
    areas = measures.surface_area
    return Results(
        accuracy=accuracy(confusion),
        iou=tuple(iou_per_phase(confusion).tolist()),
        measures=measure_dict(measures.composition, task.phases),
        surface_areas=() if areas is None else tuple(areas.tolist()),
        length_unit=None if areas is None else measures.unit,
        tortuosity=tuple(tortuosity),
    )


def _solve(
    segmentation: Volume, phase: Phase, start: float, part: float
) -> Generator[Measuring, None, list[Tortuosity]]:
    found: list[Tortuosity] = []
    for event in measure_transport(segmentation, phase=phase):
        match event:
            case Measuring():
                yield replace(event, share=start + part * event.share)
            case PhaseTransport():
                found = [
                    Tortuosity(
                        label=phase.label,
                        axis=d.axis,
                        value=d.tortuosity if d.percolates else math.nan,
                    )
                    for d in event.directions
                ]
    return found
