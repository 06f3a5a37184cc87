"""A prediction as the dock runs it: all of this happens in the thread."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_lrcs.config import PredictConfig
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.outputs import CONFIDENCE, LABELS
from napari_lrcs.inference.results.result import Result
from napari_lrcs.inference.series import predict_series
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.opening import open_volume, split_dataset
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.files.reader import read_layers
from napari_lrcs.plugin.parts.computing.cluster import Cluster
from napari_lrcs.plugin.parts.workers import Events, load_torch

if TYPE_CHECKING:  # loading torch takes seconds
    from napari_lrcs.distributed import ClusterExecutor
    from napari_lrcs.models.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A result on disk is complete, and opened to be shown."""

    labels: Any
    confidence: Any
    provenance: Provenance | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextVolume:
    """Another volume is about to be predicted."""

    name: str
    number: int
    """Number of the volume, counted from 1."""
    n_volumes: int


@dataclass(frozen=True, slots=True)
class AllDone:
    """Nothing is left to be predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Volumes to be predicted after the one in the viewer.

    Parameters
    ----------
    results : mapping of str to DiskResult
        By their files.
    mask : str, optional
        As of `open_mask`.
    """

    folder: Path
    results: Mapping[str, DiskResult]
    mask: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictionJob:
    """What to predict, and where to.

    Parameters
    ----------
    model : Path
        A checkpoint.
    slices : tuple of int, optional
    mask : Volume, optional
    series : Series, optional
    series_only : bool
        Whether the volume itself is done, and only the series is to be continued.
    cluster : Cluster, optional
        What computes, for a result on disk; by default this process.
    """

    volume: Volume
    model: Path
    result: Result
    config: PredictConfig
    slices: tuple[int, ...] | None
    mask: Volume | None
    series: Series | None
    series_only: bool = False
    cluster: Cluster | None = None

    def events(self) -> Events:
        """Predict; yields also what only a dock shows."""
        load_torch()
        from napari_lrcs.models.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(self.model)
        if self.cluster is None:
            yield from self._all(checkpoint, others=None)
        else:
            yield from self._spread(self.cluster, checkpoint)
        yield AllDone()

    def _spread(self, cluster: Cluster, checkpoint: "Checkpoint") -> Events:
        assert isinstance(self.result, DiskResult)

        def begin(
            volume: Volume, mask: Volume | None, executor: "ClusterExecutor"
        ) -> Events:
            if self.series is not None:
                executor.check_files(
                    [split_dataset(image)[0] for image in self.series.results],
                    folder=_existing(self.series.folder),
                )
            others = Elsewhere(executor=executor, n_workers=executor.n_workers)
            shared = replace(self, volume=volume, mask=mask)
            return shared._all(checkpoint, others=others)

        return cluster.events(
            begin, image=self.volume, mask=self.mask, folder=self.result.labels.parent
        )

    def _all(self, checkpoint: "Checkpoint", *, others: Elsewhere | None) -> Events:
        if not self.series_only:
            yield from self._volume(checkpoint, others=others)
        if self.series is not None:
            yield from self._series(self.series, checkpoint, others=others)

    def _volume(self, checkpoint: "Checkpoint", *, others: Elsewhere | None) -> Events:
        from napari_lrcs.inference.spread import predict_task
        from napari_lrcs.inference.task import PredictTask

        task = PredictTask(
            volume=self.volume,
            checkpoint=checkpoint,
            config=self.config,
            slices=self.slices,
            mask=self.mask,
        )
        yield from cast(Events, predict_task(task, result=self.result, others=others))
        paths = self.result.paths
        if paths:
            confidence = paths.get(CONFIDENCE)
            yield Opened(
                labels=_opened(paths[LABELS]),
                confidence=None if confidence is None else _opened(confidence),
                provenance=open_volume(paths[LABELS]).provenance,
            )

    def _series(
        self, series: Series, checkpoint: "Checkpoint", *, others: Elsewhere | None
    ) -> Events:
        predictions = predict_series(
            series.results,
            checkpoint,
            config=self.config,
            slices=self.slices,
            mask=series.mask,
            others=others,
        )
        n = len(series.results)
        with closing(cast(Events, predictions)):
            for i, (image, events) in enumerate(predictions):
                yield NextVolume(name=Path(image).name, number=i + 1, n_volumes=n)
                yield from events


def _existing(folder: Path) -> Path:
    return folder if folder.is_dir() else folder.parent


def _opened(path: Path) -> Any:
    ((data, *_),) = read_layers(str(path))
    return data
