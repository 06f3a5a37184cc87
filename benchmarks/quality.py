"""Compare networks, a random forest, k-means and thresholds, with the same slices.

Networks and the forest learn from the same painted slices; none sees a test slice.
Thresholds and k-means see the grey levels of the whole volume. What is random is
repeated with several seeds. Times are of the processor, training and test together: the
machine may be busy otherwise. Networks for comparison take as many steps as fit into
the time of the preset quick.

``python benchmarks/quality.py --out quality.csv`` computes what the file lacks, writes
each row as it comes, and prints the table; ``--ablation`` changes one thing at a time
in a network without any of the additions.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from cases import CASES, DATA, Case, by_baseline, learn, predict

from napari_lrcs.arrays import Confusion
from napari_lrcs.classical.baselines import Method
from napari_lrcs.comparison.evaluate import evaluate_volume
from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.inference.results import MemoryResult
from napari_lrcs.io.tables import Row, write_csv
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.metrics.overlap import accuracy, iou_per_phase, mean_iou
from napari_lrcs.models.registry import create_model

QUICK = PRESETS["quick"]
PLAIN = QUICK.with_changes(**TrainConfig.before)
"""Quick without what was added to the paper's network and training."""

MOST_PHASES = 4
TIMED_STEPS = 3
ABLATED = ("nmc-electrode", "nmc-real-a", "phantom")

Segment = Callable[[Case, Volume, Volume, int, MemoryResult], None]
"""Segments the test slices, from a seed."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to segment, and whether it depends on the seed."""

    segment: Segment
    is_random: bool = True


def by_network(
    config: TrainConfig,
    case: Case,
    image: Volume,
    labels: Volume,
    seed: int,
    result: MemoryResult,
) -> None:
    """Train a network and predict the test slices."""
    checkpoint = learn(case, image, labels, config=config.with_changes(seed=seed))
    predict(image, checkpoint, result=result, slices=case.test)


def by_other_network(
    model: str,
    case: Case,
    image: Volume,
    labels: Volume,
    seed: int,
    result: MemoryResult,
) -> None:
    """Train another network for the time that quick takes."""
    by_network(in_equal_time(model), case, image, labels, seed, result)


def without_network(
    method: Method,
    case: Case,
    image: Volume,
    labels: Volume,
    seed: int,
    result: MemoryResult,
) -> None:
    """Segment by a baseline."""
    del seed
    by_baseline(case, image, labels, method=method, result=result)


def in_equal_time(model: str) -> TrainConfig:
    """Give another network as many patches as fit into the time of quick."""
    config = PLAIN.with_changes(model=model)
    ratio = seconds_per_step(QUICK) / seconds_per_step(config)
    n_steps = QUICK.optimisation.patches_per_epoch / config.optimisation.batch_size
    return config.with_changes(
        patches_per_epoch=max(1, round(n_steps * ratio))
        * config.optimisation.batch_size
    )


@cache
def seconds_per_step(config: TrainConfig) -> float:
    """Time a network forwards and backwards."""
    network, optimisation = config.network, config.optimisation
    model = create_model(network, n_phases=3)
    side = optimisation.patch_size
    patches = torch.zeros(optimisation.batch_size, network.n_channels, side, side)
    started = 0.0
    for step in range(TIMED_STEPS + 1):
        if step == 1:  # the first one prepares memory
            started = time.process_time()
        model(patches).sum().backward()
    return (time.process_time() - started) / TIMED_STEPS


def compared() -> dict[str, Way]:
    """List the methods of the table."""
    networks = {
        "LRCS-Net, quick": QUICK,
        "LRCS-Net, best": PRESETS["best"],
    }
    others = {"U-Net, equal time": "unet", "SegNet, equal time": "segnet"}
    methods: dict[str, Method] = {
        "random forest": "forest",
        "k-means": "k_means",
        "Otsu": "otsu",
        "fractions": "fractions",
    }
    return {
        **{
            name: Way(partial(without_network, method), is_random=False)
            for name, method in methods.items()
        },
        **{name: Way(partial(by_network, config)) for name, config in networks.items()},
        **{name: Way(partial(by_other_network, m)) for name, m in others.items()},
    }


