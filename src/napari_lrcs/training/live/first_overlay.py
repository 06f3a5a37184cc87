"""A random forest that labels the slice in view until the network is better."""

from functools import reduce
from operator import add

import numpy as np

from napari_lrcs.annotation.annotation import AnnotatedSlice
from napari_lrcs.arrays import GreyImage, Labels
from napari_lrcs.classical.forest import Forest, fit_forest
from napari_lrcs.classical.samples import Sample
from napari_lrcs.metrics.overlap import confusion_matrix, mean_iou
from napari_lrcs.preprocessing.slices import SliceReader
from napari_lrcs.progress import EpochEnded, OverlayChosen
from napari_lrcs.training.live.session import LiveSession

_GOOD = 0.8
_MOST_EPOCHS = 4
"""Without a validation, the network takes over at this mean IoU on its own patches, or
after so many epochs."""


class FirstOverlay:
    """Fits a forest to the painting, and tells when the network is as good.

    Parameters
    ----------
    session : LiveSession
        Whose painting the forest learns from.
    """

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        volume = session.growing.painting.read()
        config = session.config.with_changes(context_slices=0)
        self._reader = SliceReader.for_config(volume.image, config, mask=volume.mask)
        self._forest: Forest | None = None
        self._score: float | None = None
        self.is_used = True
        """Whether the network has not been better yet."""

    def fit(self) -> OverlayChosen:
        """Fit the forest to the painting as it is now."""
        training = self._session.annotation.with_role("train")
        self._forest = fit_forest([_sample(s) for s in training])
        self._score = None
        return OverlayChosen(by="forest", predict=self.predict)

    def predict(self, index: int) -> Labels:
        """Label a slice; 0 outside the field of view."""
        assert self._forest is not None
        labels = self._forest.predict(self._reader.read(index, index + 1)[0])
        inside = self._reader.inside(index, index + 1)
        return labels if inside is None else labels * inside[0]

    def give_way(self, epoch: EpochEnded) -> bool:
        """Tell, once, that the network is better after an epoch."""
        if not self.is_used:
            return False
        if epoch.validation is None:
            is_good = mean_iou(epoch.training) >= _GOOD
            self.is_used = not is_good and epoch.epoch < _MOST_EPOCHS
        else:
            self.is_used = mean_iou(epoch.validation) < self._validate()
        return not self.is_used

    def _validate(self) -> float:
        if self._score is None:
            assert self._forest is not None
            n_phases = len(self._session.annotation.phases)
            self._score = mean_iou(
                reduce(
                    add,
                    (
                        confusion_matrix(
                            s.labels, self._forest.predict(_own(s)), n_phases=n_phases
                        )
                        for s in self._session.annotation.with_role("validation")
                    ),
                )
            )
        return self._score


def _own(annotated: AnnotatedSlice) -> GreyImage:
    """Return the slice without its neighbours."""
    image = annotated.image
    own: GreyImage = np.ascontiguousarray(image[len(image) // 2])
    return own


def _sample(annotated: AnnotatedSlice) -> Sample:
    return Sample(
        image=_own(annotated), labels=annotated.labels, inside=annotated.inside
    )
