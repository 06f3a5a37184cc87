"""Compare suggested squares with random ones, by painting that is simulated.

A network learns from two squares that chance has placed. Then one square after the
other is filled from the truth, where a strategy says, and the network learns on for
some steps from its former weights. After each square the mean IoU on slices that
nothing has learnt from is written as a row of a CSV file; a run that was cut off is
begun anew by calling this again. ``python benchmarks/next_spot.py --out FILE`` draws
the curves beside the file, too.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from cases import DATA, ELECTRODE, FUEL_CELL, Case, in_processes
from matplotlib.ticker import MaxNLocator

from napari_lrcs.annotation.annotation import AnnotatedVolume, read_annotation
from napari_lrcs.annotation.spots import SPOT_SIZE, Squares, choose_square
from napari_lrcs.arrays import Confusion, Labels
from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.inference.painting.next_spot import SpotSearch, find_squares
from napari_lrcs.inference.predict import predict_slice
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.metrics.overlap import confusion_matrix, iou_per_phase, mean_iou
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import result_of
from napari_lrcs.training.loop import train
from napari_lrcs.training.transfer import Origin

Place = tuple[int, int, int]
"""Slice, first row and first column of a square."""

N_FIRST = 2
ENOUGH = 20
"""Pixels of each phase in the first squares; until then they are drawn anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A volume, the slices that may be painted, and those that judge."""

    case: Case
    paint: Sequence[int]
    validation: int
    test: Sequence[int]
    context_slices: int = 2


TASKS = (
    Task(
        case=Case("nmc-electrode", ELECTRODE),
        paint=[z for z in range(45) if abs(z - 30) > 2],
        validation=30,
        test=(50, 62, 74, 86, 98),
    ),
    Task(
        case=Case("nmc-real-a", ELECTRODE),
        paint=(0, 2),
        validation=1,
        test=(3, 4),
        context_slices=0,
    ),
    Task(
        case=Case("soc-nickel-ysz", FUEL_CELL, 4000),
        paint=[z for z in range(45) if abs(z - 30) > 2],
        validation=30,
        test=(50, 61, 72, 83, 94),
    ),
)


def least_sure(squares: Squares) -> int:
    """Choose the free square of the highest entropy."""
    return int(np.where(squares.is_free, squares.entropy, -np.inf).argmax())


def beyond_rims(squares: Squares) -> int:
    """Choose the free square of the highest entropy that no interface explains."""
    return int(np.where(squares.is_free, squares.excess, -np.inf).argmax())


def farthest(squares: Squares) -> int:
    """Choose, of the tenth with the most excess, what is least like anything known."""
    free = np.flatnonzero(squares.is_free)
    least_sure = free[np.argsort(-squares.excess[free])][: max(1, len(free) // 10)]
    looks = squares.looks / np.maximum(squares.looks.std(axis=0), 1e-9)
    known = looks[squares.is_known]
    distances = [np.linalg.norm(known - one, axis=1).min() for one in looks[least_sure]]
    return int(least_sure[int(np.argmax(distances))])


def suggested(squares: Squares) -> int:
    """Choose as the dock does."""
    chosen = choose_square(squares)
    assert chosen is not None
    return chosen


STRATEGIES: Mapping[str, Callable[[Squares], int] | None] = {
    "random": None,
    "suggested": suggested,
    "entropy": least_sure,
    "excess": beyond_rims,
    "farthest": farthest,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long the network learns, and how many squares are painted."""

    n_squares: int
    first_steps: int
    steps: int
    n_filters: int

    def config(self, task: Task, *, is_first: bool, seed: int) -> TrainConfig:
        """Return the settings of a training."""
        n_steps = self.first_steps if is_first else self.steps
        return PRESETS["quick"].with_changes(
            n_filters=self.n_filters,
            context_slices=task.context_slices,
            n_epochs=1,
            patches_per_epoch=8 * n_steps,
            patch_size=48,
            seed=seed,
        )


