"""Measure how the peak memory of commands grows with the volume.

``python benchmarks/memory.py`` runs each command on sparse volumes of 1 and 4 GiB, each
in a process of its own, and prints a table for ``benchmarks/RESULTS.md``. ``--gib``
takes other sizes, ``--only`` some of the commands. Of a volume larger than 4 GiB,
`predict` computes 128 slices at its end: what grows with the volume, its index and its
geometry, is in memory all the same.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from napari_lrcs.config import PRESETS
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.models.registry import create_model
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.preprocessing.normalisation import Normalisation

SLICE = (1024, 1024)
CHUNKS = (8, 512, 512)
MOST_PREDICTED = 4 * 2**30
"""Bytes of a volume that is predicted whole."""

AGREEMENT = """
import sys
from pathlib import Path
from napari_lrcs.comparison.agreement import write_agreement
from napari_lrcs.phases import ELECTRODE
*members, out = map(Path, sys.argv[1:])
out.mkdir()
for share in write_agreement(members, out=out, phases=ELECTRODE):
    pass
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=int, nargs="+", default=(1, 4))
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    arguments = parser.parse_args()
    sizes = " | ".join(f"{gib} GiB" for gib in arguments.gib)
    print(f"| peak memory, MiB | {sizes} | ratio |")
    print("|---" * (2 + len(arguments.gib)) + "|")
    for name in arguments.only:
        peaks = [_peak(name, gib * 2**30) / 2**20 for gib in arguments.gib]
        cells = " | ".join(f"{peak:.0f}" for peak in peaks)
        print(f"| {name} | {cells} | {peaks[-1] / peaks[0]:.3f} |", flush=True)
    print("\nGoal: a ratio within 1.1, and under 2048 MiB.")


def _peak(name: str, n_bytes: int) -> int:
    """Run a command in a process of its own; return its largest resident size."""
    with tempfile.TemporaryDirectory() as folder:
        words = COMMANDS[name](Path(folder), n_bytes)
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name} failed with exit code {process.returncode}")
    return usage.ru_maxrss * 1024


# ---- the commands ----


def _predict(folder: Path, n_bytes: int) -> list[str]:
    image = _volume(folder / "image.zarr", n_bytes, "f4", fill=0)
    network = folder / "model.safetensors"
    _save_network(network)
    out = str(folder / "out.zarr")
    words = ["-m", "napari_lrcs", "predict", str(image), str(network), "--out", out]
    if n_bytes > MOST_PREDICTED:
        n_slices = _n_slices(n_bytes, "f4")
        words += ["--z", f"{n_slices - 128}:{n_slices}"]
    return words


def _measure(folder: Path, n_bytes: int) -> list[str]:
    labels = _volume(folder / "labels.zarr", n_bytes, "u1", fill=1)
    return ["-m", "napari_lrcs", "measure", str(labels)]


def _compare(folder: Path, n_bytes: int) -> list[str]:
    first, second = (
        _volume(folder / f"{name}.zarr", n_bytes, "u1", fill=1) for name in "ab"
    )
    return ["-m", "napari_lrcs", "compare", str(first), str(second)]


def _baseline(folder: Path, n_bytes: int) -> list[str]:
    image = _volume(folder / "image.zarr", n_bytes, "u1", fill=2)
    words = ["-m", "napari_lrcs", "baseline", str(image), "--method", "otsu"]
    return [*words, "--n-phases", "2", "--out", str(folder / "out.zarr")]


def _agreement(folder: Path, n_bytes: int) -> list[str]:
    members = [
        _volume(folder / f"{i}.zarr", n_bytes, "u1", fill=1 + i // 3) for i in range(4)
    ]
    return ["-c", AGREEMENT, *map(str, members), str(folder / "study")]


COMMANDS: dict[str, Callable[[Path, int], list[str]]] = {
    "predict": _predict,
    "measure": _measure,
    "compare": _compare,
    "baseline": _baseline,
    "agreement of four members": _agreement,
}


# ---- what they read ----


def _n_slices(n_bytes: int, dtype: str) -> int:
    return n_bytes // (SLICE[0] * SLICE[1] * np.dtype(dtype).itemsize)


def _volume(path: Path, n_bytes: int, dtype: str, *, fill: int) -> Path:
    """Write a sparse volume: noise of 1, 2 and 3 in some chunks, else `fill`."""
    n_slices, depth = _n_slices(n_bytes, dtype), CHUNKS[0]
    shape = (n_slices, *SLICE)
    array = zarr.create_array(
        path, shape=shape, chunks=CHUNKS, dtype=dtype, fill_value=fill
    )
    rng = np.random.default_rng(0)
    noise = rng.integers(1, 4, (depth, *SLICE)).astype(dtype)
    for i in range(16):
        middle = (2 * i + 1) * n_slices // 32  # where `baseline` takes its samples
        start = middle // depth * depth
        array[start : start + depth] = noise
    return path


def _save_network(path: Path) -> None:
    config = PRESETS["quick"].with_changes(n_filters=2, context_slices=0)
    checkpoint = Checkpoint(
        config=config,
        phases=ELECTRODE,
        normalisation=Normalisation(low=-1, high=1, mean=0, sd=1),
        state=create_model(config.network, n_phases=len(ELECTRODE)).state_dict(),
    )
    save_checkpoint(path, checkpoint)


if __name__ == "__main__":
    main()
