"""Train as I paint, as the dock runs it."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

from napari.layers import Image

from napari_lrcs.annotation.annotation import ROLES, AnnotatedVolume, Role
from napari_lrcs.annotation.painting.live import LivePainting
from napari_lrcs.config import TrainConfig
from napari_lrcs.models.header import Row
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.parts.layers.current_slice import SliceInView
from napari_lrcs.plugin.parts.layers.layers import labels_of, workspace_for
from napari_lrcs.plugin.parts.workers import Events, load_torch
from napari_lrcs.plugin.project.training_layers import TrainingLayers
from napari_lrcs.plugin.train.job import Prepared, TrainingJob, fit_context
from napari_lrcs.plugin.train.setup import TrainSetup
from napari_lrcs.progress import Notice
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.transfer import Origin

InView: TypeAlias = Callable[[Image], SliceInView]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveTrainingJob(TrainingJob):
    """A training that goes on as long as its user paints.

    Parameters
    ----------
    painting : LivePainting
        Tells what is painted, and when to finish.
    runs : Path
        Folder with the runs of the image: without an origin, a new one starts from
        the newest run that fits.
    """

    painting: LivePainting
    runs: Path

    def needs_new_run(self, run: RunFolder) -> bool:
        """Tell whether a run has ended; strokes on any slice may join it."""
        return run.summarise().is_finished

    def train(self) -> Events:
        """Train in the run folder, from the newest network that fits."""
        load_torch()
        from napari_lrcs.training.live.loop import train_live

        config, origin, phases = self.config, self.origin, self.labels.phases
        history: tuple[Row, ...] = ()
        if self.is_resumed:
            run = RunFolder(self.run)
            config, history = run.read_config(), tuple(run.read_history())
        elif self.fits_context:
            config = yield from fit_context(config, self.painting.read())
        if origin is None and not self.is_resumed and self.parent is None:
            origin = yield from self._find_origin(config)
        assert phases is not None
        yield Prepared(phases=phases, config=config, history=history, is_live=True)
        events = train_live(
            self.painting,
            config=config,
            phases=phases,
            run=self.run,
            resume=self.is_resumed,
            origin=origin,
            parent=self.parent,
        )
        yield from self.shown(events, config)

    def _find_origin(
        self, config: TrainConfig
    ) -> Generator[Notice, None, Origin | None]:
        from napari_lrcs.training.live.start import newest_fitting_run

        assert self.labels.phases is not None
        run = newest_fitting_run(self.runs, config=config, phases=self.labels.phases)
        if run is None:
            return None
        yield Notice(kind="advice", text=f"starts from the weights of {run.name}")
        return Origin(path=run)


def new_live_training(setup: TrainSetup, in_view: InView) -> LiveTrainingJob:
    """Make a training that goes on while its user paints.

    Raises
    ------
    ValueError, LrcsError, OSError
        As `TrainSetup.new_training` does, or if the labels are not a painting.
    """
    _painting_of(setup.layers)  # before a folder is made for the run
    return _following(setup.new_training(in_view), setup.layers)


def continued_training(setup: TrainSetup, run: Path, in_view: InView) -> TrainingJob:
    """Make a training that continues a run, live if that was; raises likewise."""
    training = setup.resumed_training(run, in_view)
    is_live = RunFolder(run).strokes.is_file()
    return _following(training, setup.layers) if is_live else training


def _following(training: TrainingJob, layers: TrainingLayers) -> LiveTrainingJob:
    """Make a training follow the painting that is chosen."""
    image, labels = layers.read()
    painting = _painting_of(layers)
    workspace = workspace_for(image)
    shape = training.source.volume.shape

    def read() -> AnnotatedVolume:
        return AnnotatedVolume(
            image=training.source.volume,
            labels=labels_of(labels),  # its array is another after a renaming
            roles=_by_role(painting.roles),
            mask=training.source.mask,
            checks=workspace.read_checks(shape),
        )

    own = {f.name: getattr(training, f.name) for f in fields(TrainingJob)}
    return LiveTrainingJob(
        **own,
        painting=LivePainting(read, painted=painting.painted()),
        runs=workspace.path,
    )


def _painting_of(layers: TrainingLayers) -> Painting:
    """Return the painting that is chosen, or raise ValueError if it is none."""
    _, labels = layers.read()
    painting = painting_of(labels)
    if painting is None:
        raise ValueError(
            "these labels cannot be followed: choose a layer that was made by New "
            "labels layer on the page Label phases"
        )
    return painting


def _by_role(roles: Mapping[int, Role]) -> dict[Role, tuple[int, ...]]:
    return {
        role: tuple(z for z, found in roles.items() if found == role) for role in ROLES
    }
