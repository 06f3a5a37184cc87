import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.pyramid import add_levels
from napari_lrcs.io.opening import open_volume
from napari_lrcs.phases import ELECTRODE

LABELS = (np.arange(6 * 5 * 4) % 3).astype(np.uint8).reshape(6, 5, 4)


def write_image_label(path: Path, version: str, labels: object) -> None:
    axes = [{"name": axis, "type": "space"} for axis in "zyx"]
    scale = {"type": "scale", "scale": [1.0, 1.0, 1.0]}
    level = {"path": "0", "coordinateTransformations": [scale]}
    content: dict[str, Any] = {"multiscales": [{"axes": axes, "datasets": [level]}]}
    content |= {"image-label": labels}
    attributes = content if version == "0.4" else {"ome": content}
    group = zarr.create_group(
        path, attributes=attributes, zarr_format=2 if version == "0.4" else 3
    )
    group.create_array("0", data=LABELS)


def test_other_viewers_learn_names_and_colours_from_ome_zarr(tmp_path: Path) -> None:
    path = tmp_path / "seg.zarr"
    create_ome_zarr(path, shape=(6, 600, 4), chunks=(1, 600, 4), phases=ELECTRODE)
    list(add_levels(path))

    content = json.loads((path / "zarr.json").read_text("utf-8"))["attributes"]["ome"]

    assert content["image-label"] == {
        "colors": [
            {"label-value": 1, "rgba": [0, 0x72, 0xB2, 255]},
            {"label-value": 2, "rgba": [0xE6, 0x9F, 0, 255]},
            {"label-value": 3, "rgba": [0, 0x9E, 0x73, 255]},
        ],
        "properties": [
            {"label-value": 1, "name": "pore"},
            {"label-value": 2, "name": "CBD"},
            {"label-value": 3, "name": "NMC"},
        ],
    }
    pytest.importorskip("yaozarrs.v05").LabelImage.model_validate(content)


def test_an_image_without_phases_is_no_label_image(tmp_path: Path) -> None:
    create_ome_zarr(tmp_path / "a.zarr", shape=(2, 3, 4), chunks=(1, 3, 4))

    text = (tmp_path / "a.zarr" / "zarr.json").read_text("utf-8")

    content = json.loads(text)["attributes"]["ome"]
    assert "image-label" not in content
    pytest.importorskip("yaozarrs.v05").Image.model_validate(content)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_names_and_colours_of_other_programs_are_read(
    version: str, tmp_path: Path
) -> None:
    labels = {
        "colors": [
            {"label-value": value, "rgba": [value, 200, 0, 128]} for value in (0, 2, 1)
        ],
        "properties": [
            {"label-value": 2, "name": "solid", "area": 5},
            {"label-value": 1, "name": "pore"},
        ],
    }
    write_image_label(tmp_path / "a.zarr", version, labels)

    volume = open_volume(tmp_path / "a.zarr")

    assert volume.phases is not None
    assert [(p.label, p.name, p.colour) for p in volume.phases] == [
        (1, "pore", "#01c800"),
        (2, "solid", "#02c800"),
    ]


@pytest.mark.parametrize(
    "labels",
    [
        {},
        [],
        {"colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}]},
        {
            "colors": [{"label-value": 7, "rgba": [1, 2, 3, 4]}],
            "properties": [{"label-value": 7, "name": "cell"}],
        },
        {"colors": [{"label-value": 1}], "properties": [{"label-value": 1}]},
    ],
)
def test_labels_that_are_no_phases_have_none(labels: object, tmp_path: Path) -> None:
    write_image_label(tmp_path / "a.zarr", "0.5", labels)

    assert open_volume(tmp_path / "a.zarr").phases is None
