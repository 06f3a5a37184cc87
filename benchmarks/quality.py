"""Compare networks, a random forest, k-means and thresholds, with the same slices.

Networks and the forest learn from the same painted slices; none sees the labels of a
test slice. Thresholds and k-means see the grey levels of the whole volume. What is
random is repeated with several seeds. Networks for comparison take as many steps as fit
into the time of the preset quick on a processor, which ``--pace`` measures.

``python benchmarks/quality.py --out quality.csv`` computes what the file lacks, writes
each row as it comes, and prints the table. ``--sets ablation`` changes one thing at a
time in a network without any of the additions; ``--sets candidates`` is what the
presets were chosen from, by the score in validation. ``--jobs`` processes share a GPU.
"""

import argparse
import csv
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from cases import CASES, DATA, Case, in_processes
from methods import (
    TURNS,
    Way,
    baseline,
    members,
    network,
    pre_trained,
    self_trained,
    turned,
    weighted,
)

from napari_lrcs.arrays import Confusion
from napari_lrcs.comparison.evaluate import evaluate_volume
from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.tables import Row, write_csv
from napari_lrcs.io.volume import as_volume
from napari_lrcs.metrics.overlap import accuracy, iou_per_phase, mean_iou
from napari_lrcs.models.device import arithmetic, resolve_precision
from napari_lrcs.models.registry import create_model

QUICK = PRESETS["quick"]
PLAIN = TrainConfig().with_changes(**TrainConfig.before, n_epochs=12)
"""The paper's network, in the width and with the steps of the first preset quick."""

PAPER = PRESETS["paper"].with_changes(patches_per_epoch=600)
"""As far as practical: 1,500 steps of the paper's 30,000."""

LONG = {"n_epochs": 36, "patience": 12}
"""Three times the steps, unless the validation stops getting better."""

COLUMNS = {
    "validation": "Mean IoU, validation slices",
    "mean_iou": "Mean IoU, test slices",
    "iou_2": "IoU of the second phase, test slices",
    "iou_3": "IoU of the third phase, test slices",
}

MOST_PHASES = 4
TIMED_STEPS = 10
ABLATED = ("nmc-electrode", "nmc-real-a", "phantom")

STEPS_IN_EQUAL_TIME = {"unet": 0.81, "segnet": 0.94}
"""For one of quick, on two cores of a processor: ``--pace``."""


def compared() -> dict[str, Way]:
    """List the methods of the table."""
    return {
        "random forest": baseline("forest"),
        "k-means": baseline("k_means"),
        "Otsu": baseline("otsu"),
        "fractions": baseline("fractions"),
        "LRCS-Net, quick": network(QUICK),
        "LRCS-Net, best": network(PRESETS["best"]),
        "LRCS-Net, paper, 1,500 steps": network(PAPER),
        "U-Net, equal time": network(in_equal_time("unet")),
        "SegNet, equal time": network(in_equal_time("segnet")),
        "U-Net, long": network(other("unet").with_changes(**LONG)),
        "SegNet, long": network(other("segnet").with_changes(**LONG)),
    }


def other(model: str) -> TrainConfig:
    """Give another network the training of quick."""
    return QUICK.with_changes(model=model, skip_connections=False, filter_scales=0)


def in_equal_time(model: str) -> TrainConfig:
    """Give another network as many patches as fit into the time of quick."""
    own = QUICK.optimisation
    n_steps = own.patches_per_epoch / own.batch_size * STEPS_IN_EQUAL_TIME[model]
    return other(model).with_changes(patches_per_epoch=round(n_steps) * own.batch_size)


BOTH = {"skip_connections": True, "filter_scales": 4}
IDEAS: Mapping[str, Mapping[str, object]] = {
    "plain": {},
    "weights averaged": {"weight_averaging": 0.99},
    "half of the patches balanced": {"balance": 0.5},
    "filter responses, 3 scales": {"filter_scales": 3},
    "filter responses, 4 scales": {"filter_scales": 4},
    "skip connections": {"skip_connections": True},
    "skip connections and 4 scales": BOTH,
    "the same, weights averaged, balanced": {
        **BOTH,
        "weight_averaging": 0.99,
        "balance": 0.5,
    },
    "three times the steps, stopped early": LONG,
    "twice the width": {"n_filters": 32},
    "cross-entropy alone": {"loss": "cross_entropy"},
    "Dice alone": {"loss": "dice"},
    "U-Net, as many steps": {"model": "unet"},
    "SegNet, as many steps": {"model": "segnet"},
}
"""What is changed in the plain network."""


