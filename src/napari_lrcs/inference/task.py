"""The task of a prediction: a volume, a network, slices and settings."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from napari_lrcs.arrays import GreyImage, Mask
from napari_lrcs.config import PredictConfig
from napari_lrcs.inference.foreign import warn_of_grey_levels, warn_of_voxel_size
from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.watching import content_stamp
from napari_lrcs.metrics.calibration import UNCALIBRATED
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.preprocessing.mask import is_cylinder
from napari_lrcs.preprocessing.slices import SliceReader, runs_of
from napari_lrcs.progress import Notice

_N_SAMPLES = 5
"""Slices by which one volume is told from another, beside the stamps of its files."""

_MOST_VOXELS = 2**25
"""Voxels that are read at once, unless a slice has more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredictTask:
    """A volume to predict, and how; checked without reading a voxel.

    Parameters
    ----------
    volume : Volume
        Any size; grey levels as in the training volume.
    checkpoint : Checkpoint
        Its filters, normalisation, axis and context are applied.
    config : PredictConfig
        Where and in which portions.
    slices : sequence of int, optional
        Slices to predict, along the checkpoint's axis; all by default.
    mask : Volume of bool, optional
        Field of view.

    Raises
    ------
    ValueError
        If a slice is out of range.
    """

    volume: Volume
    checkpoint: Checkpoint
    config: PredictConfig = field(default_factory=PredictConfig)
    slices: Sequence[int] | None = None
    mask: Volume | None = None

    def __post_init__(self) -> None:
        places, n = self.wanted, self.reader.n_slices
        if not places or places[0] < 0 or places[-1] >= n:
            raise ValueError(
                f"slices must lie between 0 and {n - 1} along {self.reader.axis}, "
                f"got {places[:1] + places[-1:]}"
            )

    @property
    def reader(self) -> SliceReader:
        """Reads slices as the network was trained."""
        return SliceReader.for_config(
            self.volume, self.checkpoint.config, mask=self.mask
        )

    @property
    def wanted(self) -> list[int]:
        """Slices to predict, ascending."""
        if self.slices is None:
            return list(range(self.reader.n_slices))
        return sorted(set(self.slices))

    def read(self, slab: Slab) -> tuple[GreyImage, Mask | None]:
        """Read grey levels, filtered and normalised, and the mask of a slab."""
        reader = self.reader
        image = reader.read(slab.start, slab.stop)
        inside = reader.inside(slab.start, slab.stop)
        return self.checkpoint.normalisation(image), inside

    @property
    def geometry(self) -> Geometry:
        """What the result has in common with the volume."""
        return Geometry.of(self.reader, self.checkpoint.phases)

    def provenance(self) -> Provenance:
        """Tell what the result is of; reads a slice."""
        return Provenance(
            image=self.volume.name,
            fingerprint=self.volume.fingerprint(),
            learnt=self.checkpoint.learnt,
        )

    def warnings(self) -> Iterator[Notice]:
        """Warn of a volume that is foreign to the network."""
        yield from warn_of_voxel_size(self.volume, self.checkpoint)
        yield from warn_of_grey_levels(
            self.volume, self.checkpoint, slices=self.wanted, mask=self.mask
        )

    def identity(self) -> dict[str, Any]:
        """Tell it from others: a prediction is continued only if all of this agrees."""
        reader, wanted, mask = self.reader, self.wanted, self.mask
        # Across other axes, too, slices along z are sampled: files are read fastest so.
        places = wanted if reader.axis == "z" else range(self.volume.shape[0])
        last = len(places) - 1
        samples = sorted(
            {places[i * last // (_N_SAMPLES - 1)] for i in range(_N_SAMPLES)}
        )
        # Only where it is asked for, so that what was interrupted before can go on.
        turns = {"average_turns": True} if self.config.average_turns else {}
        files = [content_stamp(place) for place in self.volume.sources]
        # A mask is often corrected in a few slices, so all of a drawn one count.
        of_mask = samples if mask is None or is_cylinder(mask) else places
        return {
            **turns,
            **({"files": files} if files else {}),
            "checkpoint": fingerprint(self.checkpoint),
            "volume": self.volume.name,
            "shape": self.volume.shape,
            "samples": _digest(self.volume, samples),
            "slices": wanted,
            "mask": None if mask is None else _digest(mask, of_mask),
        }


def fingerprint(checkpoint: Checkpoint) -> str:
    """Tell one network from another, by all that its predictions depend on."""
    weights = sha256(json.dumps(checkpoint.config.identity()).encode())
    for name, tensor in sorted(checkpoint.state.items()):
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    weights.update(json.dumps(checkpoint.normalisation.to_dict()).encode())
    if checkpoint.temperature != 1:  # so that those of older networks stay the same
        weights.update(json.dumps(checkpoint.temperature).encode())
    if checkpoint.confidence_curve != UNCALIBRATED:
        weights.update(json.dumps(asdict(checkpoint.confidence_curve)).encode())
    return weights.hexdigest()


def _digest(volume: Volume, places: Sequence[int]) -> str:
    digest = sha256(str(volume.dtype).encode())
    _, rows, columns = volume.shape
    for run in runs_of(places, depth=max(1, _MOST_VOXELS // (rows * columns))):
        digest.update(volume.slab(run.start, run.stop).tobytes())
    return digest.hexdigest()
