"""Time the measures of 512³ labels, beside a plain implementation, and their memory.

``python benchmarks/measures.py`` prints a table for ``benchmarks/RESULTS.md``.
"""

import os
import subprocess
import sys
import tempfile
import time
from itertools import permutations
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from napari_lrcs.arrays import Labels
from napari_lrcs.classical.phantom import electrode_phantom
from napari_lrcs.comparison.evaluate import measure_volume
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.phases import ELECTRODE

SIDE = 512
SLICE_SIDE = 20_000


def main() -> None:
    """Print the table."""
    tile = electrode_phantom(shape=(64, 256, 256)).labels
    labels = np.tile(tile, [SIDE // n for n in tile.shape])
    volume = as_labels(as_volume(labels))
    start = time.perf_counter()
    measured = measure_volume(volume, phases=ELECTRODE, neighbourhood=26)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    touching = touching_by_dilation(labels, n_phases=len(ELECTRODE))
    plain = time.perf_counter() - start
    np.testing.assert_array_equal(measured.n_touching, touching)
    seconds, peak = _measure_in_a_process(labels)
    slice_seconds, slice_peak = _measure_in_a_process(_large_slice(), name="slice.tif")
    print(f"| {SIDE}³ labels, 26 neighbours | goal | measured |\n|---|---|---|")
    print(f"| in memory | | {ours:.2f} s, {labels.size / ours / 1e6:.0f} M voxels/s |")
    print(f"| `binary_dilation` a phase, in memory | | {plain:.1f} s |")
    print(f"| ratio | | {plain / ours:.1f} × |")
    print(f"| `napari-lrcs measure` of a file | < 60 s | {seconds:.1f} s |")
    print(f"| its peak memory | < 2048 MiB | {peak / 2**20:.0f} MiB |")
    print(
        f"| one slice of {SLICE_SIDE}², a compressed TIFF | | {slice_seconds:.1f} s |"
    )
    print(f"| its peak memory | < 1024 MiB | {slice_peak / 2**20:.0f} MiB |")


def touching_by_dilation(labels: Labels, *, n_phases: int) -> NDArray[np.int64]:
    """Count as one would with scipy: the voxels of a in the dilation of b."""
    touching = np.zeros((n_phases, n_phases), np.int64)
    everywhere = np.ones((3, 3, 3), np.bool_)
    dilated = {
        b: ndimage.binary_dilation(labels == b, everywhere)
        for b in range(1, n_phases + 1)
    }
    for a, b in permutations(dilated, 2):
        touching[a - 1, b - 1] = ((labels == a) & dilated[b]).sum()
    return touching


def _large_slice() -> Labels:
    labels = np.ones((1, SLICE_SIDE, SLICE_SIDE), np.uint8)
    labels[:, :, SLICE_SIDE // 2 :] = 2
    return labels


def _measure_in_a_process(
    labels: Labels, *, name: str = "labels.npy"
) -> tuple[float, int]:
    """Return the seconds and the largest resident bytes of measuring a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        if path.suffix == ".npy":
            np.save(path, labels)
        else:
            tifffile.imwrite(path, labels, compression="zlib")
        command = [sys.executable, "-m", "napari_lrcs", "measure", str(path), "--json"]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"measuring failed with exit code {process.returncode}")
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
