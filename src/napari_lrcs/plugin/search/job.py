"""A search as the dock runs it: all of this happens in the thread."""

from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_lrcs.annotation.annotation import AnnotatedVolume
from napari_lrcs.annotation.context_slices import fit_context_slices
from napari_lrcs.annotation.painting.slices import copy_painted
from napari_lrcs.config import SearchConfig, TrainConfig
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.parts.computing.cluster import Cluster
from napari_lrcs.plugin.parts.workers import Events, load_torch
from napari_lrcs.progress import Notice
from napari_lrcs.search.events import SearchEnded, SearchStarted, TrialEnded
from napari_lrcs.search.folder import SearchFolder
from napari_lrcs.search.results import SearchFindings
from napari_lrcs.search.space import SearchSpace
from napari_lrcs.search.task import SearchTask

if TYPE_CHECKING:  # needs the extra cluster
    from napari_lrcs.distributed import ClusterExecutor


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """What a search would take."""

    n_trials: int
    n_repeats: int
    seconds: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchJob:
    """What to search, and where.

    Parameters
    ----------
    volume : AnnotatedVolume
        Without slices for training, all painted ones that are left are for training.
    space : SearchSpace
        The settings that are varied.
    config : TrainConfig
        All other settings.
    search : SearchConfig
        How settings are chosen, and how many.
    out : Path
        The search's folder.
    is_resumed : bool
        Whether to continue the search that is there, with its own settings, but on the
        device of `config`.
    n_more : int
        Settings to try besides those that were planned, where it is continued.
    fits_context : bool
        Whether to give networks neighbouring slices only if they resemble the slices.
    cluster : Cluster, optional
        What trains; by default this process, one setting after another.
    """

    volume: AnnotatedVolume
    space: SearchSpace
    config: TrainConfig
    search: SearchConfig
    out: Path
    is_resumed: bool = False
    n_more: int = 0
    fits_context: bool = False
    cluster: Cluster | None = None

    def events(self) -> Events:
        """Run the search; yields also what it has found so far."""
        try:
            load_torch()
            task = yield from self._task()
            yield from _with_findings(self._events(task))
        finally:
            with suppress(OSError):  # a search that never began leaves an empty folder
                self.out.rmdir()

    def _events(self, task: SearchTask) -> Events:
        from napari_lrcs.search.search import run_search

        cluster, out, (volume,) = self.cluster, self.out.absolute(), task.volumes

        def begin(
            image: Volume, mask: Volume | None, executor: "ClusterExecutor | None"
        ) -> Events:
            sent = replace(task, volumes=(replace(volume, image=image, mask=mask),))
            events = run_search(
                sent, out=out, resume=self.is_resumed, executor=executor
            )
            return cast(Events, events)

        if cluster is None:
            return begin(volume.image, volume.mask, None)
        return cluster.events(
            begin, image=volume.image, mask=volume.mask, folder=out.parent
        )

    def estimate(self) -> Events:
        """Say what the search would take; yields `Estimated` at the end."""
        load_torch()
        from napari_lrcs.search.estimate import largest_memory, time_repeat

        task = yield from self._task()
        annotation = task.annotate(task.config_of(task.space.middle))
        memory = largest_memory(task, n_phases=len(annotation.phases))
        seconds = yield from time_repeat(task, annotation)
        yield Estimated(
            n_trials=task.n_trials,
            n_repeats=task.search.n_repeats,
            seconds=task.n_trials * task.search.n_repeats * seconds,
            memory=memory,
        )

    def _task(self) -> Generator[Any, None, SearchTask]:
        config, search, space = self.config, self.search, self.space
        if self.is_resumed:
            folder = SearchFolder(self.out)
            config, search, space = folder.read_settings()
            if self.n_more:
                n_planned = folder.read_findings().n_trials
                search = search.with_changes(n_trials=n_planned + self.n_more)
            config = config.with_changes(device=self.config.device)
        # The user may paint on, but trials are compared.
        volume = yield from copy_painted(self.volume, axis=config.preprocessing.axis)
        if self.fits_context and "context_slices" not in space.fields:
            config, reason = fit_context_slices(config, [volume])
            if reason and not config.network.context_slices:
                yield Notice(kind="advice", text=reason)
        return SearchTask(
            volumes=(volume,),
            space=space,
            config=config,
            search=search,
            phases=self.volume.labels.phases,
        )


def _with_findings(events: Events) -> Events:
    found: SearchFindings | None = None
    with closing(events):
        for event in events:
            yield event
            match event:
                case SearchStarted():
                    # Trials that ended before are reported one by one.
                    found = replace(SearchFolder(event.out).read_findings(), trials=())
                    yield found
                case TrialEnded():
                    assert found is not None
                    found = replace(found, trials=(*found.trials, event.trial))
                    yield found
                case SearchEnded():
                    yield event.findings


def read_search(out: Path) -> Events:
    """Read what a search has found."""
    yield SearchFolder(out).read_findings()
