import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import SHAPE, Run, printed_object
from napari_lrcs.inspection.findings import Maps
from napari_lrcs.inspection.maps import compute_maps
from napari_lrcs.io.opening import open_volume
from napari_lrcs.models.checkpoint import load_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


def test_layers_are_listed_with_the_size_of_their_maps(place: Path, run: Run) -> None:
    listed = printed_object(run("look image.tif run --layers --json"))["layers"]
    printed = run("look image.tif run --layers")

    by_name = {layer["name"]: layer for layer in listed}
    assert by_name["encoder.2.max_pool"] == {
        "name": "encoder.2.max_pool",
        "kind": "max pooling",
        "n_maps": 16,
        "step": 8,
        "offset": 3.5,
        "shape": [3, 3],
    }
    assert listed[0]["name"] == "encoder.0"
    assert listed[-1]["name"] == "classifier"
    assert "encoder.2.max_pool" in printed
    assert sorted(path.name for path in place.iterdir()) == [
        *("image.tif", "labels.tif", "run"),
    ]


@pytest.mark.usefixtures("place")
def test_a_folder_holds_maps_figures_and_numbers(run: Run) -> None:
    names = ["encoder.1.leaky_relu", "encoder.0.max_pool.places"]
    line = f"look image.tif run --z 2 --layer {' '.join(names)} --labels labels.tif"

    record = printed_object(run(f"{line} --out seen --json"))
    printed = run(f"{line} --out seen --overwrite")

    assert sorted(path.name for path in Path("seen").iterdir()) == [
        *("gradients.png", "kernels.png", "look.json"),
        *(f"maps-{name}.tif" for name in sorted(names)),
        *("way.png", "weights.png"),
    ]
    assert json.loads(Path("seen/look.json").read_text()) == {
        key: value for key, value in record.items() if key != "out"
    }
    assert (record["axis"], record["index"], record["image"]) == ("z", 2, "image.tif")
    assert np.shape(record["kernels"]["values"]) == (8, 3, 3, 3)
    assert len(record["weights"]) == len(record["gradients"]["layers"]) == 14
    assert record["gradients"]["loss"] > 0
    checkpoint, image = load_checkpoint(Path("run")), open_volume("image.tif")
    for layer, name in zip(record["maps"], names, strict=True):
        *_, maps = compute_maps(image, checkpoint, 2, layer=name)
        assert isinstance(maps, Maps)
        written = tifffile.imread(f"seen/{layer['file']}")
        np.testing.assert_array_equal(written, maps.values)
    assert written.shape[1:] == SHAPE[1:]
    assert set(np.unique(written)) == {0, 1}
    assert "8 maps of encoder.0.max_pool.places: maps-" in printed


@pytest.mark.usefixtures("place")
def test_maps_in_a_file_know_the_size_and_place_of_their_pixels(run: Run) -> None:
    grey = tifffile.imread("image.tif")
    size = {
        f"PhysicalSize{axis}": s for axis, s in zip("ZYX", (2, 0.5, 0.25), strict=True)
    }
    units = {f"{name}Unit": "µm" for name in size}
    tifffile.imwrite("sized.ome.tif", grey, metadata={"axes": "ZYX", **size, **units})

    run("look sized.ome.tif run --z 0 --layer encoder.1 --out seen")

    with tifffile.TiffFile("seen/maps-encoder.1.tif") as tif:
        assert tif.ome_metadata is not None
        assert 'PhysicalSizeX="0.5"' in tif.ome_metadata  # of two pixels each
        assert 'PhysicalSizeY="1.0"' in tif.ome_metadata
        assert 'PositionX="0.125"' in tif.ome_metadata  # half a pixel
        assert 'PositionY="0.25"' in tif.ome_metadata
        assert tif.series[0].get_axes() == "CYX"
    assert not Path("seen/gradients.png").exists()
