"""Measure how wide perturbed interfaces are, how long that takes, and what it changes.

``python benchmarks/perturb.py`` prints tables for ``benchmarks/RESULTS.md``; the last
one, of what each kernel changes on the electrode, where ../shared/data is.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from napari_lrcs.arrays import Labels
from napari_lrcs.config import Kernel, PerturbConfig
from napari_lrcs.metrics.overlap import confusion_matrix, iou_per_phase
from napari_lrcs.uncertainty.perturbation.histogram import (
    InterfaceHistogram,
    interface_histogram,
    interface_widths,
    usual_simulations,
)
from napari_lrcs.uncertainty.perturbation.perturb import (
    Dimensions,
    Perturbation,
    changed_share,
)
from napari_lrcs.uncertainty.perturbation.suggestion import suggest_perturbation

KERNELS: tuple[Kernel, ...] = (
    "cross",
    "ball_2",
    "cube_3",
    "ball_5",
    "cube_5",
    "cube_7",
)
ELECTRODE = Path(__file__).parents[2] / "shared/data/nmc-electrode-labels.tif"


def main() -> None:
    """Print the tables."""
    print("| phantom | kernel | width | mean shift | fits | failed |\n|" + "---|" * 6)
    for name, labels in phantoms():
        for kernel in KERNELS:
            print(f"| {name} | {kernel} | {widths(labels, kernel)} |", flush=True)
    print("\n| simulations | wall | processor |\n|---|---|---|")
    for shape in ((512, 512), (20, 512, 512)):
        print(f"| {duration(shape)} |", flush=True)
    if ELECTRODE.is_file():
        print("\n| kernel | dimensions | changed | IoU of each phase |\n|" + "---|" * 4)
        labels = tifffile.imread(ELECTRODE)
        for kernel in KERNELS:
            for dimensions in (2, 3):
                print(f"| {changes(labels, kernel, dimensions)} |", flush=True)
        print(f"\nsuggested for 10%: {suggest_perturbation(labels)}")


def phantoms() -> Iterator[tuple[str, Labels]]:
    """Make phases that are at least 40 voxels thick."""
    yield "flat 2D", flat((180, 256))
    yield "circles 2D", curved((240, 240), radii=(50, 100))
    yield "flat 3D", flat((20, 180, 96))
    yield "sphere 3D", curved((48, 130, 130), radii=(42,))


def flat(shape: tuple[int, ...], *, thickness: int = 60) -> Labels:
    """Make layers of three phases across the axis before the last one."""
    layers = np.arange(shape[-2]) // thickness % 3 + 1
    return np.broadcast_to(layers[:, np.newaxis], shape).astype(np.uint8)


def curved(shape: tuple[int, ...], *, radii: tuple[int, ...]) -> Labels:
    """Make a phase in a phase, around the middle."""
    middle = np.array(shape).reshape(-1, *[1] * len(shape)) / 2
    distance = np.sqrt(((np.indices(shape) - middle) ** 2).sum(axis=0))
    labels: Labels = np.digitize(distance, radii).astype(np.uint8)
    return labels + np.uint8(1)


def widths(labels: Labels, kernel: Kernel) -> str:
    """Fit Gaussians across the interfaces of as many simulations as the paper's."""
    histogram = simulate(labels, PerturbConfig(kernel=kernel))
    found = interface_widths(histogram, labels)
    cells = (
        f"{found.median_fwhm:.2f}",
        f"{found.mean_shift:+.3f}",
        found.n_fitted,
        found.n_failed,
    )
    return " | ".join(map(str, cells))


def simulate(labels: Labels, config: PerturbConfig) -> InterfaceHistogram:
    dimensions: Dimensions = 2 if labels.ndim == 2 else 3
    *_, last = interface_histogram(
        labels, config=config, n_simulations=usual_simulations(dimensions), seed=0
    )
    assert isinstance(last, InterfaceHistogram)
    return last


def duration(shape: tuple[int, ...]) -> str:
    """Time the default perturbation of layers of 64 voxels."""
    wall, processor = time.perf_counter(), time.process_time()
    histogram = simulate(flat(shape, thickness=64), PerturbConfig())
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    size = " × ".join(map(str, shape))
    return f"{histogram.n_simulations} of {size} | {wall:.1f} s | {processor:.1f} s"


def changes(labels: Labels, kernel: Kernel, dimensions: Dimensions) -> str:
    """Perturb once, and compare with what was painted."""
    config = PerturbConfig(kernel=kernel)
    perturbation = Perturbation(labels, config, dimensions=dimensions)
    perturbed = perturbation.draw(np.random.default_rng((0, 0)))
    iou = iou_per_phase(confusion_matrix(labels, perturbed, n_phases=3))
    cells = ", ".join("–" if math.isnan(share) else f"{share:.3f}" for share in iou)
    return f"{kernel} | {dimensions} | {changed_share(labels, perturbed):.1%} | {cells}"


if __name__ == "__main__":
    main()
