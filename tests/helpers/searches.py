"""A search of a few seconds, the same in the process of the tests and in others."""

from pathlib import Path

import numpy as np

from napari_lrcs.annotation.annotation import AnnotatedVolume
from napari_lrcs.config import SearchConfig, TrainConfig
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.search.space import SearchSpace
from napari_lrcs.search.task import SearchTask

SHAPE = (8, 24, 24)
LABELS = np.ones(SHAPE, np.uint8)
LABELS[:, :, 12:] = 2
NOISE = np.random.default_rng(0).normal(0, 20, SHAPE)
CONFIG = TrainConfig().with_changes(
    n_filters=2,
    context_slices=0,
    n_epochs=2,
    patches_per_epoch=4,
    batch_size=2,
    patch_size=16,
    seed=7,
    device="cpu",
    precision="float32",
)
VOLUME = AnnotatedVolume(
    image=as_volume((500.0 * LABELS + NOISE).astype(np.float32), name="image"),
    labels=as_labels(as_volume(LABELS, name="labels")),
    roles={"train": (1,), "validation": (6,), "test": (4,)},
)
GRID = ("learning_rate=1e-4,1e-3", "batch_size=2,4")


def search_task(*space: str, **settings: object) -> SearchTask:
    """Search a grid of four settings without repeats, unless told otherwise."""
    search = SearchConfig(sampler="grid", n_repeats=1, prune=False)
    return SearchTask(
        volumes=(VOLUME,),
        space=SearchSpace.parse(space or GRID),
        config=CONFIG,
        search=search.with_changes(**settings),
    )


RUN = """
import sys
import time
from pathlib import Path

import torch

from napari_lrcs.search.events import TrialStarted
from napari_lrcs.search.search import run_search
from searches import search_task

torch.set_num_threads(1)
out, *together = map(Path, sys.argv[1:])
for event in run_search(search_task(), out=out, resume=True):
    if isinstance(event, TrialStarted):
        print(event.number, flush=True)
        for place in together:  # until another process runs a trial, too
            (place / str(event.number)).touch()
            while len(list(place.iterdir())) < 2:
                time.sleep(0.01)
"""
"""Continues a search; with a second folder, it waits there for another process."""


def begin(out: Path) -> None:
    """Begin a search and run none of its trials."""
    from napari_lrcs.search.events import SearchStarted
    from napari_lrcs.search.search import run_search

    events = run_search(search_task(), out=out)
    while not isinstance(next(events), SearchStarted):
        pass
    events.close()