class Simulation:
    """A painting that grows by squares, and the network that learns from it."""

    def __init__(self, task: Task, *, effort: Effort, data: Path, seed: int) -> None:
        self._task, self._effort, self._seed = task, effort, seed
        self.image, truth = task.case.open(data)
        self.truth: Labels = truth.slab(0, truth.shape[0])
        self.labels = np.zeros_like(self.truth)
        self.labels[task.validation] = self.truth[task.validation]
        self.phases = PhaseTable.named(*task.case.phases)
        self.rng = np.random.default_rng(seed)
        self.painted: list[int] = []

    @property
    def painting(self) -> Volume:
        return as_labels(as_volume(self.labels, name="painting"))

    def random_place(self) -> Place:
        """Draw an unpainted square."""
        n_rows, n_columns = np.subtract(self.labels.shape[1:], SPOT_SIZE - 1)
        while True:
            z = int(self.rng.choice(self._task.paint))
            row, column = (int(self.rng.integers(n)) for n in (n_rows, n_columns))
            if not self._square(self.labels, (z, row, column)).any():
                return z, row, column

    def first_places(self) -> list[Place]:
        """Draw squares that show all phases."""
        while True:
            places = [self.random_place() for _ in range(N_FIRST)]
            shown = np.stack([self._square(self.truth, place) for place in places])
            counts = np.bincount(shown.ravel(), minlength=len(self.phases) + 1)
            if (counts[1:] >= ENOUGH).all():
                return places

    def paint(self, place: Place) -> None:
        """Fill a square from the truth."""
        self._square(self.labels, place)[...] = self._square(self.truth, place)
        self.painted = sorted({*self.painted, place[0]})

    def learn(self, run: Path, *, former: Path | None) -> None:
        """Train, from the former weights if there are any."""
        config = self._effort.config(
            self._task, is_first=former is None, seed=self._seed
        )
        volume = AnnotatedVolume(
            image=self.image,
            labels=self.painting,
            roles={
                "train": tuple(self.painted),
                "validation": (self._task.validation,),
            },
        )
        annotation = read_annotation([volume], config=config, phases=self.phases)
        origin = None if former is None else Origin(path=former)
        for _ in train(annotation, config=config, run=run, origin=origin):
            pass

    def score(self, run: Path) -> Confusion:
        """Count what the network makes of the slices that judge."""
        checkpoint = load_checkpoint(run)
        return sum(
            confusion_matrix(
                self.truth[z],
                result_of(predict_slice(self.image, checkpoint, z)),
                n_phases=len(self.phases),
            )
            for z in self._task.test
        )

    def place_by(self, choose: Callable[[Squares], int], run: Path) -> Place:
        """Search for the next square."""
        search = SpotSearch(
            image=self.image,
            painting=self.painting,
            axis="z",
            phases=self.phases,
            painted=tuple(self.painted),
            left_out=frozenset(range(len(self.labels))) - {*self._task.paint},
            seed=self._seed + 1000 * int(np.count_nonzero(self.labels)),
        )
        squares = result_of(find_squares(search, load_checkpoint(run)))
        assert squares is not None
        z, row, column = squares.places[choose(squares)].tolist()
        return z, row, column

    @staticmethod
    def _square(labels: Labels, place: Place) -> Labels:
        z, row, column = place
        return labels[z, row : row + SPOT_SIZE, column : column + SPOT_SIZE]


def simulate(
    run: tuple[Task, str, int], *, effort: Effort, data: Path
) -> list[dict[str, object]]:
    """Paint square after square; return a row for each training."""
    task, strategy, seed = run
    rows: list[dict[str, object]] = []
    simulation = Simulation(task, effort=effort, data=data, seed=seed)
    choose = STRATEGIES[strategy]
    places = simulation.first_places()
    for place in places:
        simulation.paint(place)
    with tempfile.TemporaryDirectory() as folder:
        former: Path | None = None
        for n in range(N_FIRST, effort.n_squares + 1):
            started = time.monotonic()
            learnt = Path(folder) / f"run-{n}"
            simulation.learn(learnt, former=former)
            confusion = simulation.score(learnt)
            row = {
                "data": task.case.title,
                "strategy": strategy,
                "repeat": seed,
                "n_squares": n,
                "mean_iou": round(mean_iou(confusion), 4),
                "ious": " ".join(f"{iou:.4f}" for iou in iou_per_phase(confusion)),
                "last_place": " ".join(map(str, places[-1])),
                "seconds": round(time.monotonic() - started, 1),
            }
            rows.append(row)
            place = (
                simulation.random_place()
                if choose is None
                else simulation.place_by(choose, learnt)
            )
            places.append(place)
            simulation.paint(place)
            former = learnt
    return rows


