"""The task of an uncertainty study: volumes, slices, settings; needs no torch."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import numpy as np

from napari_lrcs.annotation.annotation import (
    AnnotatedVolume,
    Annotation,
    read_annotation,
)
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.context_slices import fit_context_slices
from napari_lrcs.annotation.left_out import drawn_before, without_checks
from napari_lrcs.annotation.painting.slices import SomeSlices
from napari_lrcs.arrays import Labels
from napari_lrcs.config import (
    AlsoMeasureConfig,
    PerturbConfig,
    PredictConfig,
    StudyConfig,
    TrainConfig,
)
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.uncertainty.perturbation.packed_slices import (
    PaintedSlices,
    pack_slices,
)
from napari_lrcs.uncertainty.perturbation.perturb import Perturbation
from napari_lrcs.uncertainty.perturbation.suggestion import (
    Suggestion,
    suggest_perturbation,
)

_VALIDATION_SHARE = 5
"""One in this many training slices, the last ones, is used for validation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyTask:
    """Networks to train on perturbed labels and on the labels as painted.

    Parameters
    ----------
    image : Volume
        Grey levels; to run in other processes, from `open_to_share` or in memory.
    labels : Volume of uint8
        Painted labels, with the image's shape.
    train : tuple of int
        Painted slices across ``config.axis`` to train on; if there are several, the
        last fifth is used for validation. All are perturbed, adjacent ones together.
    test : tuple of int
        Painted slices that all members are scored on; never perturbed.
    config : TrainConfig
        Settings of the trainings; member m is trained with ``config.seed + m``.
    perturb : PerturbConfig
        How the labels are perturbed.
    study : StudyConfig
        Numbers of members.
    also_measure : AlsoMeasureConfig
        What is measured besides scores and fractions.
    predict : PredictConfig
        Settings of the predictions.
    phases : PhaseTable, optional
        Phases of the labels; by default those named in the file, or numbered ones.
    mask : Volume of bool, optional
        Field of view.
    checks : tuple of Check
        Check patches of the image: those drawn before it began are left out of the
        labels.
    begun_at : datetime
        When it began, with its time zone.
    """

    image: Volume
    labels: Volume
    train: tuple[int, ...]
    test: tuple[int, ...]
    config: TrainConfig = field(default_factory=TrainConfig)
    perturb: PerturbConfig = field(default_factory=PerturbConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    also_measure: AlsoMeasureConfig = field(default_factory=AlsoMeasureConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    phases: PhaseTable | None = None
    mask: Volume | None = None
    checks: tuple[Check, ...] = ()
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def painted(self) -> tuple[int, ...]:
        """Slices to train or validate on, ascending."""
        return tuple(sorted(self.train))

    @property
    def validation(self) -> tuple[int, ...]:
        """The last fifth of the training slices; empty if there is only one."""
        n = len(self.painted)
        return self.painted[n - max(1, n // _VALIDATION_SHARE) :] if n > 1 else ()

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of voxels, phases and members, by which disk space is estimated."""
        assert self.phases is not None
        return {
            "n_voxels": math.prod(self.image.shape),
            "n_phases": len(self.phases),
            "n_members": self.study.n_members + self.study.n_repeats,
        }

    def read_labels(self, slices: tuple[int, ...]) -> Labels:
        """Read labels without check patches, shape (slices, rows, columns)."""
        axis = self.config.preprocessing.axis
        labels = without_checks(self.labels, drawn_before(self.checks, self.begun_at))
        return np.concatenate([labels.slab(i, i + 1, axis=axis) for i in slices])

    def annotated(self, labels: Volume, *, with_test: bool = False) -> AnnotatedVolume:
        """Return the volume with its painted slices, unread."""
        learnt = [z for z in self.train if z not in self.validation]
        return AnnotatedVolume(
            image=self.image,
            labels=labels,
            roles={
                "train": learnt,
                "validation": self.validation,
                "test": self.test if with_test else (),
            },
            mask=self.mask,
            checks=self.checks,
        )

    def annotate(self, labels: Volume, *, with_test: bool = False) -> Annotation:
        """Read and check the painted slices of `labels`.

        Raises
        ------
        ValueError
            As `read_annotation` does.
        """
        volume = self.annotated(labels, with_test=with_test)
        return read_annotation(
            [volume], config=self.config, phases=self.phases, begun_at=self.begun_at
        )

    def with_fitted_context(self) -> "StudyTask":
        """Give the networks neighbours only if they resemble the slices."""
        config, _ = fit_context_slices(self.config, [self.annotated(self.labels)])
        return replace(self, config=config)

    def packed(self) -> PaintedSlices:
        """Read the training slices as they are perturbed: adjacent ones together."""
        labels = zip(self.painted, self.read_labels(self.painted), strict=True)
        return pack_slices(dict(labels), config=self.perturb)

    def perturbed(self, member: int) -> Labels:
        """Perturb the training slices for a member; they are in ascending order.

        Raises
        ------
        ValueError
            If they contain no interface.
        """
        packed = self.packed()
        perturbation = Perturbation(
            packed.labels, self.perturb, dimensions=packed.dimensions
        )
        perturbed: Labels = packed.of(perturbation.draw(self.rng_of(member)))
        return perturbed

    def suggest(self, *, wanted_share: float = 0.1) -> Suggestion:
        """Find a perturbation that changes the wanted share of the painted voxels.

        Raises
        ------
        ValueError
            As `annotate` and `suggest_perturbation` do.
        """
        self.annotate(self.labels)
        packed = self.packed()
        return suggest_perturbation(
            packed.labels,
            config=self.perturb,
            wanted_share=wanted_share,
            dimensions=packed.dimensions,
        )

    def rng_of(self, member: int) -> np.random.Generator:
        """Make the random generator that perturbs the labels of a member."""
        return np.random.default_rng((self.config.seed, member))

    def with_painting(self, training: Labels) -> Volume:
        """Return labels in which the training slices are replaced.

        Parameters
        ----------
        training : ndarray of uint8, shape (slices, rows, columns)
            Labels of the slices in `painted`.

        Returns
        -------
        Volume of uint8
            With the image's shape; 0 except in the training and test slices, and only
            those take memory.
        """
        slices = dict(zip(self.painted, training, strict=True))
        slices |= zip(self.test, self.read_labels(self.test), strict=True)
        array = SomeSlices(
            self.labels.shape, AXES[self.config.preprocessing.axis], slices
        )
        return as_labels(as_volume(array, name=self.labels.name))

    def with_painted_slices_only(self) -> "StudyTask":
        """Keep only the labels that are used, so that they can be sent to a process."""
        return replace(self, labels=self.with_painting(self.read_labels(self.painted)))

    def to_dict(self) -> dict[str, Any]:
        """Describe everything that the results depend on, as JSON values."""
        config = self.config.identity()
        del config["device"]
        task = {
            "image": self.image.name,
            "shape": [*self.image.shape],
            "mask": None if self.mask is None else self.mask.name,
            "training slices": [*self.painted],
            "validation slices": [*self.validation],
            "test slices": sorted(self.test),
            "config": config,
            "perturb": self.perturb.to_dict(),
            "min_size": self.predict.min_size,
            "labels": self._digest(self.labels, (*self.painted, *sorted(self.test))),
            "grey levels": self._digest(self.image, self.painted[:1]),
            "field of view": self.mask and self._digest(self.mask, self.painted[:1]),
        }
        if self.also_measure != AlsoMeasureConfig():  # earlier versions had none
            task["also measure"] = self.also_measure.to_dict()
        json_values: dict[str, Any] = json.loads(json.dumps(task))
        return json_values

    def _digest(self, volume: Volume, slices: tuple[int, ...]) -> str:
        digest = sha256(str(volume.dtype).encode())
        for i in slices:
            digest.update(
                volume.slab(i, i + 1, axis=self.config.preprocessing.axis).tobytes()
            )
        return digest.hexdigest()


def hash_of(task: Mapping[str, Any]) -> str:
    """Return a hash of a task's description, to tell tasks apart."""
    return sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()
