"""Count how often the interval of a small volume contains the material's fraction.

Many small volumes of one random process are simulated: balls about random points (NMC),
a binder that fills the necks between them (CBD), and pores. The fractions of the
material are the means of all. ``python benchmarks/coverage.py material --work DIR``
prints the share of 95% intervals that contain them, and the predicted and the true
scatter.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.io.volume import as_volume
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.progress import result_of
from napari_lrcs.uncertainty.trust.finite_volume import (
    FiniteVolume,
    finite_volumes,
    in_interface,
    in_phase,
)

SHAPE = (32, 128, 128)
RADII = (12.0, 16.0)
"""Voxels: a diameter of about a quarter of the rows, and most of the depth."""

BALLS = 0.48
MARGIN = 16
"""Voxels around a volume that are simulated with it, so that it has no border."""

NECK = 0.38
"""Share of balls in the surroundings above which the binder fills a pore."""

QUANTITIES = {
    **{phase.name: in_phase(phase.label) for phase in ELECTRODE},
    "pore–NMC": in_interface(1, 3),
    "CBD–NMC": in_interface(2, 3),
}


def simulate(seed: int, *, shape: Sequence[int] = SHAPE) -> Labels:
    """Simulate a volume; all of them are windows on the same material."""
    rng = np.random.default_rng(seed)
    room = np.array(shape) + 2 * MARGIN
    balls = scatter_balls(room, rng)
    near = ndimage.gaussian_filter(balls.astype(np.float32), 4, truncate=3)
    noise = ndimage.gaussian_filter(rng.standard_normal(room, np.float32), 2)
    # A Gaussian filter leaves the share (4 π σ²)^(-3/2) of the variance of white noise.
    near += 0.09 * noise * (4 * np.pi * 2**2) ** 0.75
    labels = np.where(
        balls, np.uint8(3), np.where(near > NECK, np.uint8(2), np.uint8(1))
    )
    inner = slice(MARGIN, -MARGIN)
    return labels[inner, inner, inner]


def scatter_balls(room: np.ndarray, rng: np.random.Generator) -> Mask:
    """Unite balls about the points of a Poisson process."""
    smallest, largest = RADII
    mean_cube = (largest**4 - smallest**4) / (4 * (largest - smallest))
    density = -np.log1p(-BALLS) / (4 / 3 * np.pi * mean_cube)
    around = room + 2 * largest
    n_balls = rng.poisson(density * around.prod())
    inside = np.zeros(room, np.bool_)
    for centre, radius in zip(
        rng.random((n_balls, 3)) * around - largest,
        rng.uniform(*RADII, n_balls),
        strict=True,
    ):
        low = np.ceil(centre - radius).clip(0, room).astype(int)
        high = np.floor(centre + radius + 1).clip(0, room).astype(int)
        z, y, x = (
            (np.arange(start, stop) - middle) ** 2
            for start, stop, middle in zip(low, high, centre, strict=True)
        )
        box = tuple(map(slice, low, high))
        squares = z[:, np.newaxis, np.newaxis] + y[:, np.newaxis] + x
        inside[box] |= squares <= radius**2
    return inside


def judge(n_volumes: int) -> Iterator[dict[str, FiniteVolume]]:
    """Judge one volume after another."""
    for seed in range(n_volumes):
        yield result_of(finite_volumes(as_volume(simulate(seed)), QUANTITIES))


def row(name: str, found: Sequence[FiniteVolume]) -> Mapping[str, object]:
    """Compare the intervals of one quantity with the mean of all volumes."""
    fractions = np.array([one.fraction for one in found])
    truth = fractions.mean()
    given = [one for one in found if not np.isnan(one.half_width)]
    holds = [abs(one.fraction - truth) <= one.half_width for one in given]
    return {
        "quantity": name,
        "truth": truth,
        "n_volumes": len(found),
        "n_without_interval": len(found) - len(given),
        "coverage": np.mean(holds),
        "sd": fractions.std(ddof=1),
        "predicted_sd": np.sqrt(np.mean([one.sd**2 for one in given])),
        "half_width": np.mean([one.half_width for one in given]),
        "n_effective": np.median([one.n_effective for one in given]),
    }


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print the table of the material."""
    print(
        "| quantity | fraction | sd | predicted sd | independent pieces | "
        "half-width | coverage | without interval |\n|" + "---|" * 8
    )
    for one in rows:
        print(
            "| {quantity} | {truth:.3f} | {sd:.4f} | {predicted_sd:.4f} | "
            "{n_effective:.0f} | {half_width:.3f} | {coverage:.3f} | "
            "{n_without_interval} of {n_volumes} |".format(**one)
        )


def run(n_volumes: int, *, out: Path | None) -> None:
    """Print the table, and write it as JSON."""
    judged = list(judge(n_volumes))
    rows = [row(name, [one[name] for one in judged]) for name in QUANTITIES]
    print_rows(rows)
    if out is not None:
        out.write_text(json.dumps(rows, indent=1, default=float))
