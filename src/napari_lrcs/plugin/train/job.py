"""A training as the dock runs it: all of this happens in the thread."""

import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TypedDict, cast

import tifffile

from napari_lrcs.annotation.annotation import (
    ROLES,
    AnnotatedVolume,
    Role,
    read_annotation,
)
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.records import parse_json
from napari_lrcs.io.volume import Volume
from napari_lrcs.models.header import Row
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.workers import Events, load_torch
from napari_lrcs.plugin.train.preview import PreviewSource, with_previews
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.progress import EpochEnded
from napari_lrcs.training.run_summary import read_history

_EVENT_SECONDS = 0.2

Roles = Mapping[Role, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searching:
    """The labels are searched for painted slices."""

    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The painting is read and checked."""

    phases: PhaseTable
    config: TrainConfig
    history: tuple[Row, ...]
    """Of a run that is continued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """An epoch's row of the history."""

    row: Row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingJob:
    """What to train, and where.

    Parameters
    ----------
    labels : Volume
    source : PreviewSource
        The image, too.
    roles : mapping
        Slices of each role; those for training are searched if there are none.
    config : TrainConfig
        That of the run itself counts where one is continued.
    run : Path
        Run folder.
    is_resumed : bool
        Whether to continue the run that is there, with the roles that it began with.
    initial_weights : Path, optional
    """

    labels: Volume
    source: PreviewSource
    roles: Roles
    config: TrainConfig
    run: Path
    is_resumed: bool = False
    initial_weights: Path | None = None
    discarded: Event = field(default_factory=Event)
    """Set to have the run removed when it stops; one that was resumed is kept.

    One that has learnt nothing is removed in any case.
    """

    def events(self) -> Events:
        """Train; yields also what only a dock shows."""
        try:
            yield from self._events()
        finally:
            if not self.is_resumed and self._is_rubbish:
                _remove(self.run)
            with suppress(OSError):  # a run that never began leaves an empty folder
                self.run.rmdir()

    @property
    def _is_rubbish(self) -> bool:
        has_begun = (self.run / "resume.pt").exists()
        has_learnt = (self.run / "best.safetensors").exists()
        return has_begun and (self.discarded.is_set() or not has_learnt)

    def _events(self) -> Events:
        load_torch()
        from napari_lrcs.training.loop import train
        from napari_lrcs.training.run_folder import RunFolder

        config, roles = self.config, self.roles
        if self.is_resumed:
            config = RunFolder(self.run).read_config()
            roles = read_roles(self.run)
        elif not roles.get("train"):
            roles = yield from _with_painted(roles, self.labels, config)
        annotation = read_annotation(
            [
                AnnotatedVolume(
                    image=self.source.volume,
                    labels=self.labels,
                    roles=roles,
                    mask=self.source.mask,
                )
            ],
            config=config,
            phases=self.labels.phases,
        )
        yield Prepared(
            phases=annotation.phases,
            config=config,
            history=tuple(read_history(self.run)) if self.is_resumed else (),
        )
        events = train(
            annotation,
            config=config,
            run=self.run,
            resume=self.is_resumed,
            initial_weights=self.initial_weights,
        )
        yield from with_previews(
            _with_rows(cast(Events, events)),
            run=self.run,
            source=self.source,
        )


def _with_rows(events: Events) -> Events:
    from napari_lrcs.training.scoring import history_row

    with closing(events):
        for event in events:
            if isinstance(event, EpochEnded):
                yield Scored(row=history_row(event))
            yield event


def _with_painted(roles: Roles, labels: Volume, config: TrainConfig) -> "Events":
    """Take all painted slices that have no role for training."""
    taken = {place for places in roles.values() for place in places}
    n_slices = labels.shape[AXES[config.axis]]
    painted, told_at = [], 0.0
    for place in range(n_slices):
        if place not in taken and labels.slab(place, place + 1, axis=config.axis).any():
            painted.append(place)
        if time.monotonic() - told_at > _EVENT_SECONDS:
            told_at = time.monotonic()
            yield Searching(share=(place + 1) / n_slices)
    if not painted:
        raise ValueError(
            f"{labels.name} has no painted slice for training; paint at least two "
            "phases on one"
        )
    return {**roles, "train": tuple(painted)}


class _Place(TypedDict):
    """What is noted with each page of a run's ``labels.tif``."""

    role: Role
    index: int


def read_roles(run: Path) -> Roles:
    """Read which slices a run was begun with.

    Raises
    ------
    CheckpointError
        If the run's labels are missing or damaged.
    """
    place = run / "labels.tif"
    try:
        with tifffile.TiffFile(place) as tiff:
            pages = [
                parse_json(page.description, _Place)
                for page in tiff.pages
                if isinstance(page, tifffile.TiffPage)
            ]
        found = {(page["role"], page["index"]) for page in pages}
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise CheckpointError(f"{place} is damaged: {error}") from error
    # A part that was held out for validation lies on a slice for training.
    train = {index for role, index in found if role == "train"}
    roles: dict[Role, tuple[int, ...]] = {
        role: tuple(sorted({i for name, i in found if name == role} - train))
        for role in ROLES
    }
    roles["train"] = tuple(sorted(train))
    return roles


def _remove(run: Path) -> None:
    from napari_lrcs.training.run_folder import RunFolder

    RunFolder(run).remove()
