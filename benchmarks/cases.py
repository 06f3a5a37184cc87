"""Volumes to measure on, with their slices, and how a method learns and predicts."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from napari_lrcs.annotation.annotation import AnnotatedVolume, Role, read_annotation
from napari_lrcs.annotation.context_slices import fit_context_slices
from napari_lrcs.annotation.painting.labels import count_phases
from napari_lrcs.classical.baselines import Method
from napari_lrcs.classical.phantom import electrode_phantom
from napari_lrcs.config import PredictConfig, TrainConfig
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.inference.segment import BaselineTask, segment_volume
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.loop import train
from napari_lrcs.training.transfer import Origin

DATA = Path(__file__).parents[2] / "shared" / "data"
NOISE_SEED = 0
ELECTRODE = ("pore", "CBD", "NMC")
FUEL_CELL = ("pore", "YSZ", "Ni")
MEMBRANE = ("membrane", "cell")


@dataclass(frozen=True, slots=True)
class Case:
    """A volume of ../shared/data, its phases, and its slices' roles.

    Without a validation slice, blocks of the training slices are held out from a
    network, as always; a forest learns from them.
    """

    name: str
    phases: tuple[str, ...]
    noise: int = 0
    """Standard deviation of added Gaussian noise, in grey levels of uint16."""
    train: tuple[int, ...] = (10,)
    validation: tuple[int, ...] = (30,)
    test: Sequence[int] = range(50, 96)
    context_slices: int | None = None
    """As is measured, unless the slices have no neighbours."""
    networks: Path | None = None
    """Folder that keeps networks, so that several ways can use one training."""

    @property
    def title(self) -> str:
        return self.name + (f", σ = {self.noise}" if self.noise else "")

    @property
    def table(self) -> PhaseTable:
        return PhaseTable.named(*self.phases)

    def kept(self, config: TrainConfig) -> Path | None:
        """Name the file of a network that has learnt this, if networks are kept."""
        learnt = f"{self.title}, {self.train}, {config.to_dict()}"
        name = f"{sha256(learnt.encode()).hexdigest()[:16]}.safetensors"
        return self.networks and self.networks / name

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


@dataclass(frozen=True, slots=True)
class Phantom(Case):
    """The built-in phantom, in the place of a volume of ../shared/data."""

    shape: tuple[int, int, int] = (64, 256, 256)
    seed: int = 0
    binder_fraction: float = 0.11

    def open(self, data: Path) -> tuple[Volume, Volume]:
        """Make the image and the labels."""
        del data
        phantom = electrode_phantom(
            shape=self.shape, seed=self.seed, binder_fraction=self.binder_fraction
        )
        image = as_volume(phantom.volume, name=self.name)
        return image, as_labels(as_volume(phantom.labels, name=self.name))


@dataclass(frozen=True, slots=True)
class Stacked(Case):
    """Slices and paintings of several files, one upon the other."""

    images: tuple[str, ...] = ()
    paintings: tuple[str, ...] = ()

    def open(self, data: Path) -> tuple[Volume, Volume]:
        """Stack the files; what is painted in one slice of labels is not tested."""
        image = np.concatenate([_read(open_volume, data / f) for f in self.images])
        labels = np.concatenate([_read(open_labels, data / f) for f in self.paintings])
        if len(set(self.images)) == 1:
            labels[list(self.test)] *= (labels[list(self.train)] == 0).all(axis=0)
        return (
            as_volume(image, name=self.name),
            as_labels(as_volume(labels, name=self.name)),
        )


def _read(opened: Callable[[Path], Volume], path: Path) -> np.ndarray:
    volume = opened(path)
    return volume.slab(0, volume.shape[0])


CASES: tuple[Case, ...] = (
    Case("nmc-electrode", ELECTRODE, test=range(50, 100)),
    Case("soc-nickel-ysz", FUEL_CELL, 4000),
    Case(
        "nmc-real-a",
        ELECTRODE,
        train=(0,),
        validation=(1,),
        test=(2, 3, 4),
        context_slices=0,
    ),
    Case(
        "nmc-real-c",
        ELECTRODE,
        train=(0,),
        validation=(1,),
        test=(2, 3, 4),  # the last slice's labels are the worst
        context_slices=0,
    ),
    Case(
        "isbi-membrane",
        MEMBRANE,
        train=(0,),
        validation=(4,),
        test=(8, 9, 10, 11),
        context_slices=0,
    ),
    Stacked(
        "rings",
        ("phase 1", "phase 2", "phase 3", "phase 4"),
        train=(0,),
        validation=(),
        test=(1,),
        context_slices=0,
        images=("rings-train-raw.tif", "rings-test-raw.tif"),
        paintings=("rings-train-labels.tif", "rings-test-labels.tif"),
    ),
    Stacked(
        "scribbles",
        ("phase 1", "phase 2", "phase 3"),
        train=(0,),
        validation=(),
        test=(1,),
        context_slices=0,
        images=("scribbles-raw.tif",) * 2,
        paintings=("scribbles-sparse-labels.tif", "scribbles-dense-labels.tif"),
    ),
    Phantom(
        "phantom, 1 % binder",
        ELECTRODE,
        test=range(40, 64),
        seed=1,
        binder_fraction=0.01,
    ),
)


def by_baseline(
    case: Case,
    image: Volume,
    labels: Volume,
    *,
    method: Method,
    result: MemoryResult,
) -> None:
    """Segment the volume without a network."""
    z = case.train[0]
    counts = count_phases(labels.slab(z, z + 1), n_phases=len(case.phases))
    task = BaselineTask(
        image=image,
        method=method,
        phases=case.table,
        fractions=tuple(counts / counts.sum()) if method == "fractions" else None,
        labels=labels,
        train=case.train,
    )
    for _ in segment_volume(task, result=result):
        pass


def learn(
    case: Case,
    image: Volume,
    labels: Volume,
    *,
    config: TrainConfig,
    run: Path | None = None,
    origin: Origin | None = None,
) -> Checkpoint:
    """Train a network, or take the one that is kept from a training like it."""
    if run is None:
        kept = None if origin else case.kept(config)
        if kept and kept.exists():
            return load_checkpoint(kept)
        with tempfile.TemporaryDirectory() as folder:
            new = Path(folder) / "run"
            learnt = learn(case, image, labels, config=config, run=new, origin=origin)
        if kept:
            save_checkpoint(kept, learnt)
        return learnt
    roles: dict[Role, tuple[int, ...]] = {"train": case.train}
    if case.validation:
        roles["validation"] = case.validation
    volume = AnnotatedVolume(image=image, labels=labels, roles=roles)
    if case.context_slices is None:
        config, _ = fit_context_slices(config, [volume])
    else:
        config = config.with_changes(context_slices=case.context_slices)
    annotation = read_annotation([volume], config=config, phases=case.table)
    for _ in train(annotation, config=config, run=run, origin=origin):
        pass
    return load_checkpoint(run)


def predict(
    image: Volume,
    checkpoint: Checkpoint,
    *,
    result: MemoryResult,
    slices: Sequence[int] | None = None,
    config: PredictConfig | None = None,
) -> None:
    """Predict some slices, or all."""
    for _ in predict_volume(
        image, checkpoint, result=result, slices=slices, config=config
    ):
        pass


Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, n_jobs: int
) -> Iterator[Result]:
    """Work on tasks, here or in processes that share the cores, as they get done."""
    if n_jobs <= 1:
        yield from map(work, tasks)
        return
    n_threads = max(1, torch.get_num_threads() // n_jobs)
    with ProcessPoolExecutor(
        n_jobs, get_context("spawn"), torch.set_num_threads, (n_threads,)
    ) as pool:
        for future in as_completed([pool.submit(work, task) for task in tasks]):
            yield future.result()
