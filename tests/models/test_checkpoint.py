import errno
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import save_file

from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.metrics.calibration import UNCALIBRATED, ConfidenceCurve
from napari_lrcs.models.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from napari_lrcs.models.header import read_header
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.preprocessing.normalisation import Normalisation

MakeCheckpoint = Callable[..., Checkpoint]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def checkpoint(make_checkpoint: MakeCheckpoint) -> Checkpoint:
    return replace(
        make_checkpoint(),
        phases=ELECTRODE,
        normalisation=Normalisation(low=1.5, high=9.0, mean=4.0, sd=2.0),
        voxel_size=(0.5, 0.25, 0.25),
        unit="micrometer",
        temperature=1.75,
        confidence_curve=ConfidenceCurve(rising=0.5, falling=0.75, shift=0.25),
        labels_hash="ab12",
        history=({"epoch": 1, "validation_mean_iou": None, "training_loss": 0.5},),
    )


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    return path


def header_of(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, framework="pt") as file:
        header: dict[str, Any] = json.loads(file.metadata()["napari_lrcs"])
    return header


def write(path: Path, checkpoint: Checkpoint, header: object) -> None:
    tensors = {name: t.contiguous() for name, t in checkpoint.state.items()}
    save_file(tensors, path, metadata={"napari_lrcs": json.dumps(header)})


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (pytest.fail, ("opening a checkpoint ran code",))


def test_checkpoint_survives_the_way_to_disk_and_back(
    checkpoint: Checkpoint, saved: Path
) -> None:
    loaded = load_checkpoint(saved)

    assert replace(loaded, state={}) == replace(checkpoint, state={})
    assert loaded.state.keys() == checkpoint.state.keys()
    for name, tensor in checkpoint.state.items():
        assert torch.equal(loaded.state[name], tensor)


def test_header_says_all_that_prediction_needs(saved: Path) -> None:
    header = header_of(saved)

    assert header["format_version"] == 1
    assert header["config"]["model"] == "lrcsnet"
    assert {"axis", "context_slices", "median_size", "unsharp_radius"} <= set(
        header["config"]
    )
    assert [p["name"] for p in header["phases"]] == ["pore", "CBD", "NMC"]
    assert header["phases"][0]["colour"] == "#0072b2"
    assert header["normalisation"] == {"low": 1.5, "high": 9.0, "mean": 4.0, "sd": 2.0}
    assert (header["voxel_size"], header["unit"]) == ([0.5, 0.25, 0.25], "micrometer")
    assert header["labels_hash"] == "ab12"
    assert header["history"][0]["epoch"] == 1
    assert set(header["versions"]) == {"napari-lrcs", "torch", "numpy"}


def test_segmentpy_fault_7_grey_level_correction_travels_with_the_model(
    saved: Path,
) -> None:
    normalisation = load_checkpoint(saved).normalisation

    assert normalisation == Normalisation(low=1.5, high=9.0, mean=4.0, sd=2.0)


def test_built_network_predicts_as_the_saved_one(
    checkpoint: Checkpoint, saved: Path
) -> None:
    x = torch.randn(1, 1, 16, 24)
    with torch.no_grad():
        expected = checkpoint.build()(x)

        predicted = load_checkpoint(saved).build()(x)

    assert torch.equal(predicted, expected)


def test_building_leaves_the_global_random_numbers_alone(
    checkpoint: Checkpoint,
) -> None:
    before = torch.get_rng_state()

    checkpoint.build()

    assert torch.equal(torch.get_rng_state(), before)


def test_run_folder_stands_for_its_best_checkpoint(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best.safetensors", checkpoint)

    assert load_checkpoint(tmp_path).labels_hash == "ab12"


def test_networks_without_a_calibration_have_none(
    checkpoint: Checkpoint, saved: Path
) -> None:
    header = header_of(saved)
    del header["temperature"], header["confidence_curve"]
    write(saved, checkpoint, header)

    assert load_checkpoint(saved).temperature == 1
    assert load_checkpoint(saved).confidence_curve == UNCALIBRATED


def test_fields_of_later_versions_are_ignored(
    checkpoint: Checkpoint, saved: Path
) -> None:
    write(saved, checkpoint, header_of(saved) | {"pressure": 7})

    assert load_checkpoint(saved).temperature == 1.75


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap(), protocol=protocol))

    with pytest.raises(CheckpointError, match="safetensors"):
        load_checkpoint(path)


