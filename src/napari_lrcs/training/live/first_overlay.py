"""A random forest that labels the slice in view until the network is better."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import reduce
from operator import add

import numpy as np

from napari_lrcs.annotation.annotation import AnnotatedSlice, Annotation
from napari_lrcs.arrays import GreyImage, Labels
from napari_lrcs.classical.forest import Forest, fit_forest
from napari_lrcs.classical.samples import Sample
from napari_lrcs.metrics.overlap import confusion_matrix, mean_iou
from napari_lrcs.preprocessing.slices import SliceReader
from napari_lrcs.progress import (
    EpochEnded,
    Finishing,
    OverlayChosen,
    Resting,
    TrainEvent,
)
from napari_lrcs.training.live.session import LiveSession

_GOOD = 0.8
_MOST_EPOCHS = 4
"""Without a validation, the network takes over at this mean IoU on its own patches, or
after so many epochs."""


class FirstOverlay:
    """Fits forests to the painting, in a thread, and tells when the network is as good.

    Parameters
    ----------
    session : LiveSession
        Whose painting the forests learn from.
    """

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        volume = session.growing.painting.read()
        config = session.config.with_changes(context_slices=0)
        self._reader = SliceReader.for_config(volume.image, config, mask=volume.mask)
        self._executor = ThreadPoolExecutor(1, "forest")
        self._fitting: Future[tuple[Forest, float]] | None = None
        self._fitted_to: Annotation | None = None
        self._score: float | None = None
        """Mean IoU of the forest on what is for validation; None before it is fitted,
        and NaN without a validation."""
        self._last_epoch: EpochEnded | None = None
        self.is_over = False
        """Whether the network was better."""

    def update(self) -> Iterator[OverlayChosen]:
        """Fit a forest to the painting as it is now; yield the one that is fitted."""
        if self._fitting is not None and self._fitting.done():
            forest, self._score = self._fitting.result()
            self._fitting = None
            yield OverlayChosen(by="forest", predict=_Labelling(forest, self._reader))
        annotation = self._session.annotation
        if self._fitting is None and annotation is not self._fitted_to:
            self._fitted_to = annotation
            self._fitting = self._executor.submit(_fit, annotation)

    def compare(self, event: TrainEvent) -> Iterator[OverlayChosen]:
        """Let the network take over if it is as good as the forest, or at the end."""
        match event:
            case EpochEnded():
                self._last_epoch = event
                self.is_over = self._is_beaten()
            case Resting():  # the forest may have been fitted after the last epoch
                self.is_over = self._is_beaten()
            case Finishing():
                self.is_over = True
        if self.is_over:
            yield OverlayChosen(by="network")

    def _is_beaten(self) -> bool:
        epoch = self._last_epoch
        if epoch is None or self._score is None:
            return False
        if epoch.validation is None:
            is_good = mean_iou(epoch.training) >= _GOOD
            return is_good or epoch.epoch >= _MOST_EPOCHS
        return not mean_iou(epoch.validation) < self._score

    def close(self) -> None:
        """Fit no more."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class _Labelling:
    """Labels slices by a forest; 0 outside the field of view."""

    def __init__(self, forest: Forest, reader: SliceReader) -> None:
        self._forest, self._reader = forest, reader

    def __call__(self, index: int) -> Labels:
        labels = self._forest.predict(self._reader.read(index, index + 1)[0])
        inside = self._reader.inside(index, index + 1)
        return labels if inside is None else labels * inside[0]


def _fit(annotation: Annotation) -> tuple[Forest, float]:
    """Fit a forest to the training slices; score it on those for validation."""
    forest = fit_forest([_sample(s) for s in annotation.with_role("train")])
    n_phases = len(annotation.phases)
    confusions = [
        confusion_matrix(s.labels, forest.predict(_own(s)), n_phases=n_phases)
        for s in annotation.with_role("validation")
    ]
    return forest, mean_iou(reduce(add, confusions)) if confusions else np.nan


def _own(annotated: AnnotatedSlice) -> GreyImage:
    """Return the slice without its neighbours."""
    image = annotated.image
    own: GreyImage = np.ascontiguousarray(image[len(image) // 2])
    return own


def _sample(annotated: AnnotatedSlice) -> Sample:
    return Sample(
        image=_own(annotated), labels=annotated.labels, inside=annotated.inside
    )
