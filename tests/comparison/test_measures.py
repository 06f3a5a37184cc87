import csv
import json
import math
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import psutil
import pytest
from matplotlib.image import imread
from skimage.segmentation import watershed

from clusters import Cluster
from napari_lrcs.comparison import measures
from napari_lrcs.comparison.evaluate import measure_volume, phases_in
from napari_lrcs.comparison.figures import write_measures_figure
from napari_lrcs.comparison.measure_tables import (
    as_text_table,
    measures_rows,
    write_measures_csv,
    write_measures_json,
)
from napari_lrcs.comparison.measures import (
    Extras,
    Measures,
    Measuring,
    check_memory_for_particles,
    measure_labels,
)
from napari_lrcs.comparison.transport import measure_transport
from napari_lrcs.distributed import connect
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.opening import open_to_share
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.metrics import structure
from napari_lrcs.metrics.composition import measure_dict
from napari_lrcs.metrics.transport import PhaseTransport, Transport
from napari_lrcs.phases import Phase, PhaseTable
from napari_lrcs.preprocessing.mask import open_mask

PHASE = Phase(label=1, name="first", colour="#000000")


def layers(name: str = "result") -> Volume:
    """Make half a volume of phase 1, then phase 2; voxels of half a micrometre."""
    labels = np.ones((6, 8, 10), np.uint8)
    labels[3:] = 2
    size = (0.5, 0.5, 0.5)
    return as_labels(as_volume(labels, name=name, voxel_size=size, unit="um"))


def measure(labels: Volume) -> Measures:
    phases = phases_in(labels)
    *_, last = measure_labels(
        labels, phases=phases, extras=Extras(surface_area=True, particles=phases)
    )
    assert isinstance(last, Measures)
    return last


def test_fractions_come_first_and_each_event_has_all_before_it() -> None:
    labels = layers()
    phases = phases_in(labels)

    extras = Extras(surface_area=True, particles=phases[1:])

    events = list(measure_labels(labels, phases=phases, extras=extras))

    shares = [event.share for event in events if isinstance(event, Measuring)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1
    first, second, third = (e for e in events if isinstance(e, Measures))
    counted = measure_volume(labels, phases=phases)
    assert first.to_dict() == measure_dict(counted, phases)
    assert second.surface_area is not None
    assert second.surface_area.tolist() == pytest.approx([1 / 3, 1 / 3])  # per µm
    assert second.to_dict()["surface_areas"][0]["unit"] == "micrometer"
    assert third.to_dict()["particles"][0]["volume"]["max"] == 240 / 8


def test_workers_measure_the_same_though_one_is_killed(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "_VOXELS_AT_ONCE", 1)  # surfaces by 8 slices
    rng = np.random.default_rng(0)
    np.save(tmp_path / "labels.npy", rng.integers(0, 4, (70, 9, 11), np.uint8))
    np.save(tmp_path / "mask.npy", rng.random((70, 9, 11)) < 0.8)
    labels = as_labels(open_to_share(tmp_path / "labels.npy"))
    options: dict[str, Any] = {
        "phases": phases_in(labels),
        "mask": open_mask(tmp_path / "mask.npy", shape=labels.shape),
        "extras": Extras(surface_area=True),
    }

    with connect(cluster.address) as executor:
        others = Elsewhere(executor=executor, n_workers=2)
        events = measure_labels(labels, **options, others=others)
        with closing(events):
            assert any(isinstance(e, Measuring) and e.share > 0 for e in events)
            cluster.workers[0].kill()
            *_, there = events

    *_, here = measure_labels(labels, **options)
    assert isinstance(here, Measures)
    assert isinstance(there, Measures)
    assert there.to_dict() == here.to_dict()


def test_separation_of_particles_stops_within_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_flooding, goes_on = Event(), Event()

    def flood(*args: Any, **options: Any) -> Any:
        is_flooding.set()
        assert goes_on.wait(60)
        return watershed(*args, **options)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(structure, "watershed", flood)
    labels, particles = layers(), Extras(particles=[PHASE])
    events = measure_labels(labels, phases=phases_in(labels), extras=particles)

    last = next(event for event in events if is_flooding.is_set())
    begun = time.monotonic()
    assert isinstance(events, Generator)
    events.close()
    seconds = time.monotonic() - begun
    goes_on.set()

    assert isinstance(last, Measuring)
    assert last.text == "Separating particles of first"
    assert seconds < 1


def test_memory_for_particles_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Little:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Little)

    with pytest.raises(ValueError, match=r"left out: they need about 0 GB .* 0 GB are"):
        check_memory_for_particles(layers())


