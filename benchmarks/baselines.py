"""Score LRCS-Net beside thresholds, k-means and a random forest, as in Fig. 5d.

One slice trains (10), one validates (30), and the slices from 50 on are the test: no
method learns from their labels. Otsu and k-means see the grey levels of the whole
volume. The fractions are those of the training slice's labels, which a user would have
to know. The forest and LRCS-Net learn from the training slice alone; LRCS-Net is
trained with the preset quick, the same for all data, unless flags say otherwise.
``python benchmarks/baselines.py --out baselines.csv`` prints the table.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_lrcs.annotation.annotation import AnnotatedVolume, read_annotation
from napari_lrcs.annotation.painted_labels import count_phases
from napari_lrcs.arrays import Confusion
from napari_lrcs.classical.baselines import Method
from napari_lrcs.commands.parts import flags
from napari_lrcs.comparison.evaluate import evaluate_volume
from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results import MemoryResult
from napari_lrcs.inference.segment import BaselineTask, segment_volume
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.metrics.overlap import accuracy, iou_per_phase, mean_iou
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.loop import train

DATA = Path(__file__).parents[2] / "shared" / "data"
TRAIN, VALIDATION, TEST = 10, 30, 50
NOISE_SEED = 0
METHODS: Sequence[Method] = ("otsu", "fractions", "k_means", "forest")
TITLES: dict[Method | None, str] = {
    "otsu": "Otsu",
    "fractions": "fractions",
    "k_means": "k-means",
    "forest": "random forest",
    None: "LRCS-Net",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A volume of ../shared/data, its phases, and the noise added to it."""

    name: str
    phases: tuple[str, ...]
    noise: int = 0
    """Standard deviation of added Gaussian noise, in grey levels of uint16."""

    @property
    def title(self) -> str:
        return self.name + (f", σ = {self.noise}" if self.noise else "")

    def open(self, data: Path) -> tuple[Volume, Volume]:
        """Open the image, and the labels."""
        image = open_volume(data / f"{self.name}-raw.tif")
        labels = open_labels(data / f"{self.name}-labels.tif")
        if not self.noise:
            return image, labels
        grey = image.slab(0, image.shape[0]).astype(np.float64)
        rng = np.random.default_rng(NOISE_SEED)
        grey += rng.normal(0, self.noise, grey.shape)
        noisy = np.rint(grey).clip(0, 2**16 - 1).astype(np.uint16)
        return as_volume(noisy, name=self.title), labels


ELECTRODE = ("pore", "CBD", "NMC")
FUEL_CELL = ("pore", "YSZ", "Ni")
CASES = (
    Case("nmc-electrode", ELECTRODE),
    Case("soc-nickel-ysz", FUEL_CELL),
    Case("soc-nickel-ysz", FUEL_CELL, 4000),
    Case("soc-nickel-ysz", FUEL_CELL, 6000),
)


@dataclass(frozen=True, slots=True)
class Row:
    """Scores of one method on the test slices of one volume."""

    case: Case
    method: str
    confusion: Confusion
    seconds: float

    def cells(self) -> list[str]:
        scores = iou_per_phase(self.confusion)
        ious = [
            f"{n} {iou:.3f}" for n, iou in zip(self.case.phases, scores, strict=True)
        ]
        return [
            self.case.title,
            self.method,
            f"{accuracy(self.confusion):.3f}",
            f"{mean_iou(self.confusion):.3f}",
            *ious,
        ]

    def record(self) -> dict[str, str | int | float]:
        scores = iou_per_phase(self.confusion)
        phases = {
            f"phase_{i}": name for i, name in enumerate(self.case.phases, start=1)
        }
        return {
            "data": self.case.name,
            "noise": self.case.noise,
            "method": self.method,
            "accuracy": accuracy(self.confusion),
            "mean_iou": mean_iou(self.confusion),
            **phases,
            **{f"iou_{i}": float(iou) for i, iou in enumerate(scores, start=1)},
            "seconds": round(self.seconds, 1),
        }


def main() -> None:
    """Print the table, and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="CSV file")
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="data whose title holds this text"
    )
    flags.add_config(parser, TrainConfig)
    arguments = parser.parse_args()
    config = PRESETS["quick"].with_changes(**flags.given(arguments, TrainConfig))
    print("| data | method | accuracy | mean IoU | IoU of the phases |||")
    print("|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for case in CASES:
        if arguments.only in case.title:
            for row in scored(case, data=arguments.data, config=config):
                print(f"| {' | '.join(row.cells())} |", flush=True)
                rows.append(row)
                if arguments.out is not None:
                    write(arguments.out, rows)


def scored(case: Case, *, data: Path, config: TrainConfig) -> Iterator[Row]:
    """Score every method on the test slices of a volume."""
    image, labels = case.open(data)
    phases = PhaseTable.named(*case.phases)
    test = range(TEST, image.shape[0])
    segmentation = np.zeros(image.shape, np.uint8)
    predicted = as_volume(segmentation, name="prediction")
    for method in (*METHODS, None):
        started = time.monotonic()
        segmentation[:] = 0
        result = MemoryResult(labels=segmentation)
        if method is None:
            learn_and_predict(image, labels, phases, config=config, result=result)
        else:
            by_baseline(image, labels, phases, method=method, result=result)
        seconds = time.monotonic() - started
        confusion = evaluate_volume(predicted, labels, phases=phases, slices=test)
        yield Row(case, TITLES[method], confusion, seconds)


def by_baseline(
    image: Volume,
    labels: Volume,
    phases: PhaseTable,
    *,
    method: Method,
    result: MemoryResult,
) -> None:
    """Segment the volume without a network."""
    counts = count_phases(labels.slab(TRAIN, TRAIN + 1), n_phases=len(phases))
    task = BaselineTask(
        image=image,
        method=method,
        phases=phases,
        fractions=tuple(counts / counts.sum()) if method == "fractions" else None,
        labels=labels,
        train=(TRAIN,),
    )
    for _ in segment_volume(task, result=result):
        pass


def learn_and_predict(
    image: Volume,
    labels: Volume,
    phases: PhaseTable,
    *,
    config: TrainConfig,
    result: MemoryResult,
) -> None:
    """Train LRCS-Net, and segment the test slices."""
    volume = AnnotatedVolume(
        image=image,
        labels=labels,
        roles={"train": (TRAIN,), "validation": (VALIDATION,)},
    )
    annotation = read_annotation([volume], config=config, phases=phases)
    with tempfile.TemporaryDirectory() as folder:
        for _ in train(annotation, config=config, run=Path(folder) / "run"):
            pass
        checkpoint = load_checkpoint(Path(folder) / "run")
    test = range(TEST, image.shape[0])
    for _ in predict_volume(image, checkpoint, result=result, slices=test):
        pass


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write the scores as CSV."""
    records = [row.record() for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, records[0])
        writer.writeheader()
        writer.writerows(records)


if __name__ == "__main__":
    main()
