"""Measure int8 inference against our own, on networks that have been trained.

    python benchmarks/int8.py [--steps 100] [--data ../shared/data]

The exported network is calibrated on the training slice (weights per channel, QDQ) and
given the test slices, by ONNX Runtime and, where it is installed, by OpenVINO; one
thread each. Speeds are those of the network alone on one slice, in turn, against ours
in the fastest arithmetic of the processor. Equal labels and IoU are against ours in
float32. `quick` is narrow, ``paper`` wide.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from cases import CASES, DATA, Case, learn
from export import SHORT, window_for
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from napari_lrcs.config import PRESETS
from napari_lrcs.export.export import ExportTask, export_network
from napari_lrcs.metrics.overlap import confusion_matrix, iou_per_phase
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.device import arithmetic, for_prediction, resolve_precision
from napari_lrcs.models.layers import pad_by_reflection

NAMES = ("nmc-electrode", "nmc-real-a", "soc-nickel-ysz")
NETWORKS = ("quick", "paper")
N_TESTED = 3
"""Test slices of a data set."""
ROUNDS = 7
CPU = torch.device("cpu")

Grey = NDArray[np.float32]
Labels = NDArray[np.uint8]
Logits = Callable[[Grey], NDArray[np.float32]]
"""What a back end makes of a window (1, C, rows, columns)."""


def main() -> None:
    """Print a row for each network, data set and back end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=100, help="of each training")
    parser.add_argument(
        "--only", choices=PRESETS, nargs="+", default=["quick", "paper"]
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| network | data | back end | speed | equal labels | mean IoU, worst phase |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    for preset in arguments.only:
        for case in (c for c in CASES if c.name in NAMES):
            for row in rows(case, preset, arguments.data, n_steps=arguments.steps):
                print(f"| {preset} | {case.title} | {row} |", flush=True)


def rows(case: Case, preset: str, data: Path, *, n_steps: int) -> Iterator[str]:
    """Train a network, and compare what becomes of it."""
    image, labels = case.open(data)
    short = SHORT | {"n_epochs": 2, "patches_per_epoch": 2 * n_steps}
    config = PRESETS[preset].with_changes(**short)
    checkpoint = learn(case, image, labels, config=config)
    places = list(case.test)[:N_TESTED]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = exported(checkpoint, folder)
        session = onnxruntime.InferenceSession(
            plain, providers=["CPUExecutionProvider"]
        )
        windows = [window_for(session, image, z) for z in places]
        learnt_from = [window_for(session, image, z) for z in case.train]
        reduced = quantised(plain, learnt_from)
        truth = np.stack([labels.slab(z, z + 1)[0] for z in places])
        exact = ours(checkpoint, "float32")
        fastest = resolve_precision("auto", CPU)
        found = {f"ours, {fastest}": ours(checkpoint, fastest)}
        found |= by_onnx_runtime(plain, reduced) | by_openvino(plain, reduced)
        expected = labelled(exact, windows)
        first, *_ = found.values()
        for back_end, logits in found.items():
            speed = ratio(first, logits, windows[0])
            labelling = labelled(logits, windows)
            equal = (labelling == expected).mean()
            change = compared(labelling, expected, truth, len(case.phases))
            yield f"{back_end} | {speed:.2f} × | {equal:.2%} | {change}"


def exported(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write the network in float32."""
    out = folder / "network.onnx"
    for _ in export_network(ExportTask(checkpoint=checkpoint, format="onnx"), out=out):
        pass
    return out


def labelled(logits: Logits, windows: Sequence[Grey]) -> Labels:
    """Label slices."""
    found = [logits(window)[0].argmax(axis=0) for window in windows]
    return np.stack(found).astype(np.uint8) + np.uint8(1)


def compared(labels: Labels, expected: Labels, truth: Labels, n_phases: int) -> str:
    """Tell how the IoU changes: its mean, and of the phase that loses most."""
    before, after = (
        iou_per_phase(confusion_matrix(truth, given, n_phases=n_phases))
        for given in (expected, labels)
    )
    return f"{np.mean(after - before):+.4f}, {np.min(after - before):+.4f}"


def ratio(slow: Logits, fast: Logits, window: Grey) -> float:
    """Return how many times faster the second is, the median of some turns."""
    turns = []
    for _ in range(1 + ROUNDS):
        times = []
        for logits in (slow, fast):
            started = time.perf_counter()
            logits(window)
            times.append(time.perf_counter() - started)
        turns.append(times[0] / times[1])
    return statistics.median(turns[1:])  # the first asks for memory


# ---- back ends ----


def ours(checkpoint: Checkpoint, precision: Any) -> Logits:
    """Return our own network, as `predict` uses it."""
    model = for_prediction(checkpoint.build(), CPU, precision)

    def logits(window: Grey) -> NDArray[np.float32]:
        height, width = window.shape[-2:]
        x = torch.from_numpy(window)
        x = pad_by_reflection(x, (-height % model.stride, -width % model.stride))
        x = x.to(model.dtype, memory_format=torch.channels_last)
        with torch.inference_mode(), arithmetic(precision, CPU):
            found: Grey = model.logits(x)[..., :height, :width].float().numpy()
        return found

    return logits


class _Windows(CalibrationDataReader):  # type: ignore[misc]
    """Gives what a network is calibrated on."""

    def __init__(self, windows: Sequence[Grey]) -> None:
        self._left = iter(windows)

    def get_next(self) -> dict[str, Grey] | None:
        """Return the next window, until there is none."""
        window = next(self._left, None)
        return None if window is None else {"image": window}


def quantised(plain: Path, windows: Sequence[Grey]) -> Path:
    """Write the network in int8, calibrated on some windows."""
    out = plain.with_name("int8.onnx")
    quantize_static(
        plain,
        out,
        _Windows(windows),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=["Conv"],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range="vnni" not in Path("/proc/cpuinfo").read_text("ascii"),
    )
    return out


def by_onnx_runtime(plain: Path, reduced: Path) -> dict[str, Logits]:
    """Return both networks in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def loaded(path: Path) -> Logits:
        session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        return lambda window: session.run(["logits"], {"image": window})[0]

    return {
        "ONNX Runtime, float32": loaded(plain),
        "ONNX Runtime, int8": loaded(reduced),
    }


def by_openvino(plain: Path, reduced: Path) -> dict[str, Logits]:
    """Return both networks in OpenVINO, if it is installed."""
    try:
        import openvino
    except ModuleNotFoundError:
        return {}
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}

    def loaded(path: Path) -> Logits:
        model = core.compile_model(str(path), "CPU", settings)
        return lambda window: model({"image": window})["logits"]

    return {"OpenVINO, float32": loaded(plain), "OpenVINO, int8": loaded(reduced)}


if __name__ == "__main__":
    main()
