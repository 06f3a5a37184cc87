"""Make the figures and all numbers of docs/paper.md, from real data.

python docs/paper.py WORK [--data ../shared/data] [--only PART ...]

All of it takes about an hour and a half on two cores. A search or a comparison that was
stopped goes on when the command is given again; what is complete is not computed again.
It needs the extra ``search``.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from reporting import fill, table

from napari_lrcs.annotation.annotation import AnnotatedVolume, read_annotation
from napari_lrcs.annotation.painting.labels import count_phases
from napari_lrcs.arrays import Confusion, Labels
from napari_lrcs.classical.baselines import Method
from napari_lrcs.comparison.evaluate import evaluate_volume
from napari_lrcs.config import PRESETS, SearchConfig, TrainConfig
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.inference.segment import BaselineTask, segment_volume
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.metrics.overlap import accuracy, iou_per_phase, mean_iou
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.search.figures import FIGURES, draw_curves, write_search_figures
from napari_lrcs.search.folder import SearchFolder
from napari_lrcs.search.results import SearchFindings
from napari_lrcs.search.search import run_search
from napari_lrcs.search.space import SearchSpace, describe
from napari_lrcs.search.task import SearchTask
from napari_lrcs.training.loop import train
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.transfer.figures import FIGURE as TRANSFER_FIGURE
from napari_lrcs.transfer.folder import TransferFolder
from napari_lrcs.transfer.plan import TransferTask
from napari_lrcs.transfer.transfer import compare_starts

DOCS = Path(__file__).parent
PAGE = DOCS / "paper.md"
FUEL_CELL = PhaseTable.named("pore", "YSZ", "Ni")
NOISE_SEED = 0
SEEDS = (0, 1, 2)

STEPPED = PRESETS["quick"].with_changes(
    context_slices=0,
    schedule="step",
    decay_ratio=0.3,
    batch_size=4,
    n_epochs=5,
    patches_per_epoch=80,
    patch_size=96,
)
"""The paper's schedule, for as many patches as two cores train on in some seconds."""

BRIEF = PRESETS["quick"].with_changes(n_epochs=2, patches_per_epoch=160)
"""The small budget of the random searches."""

CURVES = (
    ("a", "decay_ratio=0.1,0.3,0.6,1.0", "decay of the learning rate (1: constant)"),
    ("b", "batch_size=2,4,8,16", "batch size"),
    ("c", "n_filters=8,16,32", "number of kernels"),
    ("d", "kernel_size=3,5,7", "size of the kernels"),
)
"""Panels of Fig. 3: the settings that each varies, one at a time."""

NEW_SEED = 100
"""First seed of the trainings that are compared after a search: none of its own."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A volume with labels, the noise added to it, and what its slices serve for."""

    name: str
    file: str
    phases: PhaseTable
    train: int
    validation: int
    test: range
    has_neighbours: bool = True
    noise: float = 0.0
    """Standard deviation of added Gaussian noise, in grey levels."""
    contrast: float = 1.0
    """Exponent of the grey levels, after scaling to 0 to 1."""

    def open(self, data: Path) -> AnnotatedVolume:
        """Open it, with the noise and the contrast that it is to have."""
        image = open_volume(data / f"{self.file}-raw.tif")
        if self.noise or self.contrast != 1:
            image = self._changed(image)
        return AnnotatedVolume(
            image=image,
            labels=open_labels(data / f"{self.file}-labels.tif"),
            roles={"train": (self.train,), "validation": (self.validation,)},
        )

    def _changed(self, image: Volume) -> Volume:
        grey = image.slab(0, image.shape[0]).astype(np.float64)
        low, high = grey.min(), grey.max()
        grey = (high - low) * ((grey - low) / (high - low)) ** self.contrast + low
        rng = np.random.default_rng(NOISE_SEED)
        grey += rng.normal(0, self.noise, grey.shape)
        changed = np.rint(grey).clip(0, 2**16 - 1).astype(np.uint16)
        return as_volume(changed, name=self.name)

    def config(self, config: TrainConfig) -> TrainConfig:
        """Adapt a config: no context where slices lie far apart."""
        return config if self.has_neighbours else config.with_changes(context_slices=0)


_ELECTRODE_SLICES = {"train": 10, "validation": 30, "test": range(50, 100)}
_FUEL_CELL_SLICES = {"train": 10, "validation": 30, "test": range(50, 96)}

