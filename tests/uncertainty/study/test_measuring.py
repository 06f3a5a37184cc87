import math
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_lrcs.config import AlsoMeasureConfig
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import result_of
from napari_lrcs.uncertainty.study.measuring import (
    measure,
    score,
    with_checked_measures,
)
from napari_lrcs.uncertainty.study.results import Results, read_results
from napari_lrcs.uncertainty.study.task import StudyTask

PHASES = PhaseTable.named("pore", "solid")
# Halves across z, with voxels of 0.5 µm: one cut through a depth of 4 µm.
HALVES = np.repeat(np.array([1, 2], np.uint8), 4)[:, None, None] * np.ones(
    (8, 6, 6), np.uint8
)
LABELS = as_labels(
    as_volume(HALVES, name="labels", voxel_size=(0.5,) * 3, unit="micrometer")
)
TASK = StudyTask(
    image=as_volume(HALVES.astype(np.float32)),
    labels=LABELS,
    train=(1,),
    test=(6,),
    phases=PHASES,
)


def asked(**changes: Any) -> StudyTask:
    return replace(TASK, also_measure=AlsoMeasureConfig(**changes))


def results_of(task: StudyTask) -> Results:
    events: Generator[object, None, Results] = measure(
        LABELS, task, score(LABELS, task, PHASES)
    )
    return result_of(events)


def test_only_what_is_requested_is_measured() -> None:
    found = results_of(TASK)

    assert found.accuracy == 1
    assert found.iou[1] == 1  # the test slice is solid
    assert found.measures is not None
    assert (found.surface_areas, found.tortuosity) == ((), ())
    assert {*found.results_dict()} == {"accuracy", "iou", "measures"}


def test_surface_area_has_the_unit_of_the_volume() -> None:
    found = results_of(asked(surface_area=True))

    assert found.surface_areas == pytest.approx((1 / 4, 1 / 4), rel=1e-3)
    assert found.length_unit == "micrometer"


def test_tortuosity_is_missing_where_there_is_no_way_through() -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")

    task = with_checked_measures(asked(tortuosity=("1", "pore")), PHASES)
    found = results_of(task)

    assert task.also_measure.tortuosity == ("pore",)
    values = {one.axis: one.value for one in found.tortuosity}
    assert math.isnan(values["z"])
    assert [values["y"], values["x"]] == pytest.approx([1, 1], rel=1e-3)
    saved: Any = found.results_dict()
    assert saved["tortuosity"][0] == {"label": 1, "axis": "z", "value": None}
    again = Results(**read_results(saved, n_phases=2, name="ensemble"))
    assert repr(again) == repr(found)  # NaN equals nothing, but reads the same


def test_tortuosity_that_cannot_be_computed_is_refused_beforehand() -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")
    pore = asked(tortuosity=("pore",))
    masked = replace(pore, mask=as_volume(np.ones(HALVES.shape, bool)))
    flat = replace(pore, image=as_volume(np.zeros((2, 6, 6))))

    for task, says in (
        (asked(tortuosity=("binder",)), r"no phase binder; the labels have 1 \(pore\)"),
        (masked, "leave out the mask or the tortuosity"),
        (flat, "along z needs at least 3 voxels"),
    ):
        with pytest.raises(ValueError, match=says):
            with_checked_measures(task, PHASES)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"surface_areas": [0.5]}, "1 surface areas of 2 phases"),
        (
            {"tortuosity": [{"label": 3, "axis": "z", "value": 1.0}]},
            "unknown phases",
        ),
    ],
)
def test_results_of_other_phases_are_refused(change: Any, says: str) -> None:
    saved: Any = results_of(TASK).results_dict() | change

    with pytest.raises(ValueError, match=says):
        read_results(saved, n_phases=2, name="ensemble")
