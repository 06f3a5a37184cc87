"""A training as the dock runs it: all of this happens in the thread."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, cast

from napari_lrcs.annotation.annotation import AnnotatedVolume, Role, read_annotation
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.context_slices import fit_context_slices
from napari_lrcs.annotation.held_out import Splits
from napari_lrcs.annotation.left_out import without_checks
from napari_lrcs.annotation.painting.slices import train_on_painted
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import PaintingChangedError
from napari_lrcs.io.volume import Volume
from napari_lrcs.models.header import Row
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.workers import Events, load_torch
from napari_lrcs.plugin.train.preview import PreviewSource, with_previews
from napari_lrcs.progress import EpochEnded, Notice
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.transfer import Origin, splits_before

Roles = Mapping[Role, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The painting is read and checked."""

    phases: PhaseTable
    config: TrainConfig
    history: tuple[Row, ...]
    """Rows of the epochs that a continued run has done."""
    is_live: bool = False
    """Whether the painting may grow, and nobody knows how many epochs there will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """An epoch's row of the history."""

    row: Row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Branched:
    """A new run continues one that has ended, or whose painting has changed."""

    training: "TrainingJob"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingJob:
    """What to train, and where.

    Parameters
    ----------
    labels : Volume
        The painting.
    checks : tuple of Check
        Check patches of the image; see `AnnotatedVolume`.
    source : PreviewSource
        The image, and where it is looked at.
    roles : mapping of str to tuple of int
        Slices of each role; without one for training, all painted slices that are left
        are for training. Where a run is continued, its own roles count instead, unless
        the painting has changed.
    config : TrainConfig
        Where a run is continued, its own config counts instead.
    new_run : callable
        Names the folder of a new run, which continues one that has ended or whose
        painting has changed.
    run : Path
        Run folder.
    painted : frozenset of int
        Slices that the painting has for training and validation.
    is_resumed : bool
        Whether to continue the run that is there.
    fits_context : bool
        Whether to give the network neighbours only if they resemble the slices.
    parent : Path, optional
        Run that this one continues with another painting.
    origin : Origin, optional
        The network to start from (transfer learning).
    """

    labels: Volume
    source: PreviewSource
    roles: Roles
    config: TrainConfig
    run: Path
    new_run: Callable[[], Path]
    painted: frozenset[int] = frozenset()
    is_resumed: bool = False
    fits_context: bool = False
    checks: tuple[Check, ...] = ()
    parent: Path | None = None
    origin: Origin | None = None
    discarded: Event = field(default_factory=Event)
    """Set to have the run removed when it stops; one that was resumed is kept.

    One that has learnt nothing is removed in any case.
    """

    def events(self) -> Events:
        """Train; yields also what only a dock shows."""
        run = RunFolder(self.run)
        try:
            if self.is_resumed and self.needs_new_run(run):
                yield from self._branch()
            else:
                yield from self.train()
        except PaintingChangedError:
            yield from self._branch()
        finally:
            if not self.is_resumed:
                run.clean_up(keep=not self.discarded.is_set())

    def needs_new_run(self, run: RunFolder) -> bool:
        """Tell whether a run has ended, or is not to learn from the same slices.

        Other strokes on its own slices are noticed when these are read.
        """
        if run.summarise().is_finished:
            return True
        known = run.read_roles()
        validation = self.painted & {*self.roles.get("validation", ())}
        return bool(self.painted) and (
            self.painted != {*known["train"], *known["validation"]}
            or validation != {*known["validation"]}
        )

    def _branch(self) -> Events:
        """Continue the run as a new one, whose epochs count from 0."""
        run = self.new_run()
        run.mkdir(parents=True, exist_ok=True)
        training = replace(
            self,
            config=RunFolder(self.run).read_config(),
            run=run,
            is_resumed=False,
            parent=self.run,
        )
        yield Branched(training=training)
        yield Notice(
            kind="resumed",
            text=f"As {run.name}, continues {self.run.name} with the painting as it is "
            "now",
        )
        yield from training.events()

    def train(self) -> Events:
        """Train in the run folder as it is."""
        load_torch()
        from napari_lrcs.training.loop import train

        config, roles = self.config, self.roles
        history: tuple[Row, ...] = ()
        begun_at = None
        if self.is_resumed:
            run = RunFolder(self.run)
            config, roles = run.read_config(), run.read_roles()
            history = tuple(run.read_history())
            begun_at = run.read_task().begun_at
        elif not roles.get("train"):
            roles = yield from train_on_painted(
                without_checks(self.labels, self.checks),
                roles,
                axis=config.preprocessing.axis,
            )
        volume = AnnotatedVolume(
            image=self.source.volume,
            labels=self.labels,
            roles=roles,
            mask=self.source.mask,
            checks=self.checks,
        )
        if self.fits_context:
            config = yield from fit_context(config, volume)
        annotation = read_annotation(
            [volume],
            config=config,
            phases=self.labels.phases,
            begun_at=begun_at,
            splits=self._splits(config),
        )
        yield Prepared(phases=annotation.phases, config=config, history=history)
        events = train(
            annotation,
            config=config,
            run=self.run,
            resume=self.is_resumed,
            origin=self.origin,
            parent=self.parent,
        )
        yield from self.shown(events, config)

    def _splits(self, config: TrainConfig) -> Splits:
        """Read what the network that goes on has learnt, and was validated on."""
        run = self.run if self.is_resumed else self.parent
        former = self.origin if run is None else RunFolder(run)
        return splits_before(former, config.preprocessing.axis, [self.source.volume])

    def shown(self, events: Iterator[Any], config: TrainConfig) -> Events:
        """Add what only a dock shows to the events of a training."""
        yield from with_previews(
            _with_rows(cast(Events, events)),
            run=self.run,
            source=replace(self.source, axis=config.preprocessing.axis),
        )


def fit_context(
    config: TrainConfig, volume: AnnotatedVolume
) -> Generator[Notice, None, TrainConfig]:
    """Give the network neighbours only if they resemble the slices; say so if not."""
    config, reason = fit_context_slices(config, [volume])
    if reason and not config.network.context_slices:
        yield Notice(kind="advice", text=reason)
    return config


def _with_rows(events: Events) -> Events:
    from napari_lrcs.training.scoring import history_row

    with closing(events):
        for event in events:
            if isinstance(event, EpochEnded):
                yield Scored(row=history_row(event))
            yield event