def test_file_of_torch_save_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save({"trap": Trap()}, path)

    with pytest.raises(CheckpointError, match=r"model\.safetensors is a pickle"):
        load_checkpoint(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_header_whose_length_looks_like_a_pickle_is_read(
    checkpoint: Checkpoint, tmp_path: Path, protocol: int
) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    # A safetensors file begins with the length of its header, a pickle with these two.
    wanted = int.from_bytes(bytes([0x80, protocol]), "little")
    filler = "x" * ((wanted - length) % 2**16)

    save_checkpoint(
        path, replace(checkpoint, labels_hash=checkpoint.labels_hash + filler)
    )

    assert path.read_bytes()[:2] == bytes([0x80, protocol])
    assert load_checkpoint(path).labels_hash == "ab12" + filler


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        load_checkpoint(tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("n_bytes", [0, 3, 8, 100, -1])
def test_truncated_file_is_refused(saved: Path, n_bytes: int) -> None:
    saved.write_bytes(saved.read_bytes()[:n_bytes])

    with pytest.raises(CheckpointError, match=r"is not a valid safetensors file"):
        load_checkpoint(saved)


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(2)}, path)

    with pytest.raises(CheckpointError, match="not a checkpoint of napari-lrcs"):
        load_checkpoint(path)


def test_another_format_version_is_refused(checkpoint: Checkpoint, saved: Path) -> None:
    write(saved, checkpoint, header_of(saved) | {"format_version": 2})

    with pytest.raises(CheckpointError, match=r"has checkpoint format 2; .* format 1"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"n_filters": 0}},
        {"config": {"n_layers": 3}},
        {"config": {"n_filters": "many"}},
        {"phases": [{"label": 1, "name": "pore", "colour": "#0072b2"}]},
        {"config": []},
        {"phases": 3},
        {"normalisation": {"mean": 0.0}},
        {"voxel_size": 1},
        {"voxel_size": [1.0, 1.0]},
        {"voxel_size": ["a", "b", "c"]},
        {"unit": 5},
        {"labels_hash": []},
        {"history": 5},
        {"history": [5]},
        {"history": [{"epoch": "first"}]},
        {"versions": []},
        {"versions": {"torch": 2}},
        {"temperature": 0},
        {"temperature": -1.5},
        {"temperature": math.nan},
        {"temperature": 1e999},
        {"temperature": "hot"},
        {"confidence_curve": 1.0},
        {"confidence_curve": {"rising": -1.0}},
        {"confidence_curve": {"shift": "up"}},
        {"format_version": "1"},
        {"config": {"model": "resnet"}},
        {"config": {"phase_weights": [1, 1, 1e999]}},
        {"normalisation": {"low": 0, "high": 1, "mean": None, "sd": 1}},
        {"normalisation": {"low": [1], "high": 1, "mean": 0, "sd": 1}},
        {"normalisation": {"low": 0, "high": 1, "mean": 0, "sd": "x"}},
        {"normalisation": {"low": 0, "high": 1, "mean": 0, "sd": 0}},
        {"normalisation": {"low": 0, "high": 1, "mean": math.nan, "sd": 1}},
        {"normalisation": {"low": 0, "high": 1e999, "mean": 0, "sd": 1}},
    ],
)
def test_damaged_header_is_refused(
    checkpoint: Checkpoint, saved: Path, change: dict[str, Any]
) -> None:
    write(saved, checkpoint, header_of(saved) | change)

    with pytest.raises(CheckpointError, match=r"the header of .* is damaged"):
        load_checkpoint(saved)


@pytest.mark.parametrize("header", [[], "text", 1, None, {}])
def test_header_that_is_no_object_is_refused(
    checkpoint: Checkpoint, saved: Path, header: object
) -> None:
    write(saved, checkpoint, header)

    with pytest.raises(CheckpointError, match=r"the header of .* is damaged"):
        load_checkpoint(saved)


def test_header_that_is_nested_too_deeply_is_refused(
    checkpoint: Checkpoint, saved: Path
) -> None:
    deep = "[" * 100_000
    save_file(dict(checkpoint.state), saved, metadata={"napari_lrcs": deep})

    for read in (load_checkpoint, read_header):
        with pytest.raises(CheckpointError, match=r"the header of .* is damaged"):
            read(saved)