def read_complete(path: Path, n_squares: int) -> list[dict[str, str]]:
    """Read the rows of runs that have come to their end."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ended = {run_of(row) for row in rows if int(row["n_squares"]) >= n_squares}
    return [row for row in rows if run_of(row) in ended]


def run_of(row: Mapping[str, object]) -> tuple[str, str, str]:
    """Tell which run a row is of."""
    return str(row["data"]), str(row["strategy"]), str(row["repeat"])


def main() -> None:
    """Simulate what is missing in the file, and draw the curves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="CSV file")
    parser.add_argument("--only", metavar="TEXT", default="", help="data by its title")
    parser.add_argument("--strategies", nargs="+", default=[*STRATEGIES])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--squares", type=int, default=16)
    parser.add_argument("--first-steps", type=int, default=200)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    a = parser.parse_args()
    effort = Effort(
        n_squares=a.squares,
        first_steps=a.first_steps,
        steps=a.steps,
        n_filters=a.filters,
    )
    rows: list[Mapping[str, object]] = [*read_complete(a.out, a.squares)]
    known = {run_of(row) for row in rows}
    tasks = [task for task in TASKS if a.only in task.case.title]
    wanted = [
        (task, strategy, seed)
        for seed, task, strategy in product(range(a.repeats), tasks, a.strategies)
        if (task.case.title, strategy, str(seed)) not in known
    ]
    work = partial(simulate, effort=effort, data=a.data)
    for done in in_processes(work, wanted, n_jobs=a.jobs):
        rows.extend(done)
        write(a.out, rows)
    draw(rows, a.out.with_suffix(".png"))
    print_rows(rows)


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write all rows."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*rows[0]])
        writer.writeheader()
        writer.writerows(rows)


def curves(
    rows: Sequence[Mapping[str, object]],
) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Collect the scores of the repeats by data and strategy, and number of squares."""
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
        curve = found.setdefault((str(row["data"]), str(row["strategy"])), {})
        scores = curve.setdefault(int(str(row["n_squares"])), [])
        scores.append(float(str(row["mean_iou"])))
    return found


def draw(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Draw mean and standard deviation of the repeats over the squares painted."""
    found = curves(rows)
    titles = list(dict.fromkeys(title for title, _ in found))
    figure, axes = plt.subplots(
        1, len(titles), figsize=(4 * len(titles), 3.2), squeeze=False, layout="tight"
    )
    for axis, title in zip(axes[0], titles, strict=True):
        for i, strategy in enumerate(STRATEGIES):
            curve = found.get((title, strategy), {})
            mean = np.array([np.mean(s) for s in curve.values()])
            sd = np.array([np.std(s, ddof=1) for s in curve.values()])
            if curve:
                axis.plot([*curve], mean, color=f"C{i}", label=strategy)
                axis.fill_between(
                    [*curve], mean - sd, mean + sd, color=f"C{i}", alpha=0.15, lw=0
                )
        axis.set(title=title, xlabel="squares painted", ylabel="mean IoU")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, -1].legend(frameon=False)
    figure.savefig(path, dpi=150)


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print after how many squares each strategy has what random ones reach at last."""
    found = curves(rows)
    print("| data | strategy | repeats | at 8 | at the end | reaches random's end at |")
    print("|---|---|---|---|---|---|")
    for (title, strategy), curve in found.items():
        means = {n: float(np.mean(scores)) for n, scores in curve.items()}
        random = found.get((title, "random"))
        goal = float(np.mean(random[max(random)])) if random else np.nan
        reached = next((n for n, mean in means.items() if mean >= goal), "–")
        n_repeats = len(curve[max(curve)])
        print(
            f"| {title} | {strategy} | {n_repeats} | {means.get(8, np.nan):.3f} | "
            f"{means[max(means)]:.3f} | {reached} |"
        )


if __name__ == "__main__":
    main()
