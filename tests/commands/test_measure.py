import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import Run, call, printed_object
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.opening import open_volume
from napari_lrcs.phases import PhaseTable

pytestmark = pytest.mark.usefixtures("one_thread")


def test_measure_gives_volumes_surfaces_and_interfaces(run: Run) -> None:
    measures = printed_object(run("measure labels.tif --json"))

    assert set(measures) == {"phases", "interfaces", "neighbourhood"}
    assert measures["neighbourhood"] == 26
    assert measures["phases"] == [
        {
            "label": label,
            "name": f"phase {label}",
            "volume_fraction": 0.5,
            "surface_fraction": 1 / 24,
            "surface_to_volume": 1 / 12,
        }
        for label in (1, 2)
    ]
    assert measures["interfaces"] == [
        {"phases": [1, 2], "fraction": 1 / 12, "sides": [1 / 24, 1 / 24]}
    ]


def test_measure_takes_a_neighbourhood_and_a_mask(run: Run) -> None:
    measures = printed_object(
        run("measure labels.tif --neighbourhood 4 --mask cylinder --json")
    )

    assert measures["neighbourhood"] == 4
    assert measures["phases"][0]["volume_fraction"] == 0.5
    assert measures["interfaces"][0]["fraction"] > 1 / 12  # of fewer voxels


def test_measure_prints_tables(run: Run) -> None:
    printed = run("measure labels.tif")

    assert "phase 1 – phase 2" in printed
    assert "50.0%" in printed


def write_grains(place: Path) -> None:
    """Write two bars of phase 2 in phase 1, one of them at the border."""
    labels = np.ones((3, 6, 6), np.uint8)
    labels[1, 1, 1:3] = labels[:, 4:6, 4:6] = 2
    write_labels_tiff(
        place / "grains.tif",
        [labels],
        shape=labels.shape,
        voxel_size=(0.5, 0.5, 0.5),
        unit="um",
        phases=PhaseTable.named("pore", "grain"),
    )


def test_measure_separates_the_particles_of_a_phase(place: Path, run: Run) -> None:
    write_grains(place)

    measures = printed_object(
        run("measure grains.tif --particles grain --json --csv p.csv")
    )

    (particles,) = measures["particles"]
    assert (particles["phase"], particles["name"]) == (2, "grain")
    assert (particles["count"], particles["at_border"]) == (2, 1)
    assert (particles["unit"], particles["n_axes"]) == ("micrometer", 3)
    sizes = {"mean": 0.875, "median": 0.875, "min": 0.25, "max": 1.5}
    assert particles["volume"] == sizes
    with (place / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["n_voxels"] for row in rows] == ["12", "2"]
    assert (rows[1]["z"], rows[1]["y"], rows[1]["x"]) == ("1.0", "1.0", "1.5")


def test_measure_takes_several_phases_and_areas_in_real_units(
    place: Path, run: Run
) -> None:
    write_grains(place)
    command = "measure grains.tif --surface-area --particles pore --particles grain"

    measures = printed_object(run(f"{command} --json"))
    printed = run(command)

    assert [row["name"] for row in measures["particles"]] == ["pore", "grain"]
    assert [row["name"] for row in measures["surface_areas"]] == ["pore", "grain"]
    assert {row["unit"] for row in measures["surface_areas"]} == {"micrometer"}
    assert "Area / volume (1/micrometer)" in printed


def test_measure_writes_the_particles_as_labels(place: Path, run: Run) -> None:
    write_grains(place)

    printed = run("measure grains.tif --particles 2 --particles-out grains-2.tif")

    assert "2 particles of grain" in printed
    assert "micrometer³" in printed
    volume = open_volume(place / "grains-2.tif")
    assert volume.voxel_size == (0.5, 0.5, 0.5)
    assert volume.dtype == np.int32
    assert np.bincount(volume.slab(0, 3).ravel()).tolist() == [94, 12, 2]


def test_measure_takes_a_slice_in_2d(place: Path, run: Run) -> None:
    tifffile.imwrite(place / "slice.tif", np.repeat([[1, 2, 1]], 3, 0).astype(np.uint8))

    measures = printed_object(run("measure slice.tif --particles 2 --json"))

    (particles,) = measures["particles"]
    assert particles["n_axes"] == 2
    assert particles["unit"] == "voxel"
    assert particles["volume"]["max"] == 3


def test_particles_that_cannot_be_are_refused_before_anything_is_written(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_grains(place)
    before = {path: path.read_bytes() for path in place.glob("*.tif")}
    refused = {
        "--particles 3": "there is no phase 3; the labels have 1 (pore), 2 (grain)",
        "--csv p.csv": "need particles of one phase; add --particles PHASE once",
        "--particles 1 --particles 2 --csv p.csv": "need particles of one phase",
        "--particles 2 --csv image.tif": "image.tif exists already",
        "--particles 2 --overwrite --csv grains.tif": "is an input",
        "--particles 2 --particles-out p.zarr": "cannot be written to p.zarr",
        "--particles 2 --csv p.csv --tortuosity x": "there is no phase x",
    }

    for words, message in refused.items():
        assert call(f"measure grains.tif {words}") == 2
        assert message in capsys.readouterr().err

    assert {path: path.read_bytes() for path in place.glob("*.tif")} == before
    assert not (place / "p.csv").exists()


def test_measure_solves_for_tortuosity(run: Run) -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")

    measures = printed_object(run("measure labels.tif --tortuosity 1 --json"))
    table = run("measure labels.tif --tortuosity 1")

    (paths,) = measures["tortuosity"]
    assert (paths["phase"], paths["name"]) == (1, "phase 1")
    assert [row["axis"] for row in paths["directions"]] == ["z", "y", "x"]
    assert paths["directions"][0]["tortuosity"] == pytest.approx(1, abs=1e-4)
    assert paths["directions"][2] == {
        "axis": "x",
        "percolates": False,
        "tortuosity": None,
        "effective_diffusivity": 0.0,
    }
    assert "does not percolate" in table


def test_labels_without_tortuosity_are_refused_before_anything_is_measured(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")
    labels = np.ones((3, 6, 6), np.uint8)
    labels[1, 1, 1:3], labels[2, 0, 0] = 2, 0
    write_labels_tiff(place / "holed.tif", [labels], shape=labels.shape)

    status = call("measure holed.tif --particles 2 --csv p.csv --tortuosity 1")

    assert status == 2
    assert "1 voxels are 0" in capsys.readouterr().err
    assert not (place / "p.csv").exists()


@pytest.mark.usefixtures("place")
def test_what_is_measured_is_printed_if_tortuosity_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr("napari_lrcs.comparison.transport.measure_transport", fail)

    status = call("measure labels.tif --tortuosity 1")

    assert status != 0
    assert "Volume" in capsys.readouterr().out