def ablated() -> dict[str, Way]:
    """List the ideas, each alone upon the plain network."""
    return {
        **{name: network(PLAIN.with_changes(**own)) for name, own in IDEAS.items()},
        "phases weighted by their share": weighted(PLAIN),
        "eight turns averaged at prediction": turned(PLAIN),
        "self-training": self_trained(PLAIN),
        "pre-training on hidden pixels": pre_trained(PLAIN),
        "mean of three networks": members(PLAIN),
    }


def candidates() -> dict[str, Way]:
    """List what the presets were chosen from."""
    settings: dict[str, dict[str, object]] = {
        "averaged": {"n_epochs": 12},
        "averaged, balanced": {"n_epochs": 12, "balance": 0.5},
        "skips, balanced": {"n_epochs": 10, "skip_connections": True, "balance": 0.5},
        "4 scales, balanced": {"n_epochs": 12, "filter_scales": 4, "balance": 0.5},
        "skips, 4 scales": {
            "n_epochs": 9,
            "skip_connections": True,
            "filter_scales": 4,
        },
        "skips, 4 scales, balanced": {
            "n_epochs": 9,
            "skip_connections": True,
            "filter_scales": 4,
            "balance": 0.5,
        },
        "skips, 4 scales, a quarter balanced": {
            "n_epochs": 9,
            "skip_connections": True,
            "filter_scales": 4,
            "balance": 0.25,
        },
        "skips, 3 scales, balanced": {
            "n_epochs": 9,
            "skip_connections": True,
            "filter_scales": 3,
            "balance": 0.5,
        },
    }
    wide = {"skip_connections": True, "filter_scales": 4, "balance": 0.5}
    best: dict[str, dict[str, object]] = {
        "best, 24 filters": {**wide, "n_filters": 24, "n_epochs": 20},
        "best, 24 filters, not balanced": {
            **wide,
            "n_filters": 24,
            "n_epochs": 20,
            "balance": 0.0,
        },
        "best, 32 filters": {**wide, "n_filters": 32, "n_epochs": 20},
        "best, 24 filters, 40 epochs": {**wide, "n_filters": 24, "n_epochs": 40},
    }
    others: dict[str, dict[str, object]] = {
        "U-Net, 400 steps": {"model": "unet", "patches_per_epoch": 264, "balance": 0.5},
        "SegNet, 480 steps": {
            "model": "segnet",
            "patches_per_epoch": 320,
            "balance": 0.5,
        },
        "U-Net, 1,800 steps": {"model": "unet", "balance": 0.5, **LONG},
        "SegNet, 1,800 steps": {"model": "segnet", "balance": 0.5, **LONG},
    }
    averaged = PLAIN.with_changes(weight_averaging=0.99)
    return {
        name: network(averaged.with_changes(**own))
        for name, own in {**settings, **best, **others}.items()
    }


def averages() -> dict[str, Way]:
    """List the means of several predictions, by networks of the preset quick."""
    return {
        "quick, itself": network(QUICK),
        "quick, eight turns": turned(QUICK),
        "quick, mean of three": members(QUICK),
        "quick, mean of three, eight turns": members(QUICK, how=TURNS),
        "quick, long": network(QUICK.with_changes(**LONG)),
        "quick, long, eight turns": turned(QUICK.with_changes(**LONG)),
    }


SETS = {
    "table": compared,
    "ablation": ablated,
    "candidates": candidates,
    "averages": averages,
}


def main() -> None:
    """Compute what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="CSV file")
    parser.add_argument("--sets", nargs="+", choices=[*SETS], default=["table"])
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--only", default="", help="data whose title holds this text")
    parser.add_argument("--method", default="", help="methods whose name holds this")
    parser.add_argument("--networks", type=Path, help="folder that keeps networks")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.add_argument("--pace", action="store_true", help="only time the steps")
    arguments = parser.parse_args()
    if arguments.pace:
        print("\n".join(pace()))
        return
    if arguments.out is None:
        parser.error("expected a file: --out quality.csv")
    rows = read_rows(arguments.out)
    if not arguments.table:
        tasks = missing(arguments, rows)
        if arguments.networks is not None:
            arguments.networks.mkdir(parents=True, exist_ok=True)
        work = partial(measure, data=arguments.data, networks=arguments.networks)
        for row in in_processes(work, tasks, n_jobs=arguments.jobs):
            rows.append(row)
            write_csv(arguments.out, rows)
            print(row, flush=True)
    print("\n".join(tables(rows, arguments.sets)))


def read_rows(path: Path) -> list[Row]:
    """Read what is measured."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