def test_transport_comes_direction_by_direction() -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")
    labels = layers()
    phase = phases_in(labels)[0]

    events = list(measure_transport(labels, phase=phase))

    found = [event for event in events if isinstance(event, PhaseTransport)]
    assert [[d.axis for d in event.directions] for event in found] == [
        ["z"],
        ["z", "y"],
        ["z", "y", "x"],
    ]
    assert math.isinf(found[-1].directions[0].tortuosity)
    assert found[-1].directions[1].tortuosity == pytest.approx(1, abs=1e-4)


def test_volumes_stand_side_by_side_matched_by_their_phases(tmp_path: Path) -> None:
    one, other = measure(layers()), measure(layers("unit"))
    through = Transport(axis="z", tortuosity=2.0, effective_diffusivity=0.25)
    one = one.with_transport(PhaseTransport(phase=one.phases[0], directions=(through,)))

    rows = measures_rows([one, other])
    write_measures_csv(tmp_path / "m.csv", [one, other])
    write_measures_json(tmp_path / "one.json", [one])
    write_measures_json(tmp_path / "both.json", [one, other])
    write_measures_figure(tmp_path / "m.png", [one, other])

    assert rows[0] == {
        "quantity": "volume_fraction",
        "phase": "phase 1",
        "unit": "",
        "result": 0.5,
        "unit (labels)": 0.5,  # a layer may be called like a column
    }
    tortuosity = next(row for row in rows if row["quantity"] == "tortuosity_z")
    assert tortuosity["result"] == 2
    assert math.isnan(float(tortuosity["unit (labels)"] or 0))
    with (tmp_path / "m.csv").open(encoding="utf-8") as file:
        assert [row["quantity"] for row in csv.DictReader(file)] == [
            row["quantity"] for row in rows
        ]
    assert as_text_table([one]).splitlines()[1] == "volume_fraction\tphase 1\t\t0.5"
    alone = json.loads((tmp_path / "one.json").read_text())
    assert alone == one.to_dict()
    both = json.loads((tmp_path / "both.json").read_text())
    assert both == {"result": alone, "unit": other.to_dict()}
    assert imread(tmp_path / "m.png").std() > 0


def test_phases_without_names_are_those_of_the_same_numbers_elsewhere() -> None:
    plain, named = measure(layers("plain")), measure(layers("named"))
    named = replace(named, phases=tuple(PhaseTable.named("pore", "solid")))

    rows = measures_rows([plain, named])

    assert len(rows) == len(measures_rows([named]))
    assert {row["phase"] for row in rows} == {"pore", "solid", "pore – solid"}
    assert all(row["plain"] == row["named"] for row in rows)
    # Two that are named otherwise are not the same phases.
    other = replace(named, phases=tuple(PhaseTable.named("YSZ", "nickel")))
    assert len(measures_rows([named, other])) == 2 * len(rows)


def test_an_interface_is_one_row_whatever_the_order_of_its_phases() -> None:
    one, other = measure(layers("one")), measure(layers("other"))
    one = replace(one, phases=tuple(PhaseTable.named("pore", "solid")))
    other = replace(other, phases=tuple(PhaseTable.named("solid", "pore")))

    rows = measures_rows([one, other])

    (interface,) = (row for row in rows if row["quantity"] == "interface_fraction")
    assert interface["phase"] == "pore – solid"
    assert interface["one"] == interface["other"]
    assert len(rows) == len(measures_rows([one]))


def test_transport_through_a_phase_replaces_the_former() -> None:
    measures = measure(layers())
    solid = Phase(label=2, name="solid", colour="#ffffff")

    def through(phase: Phase, tortuosity: float) -> PhaseTransport:
        found = Transport(axis="z", tortuosity=tortuosity, effective_diffusivity=0.1)
        return PhaseTransport(phase=phase, directions=(found,))

    for phase, value in ((solid, 3.0), (measures.phases[0], 2.0), (solid, 4.0)):
        measures = measures.with_transport(through(phase, value))

    assert [t.directions[0].tortuosity for t in measures.transport] == [2, 4]
