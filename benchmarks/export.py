"""Compare the labels of exported networks with those of ours.

    python benchmarks/export.py [--only quick] [--all-data] [--data ../shared/data]

Each network is trained shortly, exported, and given a slice that it has not seen; what
is compared are the labels, with those of a prediction on the processor in float32. What
happens in front of the ONNX file is done here by what its metadata say, and nothing
else. bioimageio.core predicts the slice as a whole, once as it is, and once as
`bioimageio.core.predict` does by default: with the halo around it, filled by
reflection, where our networks see zeros.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from bioimageio.core import Sample, Tensor, create_prediction_pipeline
from bioimageio.spec import load_model_description
from cases import CASES, DATA, Case, learn, predict
from numpy.typing import NDArray
from scipy import ndimage

from napari_lrcs.config import PRESETS, PredictConfig, TrainConfig
from napari_lrcs.export.export import ExportTask, export_network
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.volume import Volume
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.preprocessing.slices import SliceReader

SHORT = {
    "n_epochs": 2,
    "patches_per_epoch": 100,
    "batch_size": 4,
    "patch_size": 96,
    "device": "cpu",
    "precision": "float32",
    "schedule": "one_cycle",
    "learning_rate": 4e-3,
    "pitfall_restarts": 0,
    "elastic": 0.0,
}
_CPU = PredictConfig(device="cpu", precision="float32")
Labels = NDArray[np.uint8]

NETWORKS: dict[str, TrainConfig] = {
    name: config.with_changes(**SHORT)
    for name, config in {
        **PRESETS,
        "unet": PRESETS["quick"].with_changes(model="unet"),
        "segnet": PRESETS["quick"].with_changes(model="segnet", n_filters=8),
        "xlearn": PRESETS["quick"].with_changes(model="xlearn"),
        "quick, filtered": PRESETS["quick"].with_changes(
            median_size=3, unsharp_radius=6.0
        ),
    }.items()
}


def main() -> None:
    """Print a row for each network and data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    parser.add_argument("--only", default="", help="networks whose name holds this")
    parser.add_argument(
        "--all-data",
        action="store_true",
        help="all data for all networks, not only for the preset quick",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.data.is_dir():
        print(f"there is no folder {arguments.data}: only the phantom is measured")
    print("| data | network | slice | phases found | ONNX Runtime | bioimageio.core |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, config in NETWORKS.items():
        has_all = arguments.all_data or name == "quick"
        for case in _cases(arguments.data, all_of_them=has_all):
            if arguments.only in name:
                print(_row(case, name, config, arguments.data), flush=True)


def _cases(data: Path, *, all_of_them: bool) -> Iterator[Case]:
    present = [c for c in CASES if data.is_dir() or c.name.startswith("phantom")]
    yield from present if all_of_them else present[:1]


def _row(case: Case, name: str, config: TrainConfig, data: Path) -> str:
    image, labels = case.open(data)
    checkpoint = learn(case, image, labels, config=config)
    z = case.test[0]
    ours = MemoryResult(labels=np.zeros(image.shape, np.uint8))
    predict(image, checkpoint, result=ours, slices=[z], config=_CPU)
    expected = np.asarray(ours.labels[z])
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / file for file in ("n.onnx", "n.zip")]
        for file, format_ in zip(files, ("onnx", "bioimageio"), strict=True):
            task = ExportTask(checkpoint=checkpoint, format=format_)
            for _ in export_network(task, out=file):
                pass
        by_onnx = labels_by_onnx(files[0], image, z)
        whole, padded = labels_by_bioimageio(files[1], checkpoint, image, z)
    size = "×".join(map(str, expected.shape))
    n_found = f"{len(np.unique(expected))} of {len(checkpoint.phases)}"
    cells = [case.title, name, size, n_found, _share(by_onnx, expected)]
    default = f"{_share(whole, expected)}; by default {_share(padded, expected)}"
    return f"| {' | '.join([*cells, default])} |"


def _share(labels: Labels, expected: Labels) -> str:
    n_others = np.count_nonzero(labels != expected)
    return f"{1 - n_others / labels.size:.4%} ({n_others} others)"


# ---- ONNX Runtime ----


def labels_by_onnx(file: Path, volume: Volume, z: int) -> Labels:
    """Label a slice by an ONNX file and its own description."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    window = window_for(session, volume, z)
    (logits,) = session.run(["logits"], {"image": window})
    return logits[0].argmax(axis=0).astype(np.uint8) + np.uint8(1)


def window_for(
    session: onnxruntime.InferenceSession, volume: Volume, z: int
) -> NDArray[np.float32]:
    """Prepare a slice and its neighbours as the metadata describe."""
    stored = session.get_modelmeta().custom_metadata_map["napari_lrcs"]
    *steps, slices = json.loads(stored)["preprocessing"]
    grey = volume.slab(0, volume.shape[0], axis=slices["across"])
    for step in steps:
        grey = prepared(grey, step)
    n = max(slices["offsets"])
    padded = np.pad(grey, ((n, n), (0, 0), (0, 0)), mode="reflect")
    window: NDArray[np.float32] = padded[[z + n + o for o in slices["offsets"]]]
    return window[np.newaxis]


def prepared(grey: NDArray[Any], step: dict[str, Any]) -> NDArray[Any]:
    """Do one step of what the metadata describe to a volume (slices, rows, columns)."""
    match step["step"]:
        case "convert":
            return grey.astype(step["dtype"])
        case "median":
            return ndimage.median_filter(grey, size=step["size"], mode="mirror")
        case "unsharp_mask":
            sigmas, weight = (0, step["sigma"], step["sigma"]), step["weight"]
            blurred = ndimage.gaussian_filter(grey, sigmas, mode="mirror")
            return (grey - np.float32(weight) * blurred) / np.float32(1 - weight)
        case "clip":
            return np.clip(grey, step["low"], step["high"])
        case "subtract":
            return grey - step["value"]
        case "divide":
            return grey / step["value"]
    raise ValueError(f"unknown step {step}")


# ---- bioimageio.core ----


def labels_by_bioimageio(
    file: Path, checkpoint: Checkpoint, volume: Volume, z: int
) -> tuple[Labels, Labels]:
    """Label a slice as it is, and with the halo around it."""
    grey = SliceReader.for_config(volume, checkpoint.config).read(z, z + 1)
    model = load_model_description(file, perform_io_checks=False)
    axes = [axis.id for axis in model.inputs[0].axes]
    found = []
    with create_prediction_pipeline(model, weight_format="onnx") as pipeline:
        for is_skipped in (True, False):
            # bioimageio.core takes an array for a sample only if its sides are those
            # of a tile; a tensor may have any.
            tensor = Tensor.from_numpy(grey[np.newaxis].copy(), dims=axes)
            sample = Sample(members={"image": tensor}, stat={}, id=None)
            output = pipeline.predict_sample_without_blocking(
                sample,
                skip_input_padding=is_skipped,
                skip_output_cropping=is_skipped,
            )
            (probabilities,) = output.members.values()
            labels = probabilities.data.to_numpy()[0].argmax(axis=0)
            found.append(labels.astype(np.uint8) + np.uint8(1))
    return found[0], found[1]


if __name__ == "__main__":
    main()