Task = tuple[str, str, Case, int]
"""Set, method, case and seed."""


def missing(arguments: argparse.Namespace, rows: Iterable[Row]) -> list[Task]:
    """List what is not measured yet, one seed of all before the next."""
    done = {(row["data"], row["method"], str(row["seed"])) for row in rows}
    return [
        (name_of_set, name, case, seed)
        for seed in range(arguments.seeds)
        for name_of_set in arguments.sets
        for name, way in SETS[name_of_set]().items()
        for case in CASES
        if arguments.method in name
        and arguments.only in case.title
        and (name_of_set != "ablation" or case.name.startswith(ABLATED))
        and (way.is_random or not seed)
        and (case.title, name, str(seed)) not in done
    ]


def measure(task: Task, *, data: Path, networks: Path | None) -> Row:
    """Segment the test slices and score them."""
    name_of_set, name, case, seed = task
    case = replace(case, networks=networks)
    image, labels = case.open(data)
    segmentation = np.zeros(image.shape, np.uint8)
    result = MemoryResult(labels=segmentation)
    started = time.monotonic(), time.process_time()
    way = SETS[name_of_set]()[name]
    validation = way.segment(case, image, labels, seed, result)
    seconds = time.monotonic() - started[0], time.process_time() - started[1]
    confusion = evaluate_volume(
        as_volume(segmentation, name="prediction"),
        labels,
        phases=case.table,
        slices=case.test,
    )
    return {
        "data": case.title,
        "method": name,
        "seed": seed,
        "validation": round(validation, 4),
        **scored(confusion),
        "seconds": round(seconds[0], 1),
        "cpu_seconds": round(seconds[1], 1),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def scored(confusion: Confusion) -> Row:
    """Return the scores of the test slices."""
    ious = [round(float(iou), 4) for iou in iou_per_phase(confusion)]
    ious += [float("nan")] * (MOST_PHASES - len(ious))
    return {
        "accuracy": round(accuracy(confusion), 4),
        "mean_iou": round(mean_iou(confusion), 4),
        **{f"iou_{label}": iou for label, iou in enumerate(ious, start=1)},
    }


def pace() -> Iterator[str]:
    """Time the steps of networks in turn, and compare them with those of plain."""
    configs = {
        **{name: PLAIN.with_changes(**own) for name, own in IDEAS.items()},
        "quick": QUICK,
        "best": PRESETS["best"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in configs}
    for _ in range(TIMED_STEPS):
        for name, config in configs.items():
            seconds[name].append(seconds_per_step(config))
    medians = {name: float(np.median(s)) for name, s in seconds.items()}
    for name, median in medians.items():
        yield f"a step of {name}: {median / medians['plain']:.2f} × one of plain"


def seconds_per_step(config: TrainConfig) -> float:
    """Time a network forwards and backwards, after once for its memory."""
    own, n_context = config.optimisation, config.network.n_channels
    model = create_model(config.network, n_phases=3)
    patches = torch.rand(own.batch_size, n_context, own.patch_size, own.patch_size)
    device = torch.device("cpu")
    precision = resolve_precision("auto", device)
    for _ in range(2):
        started = time.perf_counter()
        with arithmetic(precision, device):
            logits = model(patches.contiguous(memory_format=torch.channels_last))
        logits.float().sum().backward()
    return time.perf_counter() - started


def tables(rows: Sequence[Row], sets: Iterable[str]) -> Iterator[str]:
    """Print a Markdown table per set and score, mean ± standard deviation of seeds."""
    for name_of_set, column in product(sets, COLUMNS):
        methods = SETS[name_of_set]()
        own = [row for row in rows if row["method"] in methods]
        titles = [
            case.title for case in CASES if case.title in {r["data"] for r in own}
        ]
        yield f"\n{COLUMNS[column]}\n"
        yield f"| {name_of_set} | {' | '.join(titles)} |"
        yield "|---" * (len(titles) + 1) + "|"
        for method in methods:
            cells = [
                spread(
                    [r for r in own if (r["method"], r["data"]) == (method, t)], column
                )
                for t in titles
            ]
            if any(cells):
                yield f"| {method} | {' | '.join(cells)} |"


def spread(rows: Sequence[Row], column: str) -> str:
    """Format mean and standard deviation; empty if there is nothing."""
    values = np.array([float(row[column] or "nan") for row in rows])
    if np.isnan(values).all():
        return ""
    deviation = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{deviation}".replace("0.", ".")


if __name__ == "__main__":
    main()