def with_config(saved: Path, **changes: object) -> dict[str, Any]:
    header = header_of(saved)
    return header | {"config": header["config"] | changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"n_filters": 1024, "kernel_size": 15},
        {"model": "unet", "n_filters": 1024},
        {"context_slices": 16},
        {"n_bottleneck_convs": 8},
    ],
)
def test_header_of_another_network_than_its_tensors_is_refused(
    checkpoint: Checkpoint, saved: Path, changes: dict[str, Any]
) -> None:
    write(saved, checkpoint, with_config(saved, **changes))

    with pytest.raises(CheckpointError, match="does not fit the network"):
        load_checkpoint(saved)


def test_header_of_more_phases_than_the_network_knows_is_refused(
    checkpoint: Checkpoint, saved: Path
) -> None:
    phases = PhaseTable.numbered(255).to_dicts()
    write(saved, checkpoint, header_of(saved) | {"phases": phases})

    with pytest.raises(CheckpointError, match=r"classifier\..* the network needs"):
        load_checkpoint(saved)


_CHILD = """
import resource, sys
from pathlib import Path
from napari_lrcs.models.checkpoint import load_checkpoint

in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**29, in_use + 2**29))
try:
    load_checkpoint(Path(sys.argv[1])).build()
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux does")
def test_a_small_file_that_describes_a_huge_network_takes_no_memory(
    checkpoint: Checkpoint, saved: Path
) -> None:
    write(saved, checkpoint, with_config(saved, n_filters=1024, kernel_size=15))

    command = [sys.executable, "-c", _CHILD, str(saved)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)

    assert child.stdout.startswith("the checkpoint does not fit the network"), child


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (torch.bfloat16, "BF16"),
        (torch.float16, "F16"),
        (torch.float64, "F64"),
        (torch.float8_e4m3fn, "F8_E4M3"),
        (torch.int8, "I8"),
    ],
)
def test_weights_of_another_type_are_refused(
    checkpoint: Checkpoint, saved: Path, dtype: torch.dtype, name: str
) -> None:
    state = {n: t.to(dtype) for n, t in checkpoint.state.items()}
    save_checkpoint(saved, replace(checkpoint, state=state))

    with pytest.raises(CheckpointError, match=rf"is of type {name}, expected F32"):
        load_checkpoint(saved)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(
    checkpoint: Checkpoint, saved: Path, value: float
) -> None:
    state = {name: tensor.clone() for name, tensor in checkpoint.state.items()}
    state["classifier.bias"][0] = value
    save_checkpoint(saved, replace(checkpoint, state=state))

    with pytest.raises(CheckpointError, match=r"classifier\.bias .* NaN or infinity"):
        load_checkpoint(saved)


def test_missing_tensor_is_refused(checkpoint: Checkpoint) -> None:
    state = dict(checkpoint.state)
    del state["classifier.bias"]

    with pytest.raises(CheckpointError, match=r"1 tensors .* classifier\.bias"):
        replace(checkpoint, state=state).build()


def test_tensor_of_another_shape_is_refused(
    checkpoint: Checkpoint, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    wider = make_checkpoint(tiny_config.with_changes(n_filters=3))

    with pytest.raises(CheckpointError, match=r"the network needs \("):
        replace(checkpoint, state=wider.state).build()


def test_refused_weights_change_nothing(checkpoint: Checkpoint) -> None:
    model = checkpoint.build()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    last = list(before)[-1]
    state = {name: t + 1 for name, t in before.items()} | {last: torch.zeros(7)}

    with pytest.raises(CheckpointError):
        load_weights(model, state)

    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_failed_write_keeps_the_former_checkpoint(
    checkpoint: Checkpoint, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(path: Path, content: bytes) -> None:
        path.open("wb").close()
        raise OSError(errno.ENOSPC, f"No space left for {len(content)} bytes")

    monkeypatch.setattr(Path, "write_bytes", fill_disk)

    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(saved, replace(checkpoint, labels_hash="new"))

    assert load_checkpoint(saved).labels_hash == "ab12"
    assert [p.name for p in saved.parent.iterdir()] == ["model.safetensors"]
