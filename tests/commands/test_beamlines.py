"""Volumes as the programs of beamlines write them, on the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from napari_lrcs.__main__ import main
from napari_lrcs.io.opening import open_volume
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint

GREY = np.random.default_rng(0).normal(size=(3, 20, 24)).astype(np.float32)


@pytest.fixture
def network(tmp_path: Path, make_checkpoint: Callable[..., Checkpoint]) -> Path:
    save_checkpoint(tmp_path / "model.safetensors", make_checkpoint())
    return tmp_path / "model.safetensors"


def predict(image: object, network: Path, out: Path) -> int:
    options = ["--out", str(out), "--device", "cpu", "--precision", "float32"]
    try:
        return main(["predict", str(image), str(network), *options])
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize("result", ["seg.tif", "seg.zarr"])
def test_predict_keeps_the_voxel_size(
    beamline_file: tuple[Callable[[Path, Any], None], tuple[float, ...] | None],
    result: str,
    tmp_path: Path,
    network: Path,
) -> None:
    write, sides = beamline_file
    write(tmp_path / "scan.h5", GREY)

    assert predict(tmp_path / "scan.h5", network, tmp_path / result) == 0

    volume = open_volume(tmp_path / result)
    assert volume.shape == GREY.shape
    assert volume.voxel_size == (None if sides is None else pytest.approx(sides))
    assert volume.unit == (None if sides is None else "micrometer")


def test_predict_lists_several_volumes_and_takes_the_one_that_is_named(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, out = tmp_path / "scan.h5", tmp_path / "seg.tif"
    with h5py.File(scan, "w") as file:
        file["raw"], file["phase"] = GREY, GREY[:2]

    assert predict(scan, network, out) == 2
    assert capsys.readouterr().err == (
        "error: scan.h5 holds 2 volumes: /raw (3, 20, 24), /phase (2, 20, 24); "
        "choose one, as in scan.h5:/raw\n"
    )
    assert not out.exists()

    assert predict(f"{scan}:/phase", network, out) == 0
    assert open_volume(out).shape == (2, 20, 24)
