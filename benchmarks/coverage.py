"""Count how often the intervals of check patches contain the truth.

The truth is known here: patches are "painted" with it, drawn again and again with other
seeds, and the share of 95% intervals that contain the true value is the coverage.

``python benchmarks/coverage.py patches --work DIR`` segments each volume once (kept in
DIR), draws patches 200 times for 10, 20 and 40 of them, and prints the tables.
``pairs`` does so for differences of two segmentations, ``material`` for what small
volumes tell of their material (``material.py``).
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import material
import numpy as np
from cases import (
    DATA,
    ELECTRODE,
    FUEL_CELL,
    Case,
    Phantom,
    by_baseline,
    learn,
    predict,
)

from napari_lrcs.annotation.check_patches import (
    CheckDesign,
    CheckPatch,
    Tiles,
    tile_edges,
)
from napari_lrcs.arrays import Labels
from napari_lrcs.config import PRESETS
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.composition import Composition
from napari_lrcs.metrics.counting import compose, compose_inner
from napari_lrcs.metrics.overlap import confusion_matrix
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.trust.judged import (
    Comparison,
    Estimated,
    Judged,
    compare,
    estimate_all,
    judge_all,
)
from napari_lrcs.uncertainty.trust.patch_counts import PatchCounts

NUMBERS = (10, 20, 40)
LEVEL = 0.95
BLOCK = 16
"""Pixels of the squares in which a segmentation is replaced by a worse one."""

Segment = Callable[[Case, Volume, Volume], Labels]


def by_network(case: Case, image: Volume, labels: Volume) -> Labels:
    """Train LRCS-Net with the preset quick on one slice, and predict all."""
    segmentation = np.zeros(image.shape, np.uint8)
    checkpoint = learn(case, image, labels, config=PRESETS["quick"])
    predict(image, checkpoint, result=MemoryResult(labels=segmentation))
    return segmentation


def by_forest(case: Case, image: Volume, labels: Volume) -> Labels:
    """Train the random forest on one slice."""
    segmentation = np.zeros(image.shape, np.uint8)
    result = MemoryResult(labels=segmentation)
    by_baseline(case, image, labels, method="forest", result=result)
    return segmentation


def by_otsu(case: Case, image: Volume, labels: Volume) -> Labels:
    """Segment badly."""
    segmentation = np.zeros(image.shape, np.uint8)
    result = MemoryResult(labels=segmentation)
    by_baseline(case, image, labels, method="otsu", result=result)
    return segmentation


def by_drifting(case: Case, image: Volume, labels: Volume) -> Labels:
    """Mix the truth with Otsu's result, whose share grows from 0 to 1 along z."""
    truth = labels.slab(0, labels.shape[0])
    n_z, n_y, n_x = truth.shape
    rng = np.random.default_rng(0)
    chance = rng.random((n_z, -(-n_y // BLOCK), -(-n_x // BLOCK)))
    is_bad = chance < np.linspace(0, 1, n_z)[:, np.newaxis, np.newaxis]
    is_bad = is_bad.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)[:, :n_y, :n_x]
    return np.where(is_bad, by_otsu(case, image, labels), truth).astype(np.uint8)


ROWS: Sequence[tuple[Case, str, Segment]] = (
    (Case("nmc-electrode", ELECTRODE), "LRCS-Net", by_network),
    (Case("nmc-electrode", ELECTRODE), "random forest", by_forest),
    (Case("nmc-electrode", ELECTRODE), "Otsu", by_otsu),
    (Case("nmc-electrode", ELECTRODE), "drifting to Otsu", by_drifting),
    (Case("soc-nickel-ysz", FUEL_CELL, 4000), "LRCS-Net", by_network),
    (Phantom("phantom", ELECTRODE, shape=(96, 256, 256)), "LRCS-Net", by_network),
)


@dataclass
class Judged3D:
    """A segmentation and its truth, with the counts of every tile."""

    title: str
    phases: PhaseTable
    truth: Labels
    predicted: Labels
    size: int

    @cached_property
    def tiles(self) -> dict[tuple[int, int, int], PatchCounts]:
        """Counts of each tile, by its corner."""
        n_z, n_y, n_x = self.truth.shape
        return {
            (z, y, x): self._count(z, y, x)
            for z in range(n_z)
            for y in tile_edges(n_y, self.size)[:-1]
            for x in tile_edges(n_x, self.size)[:-1]
        }

    def _count(self, z: int, y: int, x: int) -> PatchCounts:
        _, n_y, n_x = self.truth.shape
        bottom, right = (
            int(min(edge for edge in tile_edges(n, self.size) if edge > first))
            for n, first in ((n_y, y), (n_x, x))
        )
        known = range(1, len(self.phases) + 1)
        top, left = max(y - 1, 0), max(x - 1, 0)
        key = (
            slice(z, z + 1),
            slice(top, bottom + 1),
            slice(left, right + 1),
        )
        inner = (
            slice(0, 1),
            slice(y - top, bottom - top),
            slice(x - left, right - left),
        )
        own, found = (
            compose_inner(part[key], inner, labels=known, neighbourhood=8)
            for part in (self.truth, self.predicted)
        )
        return PatchCounts(
            painted=(own,),
            predicted=(found,),
            confusion=confusion_matrix(
                self.truth[key][inner],
                self.predicted[key][inner],
                n_phases=len(self.phases),
            )[np.newaxis],
        )

    @cached_property
    def wholes(self) -> tuple[Composition, Composition]:
        """Counts of the truth and of the prediction."""
        n = len(self.phases)
        return (
            compose(self.truth, n_phases=n, neighbourhood=8),
            compose(self.predicted, n_phases=n, neighbourhood=8),
        )

    @cached_property
    def true_values(self) -> dict[str, float]:
        """What is estimated, by its title."""
        confusion = confusion_matrix(
            self.truth, self.predicted, n_phases=len(self.phases)
        )
        whole = PatchCounts(
            painted=(self.wholes[0],),
            predicted=(self.wholes[1],),
            confusion=confusion[np.newaxis],
        )
        estimated = estimate_all(self.wholes[1], whole, phases=self.phases)
        judged = judge_all(estimated, confidence_level=LEVEL)
        return {q.title: q.value for q in judged}

    def draw(self, n_patches: int, seed: int) -> tuple[CheckPatch, ...]:
        """Draw patches as the product does."""
        design = CheckDesign(shape=self.truth.shape, size=self.size, seed=seed)
        n_z, n_y, n_x = self.truth.shape
        per_slice = (len(tile_edges(n_y, self.size)) - 1) * (
            len(tile_edges(n_x, self.size)) - 1
        )
        tiles = Tiles(
            design=design,
            n_tiles=np.full(n_z, per_slice),
            n_voxels=np.full(n_z, n_y * n_x),
        )
        whole = np.ones((n_y, n_x), np.bool_)
        return tiles.draw(n_patches, inside=lambda _: whole)

    def estimate(self, patches: Sequence[CheckPatch]) -> Estimated:
        """Estimate all quantities from patches that are painted with the truth."""
        parts = [self.tiles[p.z, p.y, p.x] for p in patches]
        counts = PatchCounts(
            painted=tuple(p for part in parts for p in part.painted),
            predicted=tuple(p for part in parts for p in part.predicted),
            confusion=np.concatenate([part.confusion for part in parts]),
        )
        return Estimated(
            name=self.title,
            estimates=estimate_all(self.wholes[1], counts, phases=self.phases),
        )


def segmented(work: Path, data: Path, *, only: str, size: int) -> Iterator[Judged3D]:
    """Open what was segmented before, or segment it."""
    for case, method, segment in ROWS:
        title = f"{case.title}, {method}"
        if only not in title:
            continue
        image, labels = case.open(data)
        file = work / f"{title.replace(' ', '-').replace(',', '')}.npy"
        if not file.exists():
            np.save(file, segment(case, image, labels))
        truth = labels.slab(0, labels.shape[0])
        yield Judged3D(title, case.table, truth, np.load(file), size)


def cover(
    case: Judged3D, n_patches: int, *, n_draws: int
) -> list[Mapping[str, object]]:
    """Draw patches again and again; return a row for each quantity."""
    found: dict[str, list[Judged]] = {}
    for seed in range(n_draws):
        estimated = case.estimate(case.draw(n_patches, seed))
        for q in judge_all(estimated.estimates, confidence_level=LEVEL):
            found.setdefault(q.title, []).append(q)
    return [
        {
            "case": case.title,
            "n_patches": n_patches,
            "quantity": title,
            "truth": case.true_values[title],
            "predicted": judged[0].predicted,
            **covered(judged, case.true_values[title]),
        }
        for title, judged in found.items()
    ]


def covered(judged: Sequence[Judged], truth: float) -> Mapping[str, float]:
    """Count the intervals that contain the truth, of those that were given."""
    given = [q for q in judged if not q.reason]
    holds = [q.low <= truth <= q.high for q in given]
    return {
        "n_refused": len(judged) - len(given),
        "coverage": float(np.mean(holds)) if holds else float("nan"),
        "half_width": float(np.mean([q.half_width for q in given]))
        if given
        else float("nan"),
    }


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table of one case: a line per quantity, columns per number of patches."""
    numbers = sorted({int(str(row["n_patches"])) for row in rows})
    print(f"\n**{rows[0]['case']}**\n")
    print(
        "| quantity | truth | prediction | "
        + " | ".join(f"{n} patches" for n in numbers)
        + " |"
    )
    print("|---|---|---|" + "---|" * len(numbers))
    for title in dict.fromkeys(str(row["quantity"]) for row in rows):
        own = [row for row in rows if row["quantity"] == title]
        cells = [
            f"{row['coverage']:.3f} (± {100 * float(str(row['half_width'])):.2f})"
            + (f", {row['n_refused']} refused" if row["n_refused"] else "")
            for row in own
        ]
        first = own[0]
        print(
            f"| {title} | {100 * float(str(first['truth'])):.2f} | "
            f"{100 * float(str(first['predicted'])):.2f} | {' | '.join(cells)} |",
            flush=True,
        )


def patches(arguments: argparse.Namespace) -> None:
    """Print the coverage of all rows, and write it as JSON."""
    rows = []
    for case in segmented(
        arguments.work, arguments.data, only=arguments.only, size=arguments.size
    ):
        own = [row for n in NUMBERS for row in cover(case, n, n_draws=arguments.draws)]
        print_rows(own)
        rows += own
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rows, indent=1))


def pairs(arguments: argparse.Namespace) -> None:
    """Compare LRCS-Net with the forest: width and coverage of paired intervals."""
    network, forest = (
        segmented(
            arguments.work, arguments.data, only="nmc-electrode, ", size=arguments.size
        ),
        None,
    )
    first, second, *_ = network
    del forest
    print("| patches | quantity | difference | coverage | half width | separate ones |")
    print("|---|---|---|---|---|---|")
    for n in NUMBERS:
        found: dict[str, list[tuple[Judged, float]]] = {}
        for seed in range(arguments.draws):
            places = first.draw(n, seed)
            one, other = first.estimate(places), second.estimate(places)
            separate = [
                {
                    q.title: q.half_width
                    for q in judge_all(e.estimates, confidence_level=LEVEL)
                }
                for e in (one, other)
            ]
            compared: Comparison = compare(one, other, confidence_level=LEVEL)
            for d in compared.differences:
                both = separate[0][d.title] + separate[1][d.title]
                found.setdefault(d.title, []).append((d, both))
        for title, judged in found.items():
            truth = first.true_values[title] - second.true_values[title]
            row = covered([d for d, _ in judged], truth)
            both = float(np.mean([width for _, width in judged]))
            print(
                f"| {n} | {title} | {100 * truth:.2f} | {row['coverage']:.3f} | "
                f"{100 * row['half_width']:.2f} | {100 * both:.2f} |",
                flush=True,
            )


def main() -> None:
    """Run one of the parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts: Mapping[str, Callable[[argparse.Namespace], None]] = {
        "patches": patches,
        "pairs": pairs,
        "material": lambda given: material.run(given.draws, out=given.out),
    }
    parser.add_argument("part", choices=parts)
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    parser.add_argument("--work", type=Path, required=True, help="folder to keep files")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="rows whose title holds this text"
    )
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    parts[arguments.part](arguments)


if __name__ == "__main__":
    main()
