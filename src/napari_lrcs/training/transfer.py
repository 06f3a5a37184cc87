"""Transfer learning: a training that starts from the weights of another network."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from napari_lrcs.annotation.held_out import Place, Split
from napari_lrcs.config import Axis, NetworkConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.provenance import Learnt
from napari_lrcs.io.volume import Volume
from napari_lrcs.models.header import checkpoint_file, read_header
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.run.folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

    from napari_lrcs.models.checkpoint import Checkpoint
    from napari_lrcs.models.layers import SegmentationNetwork

KeptPart: TypeAlias = Literal["all", "encoder"]
"""The paper keeps all kernels; the encoder alone forgets how they were put together."""

_ENCODER = ("first.", "encoder.")
_CLASSIFIER = "classifier."
"""Its tensors have a row for each phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The network that a training starts from.

    Parameters
    ----------
    path : Path
        Checkpoint or run folder.
    kept : {"all", "encoder"}
        Whether to take over all weights, or those of the encoder alone.
    """

    path: Path
    kept: KeptPart = "all"

    def fill(
        self, model: "SegmentationNetwork", config: NetworkConfig, phases: PhaseTable
    ) -> str:
        """Put the weights into a network; what is not taken over stays as it is.

        Phases are matched by name, or by their order where one of the two networks has
        numbered phases alone and both have equally many.

        Parameters
        ----------
        model : SegmentationNetwork
            Built from `config` and `phases`.

        Returns
        -------
        str
            What starts fresh, for a message; empty if nothing does.

        Raises
        ------
        CheckpointError
            If the checkpoint cannot be read, or its network is another one.
        """
        from napari_lrcs.models.checkpoint import check_shapes, load_checkpoint

        other, own = load_checkpoint(self.path), model.state_dict()
        _check_channels(self.path, other, config)
        rows = _matching(other.phases, phases)
        taken = {
            name: _by_phase(own[name], tensor, rows)
            if name.startswith(_CLASSIFIER) and name in own
            else tensor
            for name, tensor in other.state.items()
        }
        check_shapes({name: tuple(t.shape) for name, t in taken.items()}, own)
        if self.kept == "encoder":
            taken = {n: t for n, t in taken.items() if n.startswith(_ENCODER)}
        model.load_state_dict(own | taken)
        return self._describe(other.phases, phases, rows)

    def read_splits(self, axis: Axis, images: Iterable[Volume]) -> dict[Place, Split]:
        """Read what of some images the network has learnt and was validated on.

        Parameters
        ----------
        axis : {"z", "y", "x"}
        images : iterable of Volume
            Told from others of their name by their fingerprints.

        Returns
        -------
        dict of Place to Split
            Empty without a run folder, or if all images or the axis are others.
        """
        run = RunFolder(self.path if self.path.is_dir() else self.path.parent)
        if not run.is_certain:
            return {}
        known = {s.fingerprint for s in self.read_learnt().slices}
        names = {image.name for image in images if image.fingerprint() in known}
        splits = run.read_splits(axis)
        return {place: split for place, split in splits.items() if place[0] in names}

    def read_learnt(self) -> Learnt:
        """Read what the network has learnt from; raises as `fill` does."""
        return read_header(checkpoint_file(self.path)).learnt

    def _describe(self, theirs: PhaseTable, own: PhaseTable, rows: list[int]) -> str:
        if self.kept == "encoder":
            return (
                f"only the encoder of {self.path.name} is taken over; the rest of the "
                "network starts fresh"
            )
        fresh = [name for name, row in zip(own.names, rows, strict=True) if row < 0]
        if not fresh:
            return ""
        starts = "starts" if len(fresh) == 1 else "start"
        return (
            f"{' and '.join(fresh)} {starts} fresh: {self.path.name} predicts "
            f"{', '.join(theirs.names)}"
        )


def splits_before(
    former: RunFolder | Origin | None, axis: Axis, images: Iterable[Volume]
) -> dict[Place, Split]:
    """Read what the network that goes on has learnt of some images; {} without one."""
    if isinstance(former, Origin):
        return former.read_splits(axis, images)
    return {} if former is None else former.read_splits(axis)


def _check_channels(path: Path, other: "Checkpoint", config: NetworkConfig) -> None:
    theirs = other.config.network
    if config.n_channels != theirs.n_channels:
        raise CheckpointError(
            f"{path.name} sees {theirs.n_channels} slices at once, this training "
            f"{config.n_channels}; set context_slices to {theirs.context_slices}"
        )


def _matching(theirs: PhaseTable, own: PhaseTable) -> list[int]:
    """Return for each own phase the place of theirs, or -1 if they have none."""
    is_numbered = any(all(p.has_default_name for p in t) for t in (theirs, own))
    if len(theirs) == len(own) and is_numbered:
        return list(range(len(own)))
    places = {name.casefold(): place for place, name in enumerate(theirs.names)}
    return [places.get(name.casefold(), -1) for name in own.names]


def _by_phase(own: "Tensor", theirs: "Tensor", rows: list[int]) -> "Tensor":
    """Replace the rows of phases that they have; of another network, return theirs."""
    import torch

    if own.shape[1:] != theirs.shape[1:]:
        return theirs
    return torch.stack(
        [theirs[row] if row >= 0 else own[i] for i, row in enumerate(rows)]
    )