REAL_A = Sample(
    name="nmc-real-a",
    file="nmc-real-a",
    phases=ELECTRODE,
    has_neighbours=False,
    train=0,
    validation=1,
    test=range(2, 5),
)
REAL_C = Sample(
    name="nmc-real-c",
    file="nmc-real-c",
    phases=ELECTRODE,
    has_neighbours=False,
    train=0,
    validation=1,
    test=range(2, 6),
)
NMC = Sample(
    name="nmc-electrode", file="nmc-electrode", phases=ELECTRODE, **_ELECTRODE_SLICES
)
NMC_CHANGED = Sample(
    name="nmc-electrode, changed",
    file="nmc-electrode",
    phases=ELECTRODE,
    noise=2000,
    contrast=1.5,
    **_ELECTRODE_SLICES,
)
NOISY_CELL = Sample(
    name="soc-nickel-ysz, σ = 4000",
    file="soc-nickel-ysz",
    phases=FUEL_CELL,
    noise=4000,
    **_FUEL_CELL_SLICES,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for what is trained")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    arguments.work.mkdir(exist_ok=True)
    for part in arguments.only:
        say(f"part {part}")
        fill(PAGE, part, PARTS[part](arguments.data, arguments.work))


def say(text: str) -> None:
    print(datetime.now(UTC).isoformat(timespec="seconds"), text, flush=True)


# ---- Fig. 1c to 1e, and Fig. 5d ----


METHODS: Mapping[str, Method | None] = {
    "threshold": "fractions",
    "k-means": "k_means",
    "random forest": "forest",
    "LRCS-Net": None,
}


def methods(data: Path, work: Path) -> Iterator[str]:
    """Score each method on the test slices, and draw a slice of nmc-real-a."""
    rows = []
    for sample in (REAL_A, REAL_C, NMC, NOISY_CELL):
        volume = sample.open(data)
        found = {name: segmented(name, sample, volume, work) for name in METHODS}
        for name, segmentation in found.items():
            rows.append([sample.name, name, *scores(sample, volume, segmentation)])
        if sample is REAL_A:
            draw_methods(DOCS / "images" / "paper-methods.png", volume, found)
    yield "![The methods side by side](images/paper-methods.png)"
    yield ""
    yield from table(
        ["data", "method", "accuracy (%)", "mean IoU (%)", "IoU of the phases (%)"],
        rows,
    )


def segmented(name: str, sample: Sample, volume: AnnotatedVolume, work: Path) -> Labels:
    """Segment a volume by a method, or read what has been segmented before."""
    kept = work / "methods" / f"{sample.name}-{name}.npy"
    if kept.is_file():
        return np.load(kept)
    say(f"{sample.name}: {name}")
    segmentation = np.zeros(volume.image.shape, np.uint8)
    result = MemoryResult(labels=segmentation)
    method = METHODS[name]
    if method is None:
        run = kept.with_suffix(".run")
        learn(sample, volume, config=PRESETS["quick"], run=run)
        checkpoint = load_checkpoint(run)
        for _ in predict_volume(volume.image, checkpoint, result=result):
            pass
    else:
        counts = count_phases(
            volume.labels.slab(sample.train, sample.train + 1),
            n_phases=len(sample.phases),
        )
        task = BaselineTask(
            image=volume.image,
            method=method,
            phases=sample.phases,
            fractions=tuple(counts / counts.sum()) if method == "fractions" else None,
            labels=volume.labels,
            train=(sample.train,),
        )
        for _ in segment_volume(task, result=result):
            pass
    kept.parent.mkdir(exist_ok=True)
    np.save(kept, segmentation)
    return segmentation


def learn(
    sample: Sample, volume: AnnotatedVolume, *, config: TrainConfig, run: Path
) -> float:
    """Train a network, and return the seconds that it took."""
    adapted = sample.config(config)
    annotation = read_annotation([volume], config=adapted, phases=sample.phases)
    began = time.monotonic()
    for _ in train(annotation, config=adapted, run=run, overwrite=True):
        pass
    return time.monotonic() - began


def scores(sample: Sample, volume: AnnotatedVolume, found: Labels) -> Iterator[str]:
    """Yield accuracy, mean IoU and the IoU of each phase on the test slices."""
    confusion = confusion_on_test(sample, volume, found)
    yield in_percent(accuracy(confusion))
    yield in_percent(mean_iou(confusion))
    ious = iou_per_phase(confusion)
    yield ", ".join(
        f"{phase.name} {in_percent(iou)}"
        for phase, iou in zip(sample.phases, ious, strict=True)
    )


def confusion_on_test(
    sample: Sample, volume: AnnotatedVolume, found: Labels
) -> Confusion:
    """Compare labels with the truth on the test slices."""
    return evaluate_volume(
        as_volume(found, name="prediction"),
        volume.labels,
        phases=sample.phases,
        slices=sample.test,
    )


def in_percent(share: float) -> str:
    return f"{100 * share:.1f}"


def draw_methods(
    path: Path, volume: AnnotatedVolume, found: Mapping[str, Labels]
) -> None:
    """Draw a test slice and its labels by each method."""
    z, crop = REAL_A.test[0], np.s_[120:370, 150:450]
    grey = volume.image.slab(z, z + 1)[0][crop]
    truth = volume.labels.slab(z, z + 1)[0]
    colours = ListedColormap(["black", *(phase.rgb for phase in ELECTRODE)])
    figure = Figure(figsize=(12, 6.6), dpi=150, layout="constrained")
    axes = figure.subplots(2, 3)
    low, high = np.percentile(grey, [0.5, 99.5])
    axes[0, 0].imshow(grey, cmap="gray", vmin=low, vmax=high)
    pictures = {name: labels[z] for name, labels in found.items()}
    pictures["labels of the paper's authors"] = truth
    for ax, (name, labels) in zip(axes.flat[1:], pictures.items(), strict=True):
        ax.imshow(labels[crop], cmap=colours, vmin=0, vmax=3, interpolation="nearest")
        ax.set_title(name)
    axes[0, 0].set_title(f"nmc-real-a, slice {z}")
    for ax in axes.flat:
        ax.set_axis_off()
    patches = [
        axes[0, 0].plot([], [], "s", color=phase.rgb, label=phase.name)[0]
        for phase in ELECTRODE
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)


# ---- Fig. 3 ----


def curves(data: Path, work: Path) -> Iterator[str]:
    """Vary one setting at a time on nmc-real-a, and draw Fig. 3a to 3d."""
    volume = REAL_A.open(data)
    figure = Figure(figsize=(12, 8), dpi=150, layout="constrained")
    rows = []
    for ax, (letter, setting, title) in zip(
        figure.subplots(2, 2).flat, CURVES, strict=True
    ):
        findings = searched(
            REAL_A,
            volume,
            work / f"curves-{letter}",
            space=[setting],
            config=STEPPED,
            search=SearchConfig(sampler="grid", n_repeats=len(SEEDS), prune=False),
        )
        draw_curves(ax, findings)
        ax.set_title(f"{letter}  {title}", loc="left")
        rows += [
            [letter, describe(t.settings), f"{in_percent(t.score)} ± {100 * t.sd:.1f}"]
            for t in findings.ranked
        ]
    figure.savefig(DOCS / "images" / "paper-curves.png")
    yield "![Validation scores over the epochs](images/paper-curves.png)"
    yield ""
    yield from table(["", "setting", "mean IoU (%)"], rows)


def searched(
    sample: Sample,
    volume: AnnotatedVolume,
    out: Path,
    *,
    space: Sequence[str],
    config: TrainConfig,
    search: SearchConfig,
) -> SearchFindings:
    """Run a search, or continue it; by default around the preset's settings."""
    folder, config = SearchFolder(out), sample.config(config)
    task = SearchTask(
        volumes=(volume,),
        space=SearchSpace.parse(space) if space else SearchSpace.default_for(config),
        config=config,
        search=search,
        phases=sample.phases,
    )
    say(f"{sample.name}: search in {out.name}")
    for _ in run_search(task, out=out, resume=folder.is_search):
        pass
    return folder.read_findings()


# ---- a random search, against the preset quick ----


def searches(data: Path, work: Path) -> Iterator[str]:
    """Search 24 settings on nmc-electrode; compare the best with the preset."""
    out = work / "search"
    findings = searched(
        NMC,
        NMC.open(data),
        out,
        space=(),
        config=BRIEF,
        search=SearchConfig(n_trials=24, n_repeats=1, prune=False),
    )
    assert findings.best is not None
    for _ in write_search_figures(out, findings):
        pass
    yield f"The best of them has {describe(findings.best.settings)}."
    yield ""
    for figure, text in zip(
        FIGURES,
        ("Curves", "Scores in descending order", "Importance", "Score against time"),
        strict=True,
    ):
        shutil.copy(out / figure, DOCS / "images" / f"paper-search-{figure}")
        yield f"![{text}](images/paper-search-{figure})"
        yield ""
    titles = ["data", "best of the search (%)", "`quick` (%)", "epochs of `quick`"]
    rows = [
        against_preset(sample, sample.open(data), findings.best_config, out)
        for sample in (NMC, REAL_A, NOISY_CELL)
    ]
    yield from table(titles, rows)


def against_preset(
    sample: Sample, volume: AnnotatedVolume, best: TrainConfig, out: Path
) -> list[str]:
    """Train a setting and the preset equally long, with seeds of their own."""
    kept = out / f"against-preset-{sample.file}.json"
    if not kept.is_file():
        say(f"{sample.name}: the best setting against the preset")
        found = [trained(sample, volume, best, seed, out) for seed in SEEDS]
        seconds = float(np.mean([taken for _, taken in found]))
        quick = PRESETS["quick"].with_changes(
            patches_per_epoch=BRIEF.optimisation.patches_per_epoch
        )
        _, of_two = trained(sample, volume, quick.with_changes(n_epochs=2), 0, out)
        n_epochs = max(1, round(2 * seconds / of_two))
        other = quick.with_changes(n_epochs=n_epochs)
        against = [trained(sample, volume, other, seed, out) for seed in SEEDS]
        record = {"best": found, "n_epochs": n_epochs, "quick": against}
        kept.write_text(json.dumps(record), encoding="utf-8")
    record = json.loads(kept.read_text(encoding="utf-8"))
    cells = [_score_and_time(record[name]) for name in ("best", "quick")]
    return [sample.name, *cells, str(record["n_epochs"])]


def trained(
    sample: Sample, volume: AnnotatedVolume, config: TrainConfig, seed: int, out: Path
) -> tuple[float, float]:
    """Train once; return the best mean IoU on the validation slice, and the seconds."""
    run = out / "compared"
    seconds = learn(
        sample, volume, config=config.with_changes(seed=NEW_SEED + seed), run=run
    )
    rows = RunFolder(run).read_history()
    return max(row["validation_mean_iou"] or 0.0 for row in rows), seconds


def _score_and_time(found: Sequence[Sequence[float]]) -> str:
    score, seconds = np.transpose(found)
    spread = 100 * np.std(score, ddof=1)
    return f"{in_percent(score.mean())} ± {spread:.1f} in {seconds.mean():.0f} s"


# ---- Fig. 5a ----


def transfers(data: Path, work: Path) -> Iterator[str]:
    """Start on a second sample from the moments of a training on a first."""
    for source, target in (
        (NMC, NMC_CHANGED),
        (REAL_A, REAL_C),
        (REAL_A, NOISY_CELL),
    ):
        run = work / f"source-{source.file}"
        if not RunFolder(run).is_run:
            learn(source, source.open(data), config=STEPPED, run=run)
        out = work / f"transfer-{source.file}-{target.file}"
        task = TransferTask(
            volumes=(target.open(data),),
            source=RunFolder(run),
            config=STEPPED,
            phases=target.phases,
        )
        say(f"from {source.name} to {target.name}")
        folder = TransferFolder(out)
        for _ in compare_starts(task, out=out, resume=folder.record.exists):
            pass
        findings = folder.read_findings()
        name = f"paper-{out.name}.png"
        shutil.copy(out / TRANSFER_FIGURE, DOCS / "images" / name)
        yield f"### From {source.name} to {target.name}"
        yield ""
        yield f"![Curves from {source.name} to {target.name}](images/{name})"
        yield ""
        yield from table(
            ["start", "mean IoU (%)", "gain (points)", "accuracy (%)"],
            [
                [
                    str(result.start),
                    f"{in_percent(result.score)} ± {100 * result.sd:.1f}",
                    f"{100 * (result.score - findings.scratch.score):+.1f}",
                    in_percent(result.final_accuracy),
                ]
                for result in findings.results
            ],
        )
        yield ""


PARTS: Mapping[str, Callable[[Path, Path], Iterator[str]]] = {
    "methods": methods,
    "curves": curves,
    "transfers": transfers,
    "searches": searches,
}


if __name__ == "__main__":
    main()
