"""Measure the peak memory of predicting a small and a large volume.

``python benchmarks/memory.py`` prints a table for ``benchmarks/RESULTS.md``.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import zarr

from napari_lrcs.config import PRESETS
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.models.registry import create_model
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.preprocessing.normalisation import Normalisation

SHAPES = {"1 GiB": (256, 1024, 1024), "4 GiB": (1024, 1024, 1024)}


def main() -> None:
    """Print the table."""
    print("| volume (float32) | peak memory of the process |\n|---|---|")
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _save_network(folder / "model.safetensors")
        for size, shape in SHAPES.items():
            volume = folder / f"{shape[0]}.zarr"
            zarr.create_array(volume, shape=shape, chunks=(8, 512, 512), dtype="f4")
            peaks.append(_peak_of_prediction(volume, folder))
            print(f"| {size} | {peaks[-1] / 2**20:.0f} MiB |", flush=True)
    print(f"\nratio {peaks[1] / peaks[0]:.3f} (goal: within 1.1, under 2048 MiB)")


def _save_network(path: Path) -> None:
    config = PRESETS["quick"].with_changes(n_filters=2, context_slices=0)
    checkpoint = Checkpoint(
        config=config,
        phases=ELECTRODE,
        normalisation=Normalisation(low=-1, high=1, mean=0, sd=1),
        state=create_model(config.network, n_phases=len(ELECTRODE)).state_dict(),
    )
    save_checkpoint(path, checkpoint)


def _peak_of_prediction(volume: Path, folder: Path) -> int:
    """Predict in a process of its own and return its largest resident size in bytes."""
    command = [
        *(sys.executable, "-m", "napari_lrcs", "predict", str(volume)),
        *(str(folder / "model.safetensors"), "--out", str(folder / "out.zarr")),
        "--overwrite",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"prediction failed with exit code {process.returncode}")
    return usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