def ablated() -> dict[str, Way]:
    """List the ideas, each alone upon the plain network, and quick, which has some."""
    ideas: dict[str, dict[str, object]] = {
        "plain": {},
        "weights averaged": {"weight_averaging": 0.99},
        "half of the patches balanced": {"balance": 0.5},
        "filter responses, 3 scales": {"filter_scales": 3},
        "filter responses, 4 scales": {"filter_scales": 4},
        "skip connections": {"skip_connections": True},
        "skip connections and 4 scales": {"skip_connections": True, "filter_scales": 4},
        "three times the steps": {"n_epochs": 3 * PLAIN.optimisation.n_epochs},
        "twice the width": {"n_filters": 2 * PLAIN.network.n_filters},
        "cross-entropy alone": {"loss": "cross_entropy"},
        "Dice alone": {"loss": "dice"},
        "U-Net, as many steps": {"model": "unet"},
    }
    configs = {name: PLAIN.with_changes(**changes) for name, changes in ideas.items()}
    return {
        name: Way(partial(by_network, config))
        for name, config in {**configs, "quick": QUICK}.items()
    }


def main() -> None:
    """Compute what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="CSV file")
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--ablation", action="store_true", help="each idea alone")
    parser.add_argument("--only", default="", help="data whose title holds this text")
    parser.add_argument("--method", default="", help="methods whose name holds this")
    parser.add_argument("--table", action="store_true", help="only print the table")
    arguments = parser.parse_args()
    rows = read_rows(arguments.out)
    if not arguments.table:
        ways = ablated() if arguments.ablation else compared()
        cases = [
            case
            for case in CASES
            if arguments.only in case.title
            and (not arguments.ablation or case.name.startswith(ABLATED))
        ]
        wanted = {n: way for n, way in ways.items() if arguments.method in n}
        tasks = missing(cases, wanted, range(arguments.seeds), rows)
        for row in measured(tasks, wanted, data=arguments.data):
            rows.append(row)
            write_csv(arguments.out, rows)
            print(row, flush=True)
    print("\n".join(table(rows)))


def read_rows(path: Path) -> list[Row]:
    """Read what is measured."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


Task = tuple[Case, str, int]
"""Case, method and seed."""


def missing(
    cases: Iterable[Case],
    ways: Mapping[str, Way],
    seeds: Sequence[int],
    rows: Iterable[Row],
) -> list[Task]:
    """List what is not measured yet, one seed of all before the next."""
    done = {(row["data"], row["method"], str(row["seed"])) for row in rows}
    return [
        (case, name, seed)
        for seed in seeds
        for case in cases
        for name, way in ways.items()
        if (way.is_random or not seed) and (case.title, name, str(seed)) not in done
    ]


def measured(
    tasks: Iterable[Task], ways: Mapping[str, Way], *, data: Path
) -> Iterator[Row]:
    """Segment the test slices and score them."""
    for case, name, seed in tasks:
        image, labels = case.open(data)
        segmentation = np.zeros(image.shape, np.uint8)
        result = MemoryResult(labels=segmentation)
        started = time.process_time()
        ways[name].segment(case, image, labels, seed, result)
        seconds = time.process_time() - started
        confusion = evaluate_volume(
            as_volume(segmentation, name="prediction"),
            labels,
            phases=case.table,
            slices=case.test,
        )
        yield scored(case, name, seed, confusion=confusion, seconds=seconds)


def scored(
    case: Case, method: str, seed: int, *, confusion: Confusion, seconds: float
) -> Row:
    """Make a row of the file."""
    ious = [round(float(iou), 4) for iou in iou_per_phase(confusion)]
    ious += [float("nan")] * (MOST_PHASES - len(ious))
    return {
        "data": case.title,
        "method": method,
        "seed": seed,
        "accuracy": round(accuracy(confusion), 4),
        "mean_iou": round(mean_iou(confusion), 4),
        **{f"iou_{label}": iou for label, iou in enumerate(ious, start=1)},
        "cpu_seconds": round(seconds, 1),
    }


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Print mean ± standard deviation over the seeds, as Markdown."""
    yield "| data | method | seeds | mean IoU | IoU of each phase | processor time |"
    yield "|---|---|---|---|---|---|"
    for data, method in dict.fromkeys((row["data"], row["method"]) for row in rows):
        own = [row for row in rows if (row["data"], row["method"]) == (data, method)]
        ious = [spread(own, f"iou_{i}") for i in range(1, MOST_PHASES + 1)]
        seconds = np.mean([float(row["cpu_seconds"] or 0) for row in own])
        yield (
            f"| {data} | {method} | {len(own)} | {spread(own, 'mean_iou')} | "
            f"{', '.join(filter(None, ious))} | {seconds:.0f} s |"
        )


def spread(rows: Sequence[Row], name: str) -> str:
    """Format mean and standard deviation; empty if there is nothing."""
    values = np.array([float(row[name] or "nan") for row in rows])
    if np.isnan(values).all():
        return ""
    deviation = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{deviation}"


if __name__ == "__main__":
    main()
