"""Check patches on disk: where they are, and their painting."""

from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import TypedDict

import numpy as np

from napari_lrcs.annotation.check_patches import (
    MARGIN,
    Check,
    CheckDesign,
    CheckPatch,
    Region,
    Thickness,
    count_tiles,
)
from napari_lrcs.annotation.painting.folder import (
    ImageIdentity,
    PaintingFolder,
    PaintingState,
)
from napari_lrcs.arrays import Mask
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.lazy_arrays import Wrapper
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.records import Record
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import UNPAINTED, PhaseTable
from napari_lrcs.preprocessing.mask import open_mask

_RECORD = "check.json"
_SLAB = 16
"""Slices of a segmentation that are read at once."""


class _CheckDict(TypedDict):
    """Content of ``check.json``."""

    shape: tuple[int, int, int]
    axis: Axis
    size: int
    margin: int
    thickness: Thickness
    seed: int
    blind: bool
    patches: tuple[CheckPatch, ...]
    drawn_at: datetime
    segmentation: str
    n_voxels: int
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Some of the segmentation has been read, to find where patches may lie."""

    share: float
    """0 to 1."""


@dataclass(frozen=True, slots=True)
class CheckFolder:
    """A folder with ``check.json`` and the painting of the patches.

    Whatever reads raises a `VolumeError` if there are no patches, or they are damaged.

    Parameters
    ----------
    path : Path
        The folder; see `draw_check`.
    """

    path: Path

    @property
    def record(self) -> Record[_CheckDict]:
        """The file that makes the folder one of check patches."""
        return Record(path=self.path / _RECORD, kind=_CheckDict, what="check")

    @property
    def is_check(self) -> bool:
        """Whether patches have been drawn here."""
        return self.record.exists

    @property
    def painting(self) -> PaintingFolder:
        """The painting of the patches: the volume's shape, 0 where unpainted."""
        return PaintingFolder(self.path / "painting")

    def read(self) -> Check:
        """Read where the patches are.

        Raises
        ------
        VolumeError
            If there are none, or if they have been moved since they were drawn.
        """
        content = self.record.read()
        try:
            check = _check_of(content)
        except ValueError as error:
            raise self._damaged(str(error)) from error
        if content["margin"] != MARGIN or content["id"] != check.id:
            raise self._damaged(
                "patches or settings have changed since they were drawn; patches must "
                "stay where chance has placed them: restore the file, or draw others"
            )
        return check

    def mark_done(self, number: int, *, done: bool = True) -> None:
        """Note whether the painter has finished a patch; `number` counts from 0."""
        check = self.read()
        patches = [*check.patches]
        patches[number] = replace(patches[number], done=done)
        self.write(replace(check, patches=tuple(patches)))

    def field_of_view(self) -> Volume | None:
        """Open the voxels that the patches stand for; None for the whole volume."""
        state = self.painting.read()
        return open_mask(state.mask, shape=state.image.shape)

    def open_painting(self) -> Volume:
        """Open the painted labels."""
        return open_labels(self.path / "painting" / "labels.zarr")

    def write(self, check: Check) -> None:
        """Write where the patches are, which makes the folder one of check patches."""
        design = asdict(check.design)
        del design["shape"]
        self.record.write(
            {
                "shape": check.design.shape,
                **design,
                "margin": MARGIN,
                "drawn_at": check.drawn_at.isoformat(),
                "segmentation": check.segmentation,
                "n_voxels": check.n_voxels,
                "patches": [asdict(patch) for patch in check.patches],
                "id": check.id,
            },
        )

    def _damaged(self, reason: str) -> VolumeError:
        return VolumeError(f"{_RECORD} in {self.path} is damaged: {reason}")


def draw_check(  # noqa: PLR0913 what is drawn, from what, and where it goes
    path: Path,
    segmentation: Volume,
    *,
    design: CheckDesign,
    n_patches: int,
    phases: PhaseTable,
    image: ImageIdentity,
    mask: Volume | None = None,
) -> Generator[Drawing | Check, None, None]:
    """Draw check patches, and begin their painting.

    Patches stand for the voxels that the segmentation has labelled inside the mask.
    These are kept in the folder, so that every segmentation is judged by the same.

    Parameters
    ----------
    path : Path
        The new folder.
    segmentation : Volume of uint8
        Labels; 0 where nothing is predicted.
    design : CheckDesign
        Of the segmentation's shape.
    n_patches : int
        Number of patches.
    phases : PhaseTable
        Phases that can be painted.
    image : ImageIdentity
        The image that is painted on.
    mask : Volume of bool, optional
        Field of view.

    Yields
    ------
    Drawing, and at last Check

    Raises
    ------
    ResultExistsError
        If something is at `path`.
    ValueError
        If the design is for another shape, or the field of view has too few tiles.
    """
    if design.shape != segmentation.shape:
        raise ValueError(
            f"{segmentation.name} is {segmentation.shape}, but the patches are for "
            f"{design.shape}; expected the same shape"
        )
    view = _labelled(segmentation, mask)
    with replacing(path, overwrite=False) as temporary:
        tiles = None
        for tiles in count_tiles(design, _slices(view, design)):
            yield Drawing(share=np.count_nonzero(tiles.n_voxels) / design.n_slices)
        if tiles is None or not tiles.n_voxels.any():
            raise ValueError(
                f"{segmentation.name} has no predicted voxel in the field of view; "
                "predict first"
            )
        check = Check(
            design=design,
            patches=tiles.draw(n_patches, inside=lambda i: _slice(view, design, i)),
            drawn_at=datetime.now(UTC),
            segmentation=segmentation.name,
            n_voxels=int(tiles.n_voxels.sum()),
        )
        temporary.mkdir()
        folder = CheckFolder(temporary)
        _begin_painting(folder.painting.path, check, view, phases=phases, image=image)
        if not design.blind:
            _copy_patches(folder, check, segmentation, view)
        folder.write(check)
    yield check


def _begin_painting(
    path: Path, check: Check, view: Volume, *, phases: PhaseTable, image: ImageIdentity
) -> None:
    is_whole = check.n_voxels == prod(check.design.shape)
    mask = PaintingFolder(path).mask
    painting = PaintingFolder.create(
        path,
        PaintingState(
            axis=check.design.axis,
            phases=phases,
            roles={},
            mask=None if is_whole else str(mask),
            image=image,
        ),
        voxel_size=view.voxel_size,
        unit=view.unit,
    )
    if not is_whole:
        painting.write_mask(view)


def _copy_patches(
    folder: CheckFolder, check: Check, segmentation: Volume, view: Volume
) -> None:
    """Begin the painting with the prediction."""
    painted = folder.painting.labels.array
    for patch in check.patches:
        region = check.design.region(patch)
        painted[region] = segmentation.region(*region) * view.region(*region)


def _slices(view: Volume, design: CheckDesign) -> Iterator[Mask]:
    for start in range(0, design.n_slices, _SLAB):
        stop = min(start + _SLAB, design.n_slices)
        yield from view.slab(start, stop, axis=design.axis)


def _slice(view: Volume, design: CheckDesign, index: int) -> Mask:
    inside: Mask = view.slab(index, index + 1, axis=design.axis)[0]
    return inside


@dataclass(frozen=True, slots=True)
class _Labelled(Wrapper):
    """True where labels are not 0, inside a mask."""

    mask: Volume | None
    dtype = np.dtype(np.bool_)

    def __getitem__(self, key: Region) -> Mask:
        inside: Mask = np.asarray(self.array[key]) != UNPAINTED
        return inside if self.mask is None else inside & self.mask.region(*key)


def _labelled(segmentation: Volume, mask: Volume | None) -> Volume:
    """Return the field of view of a segmentation: what is labelled inside the mask."""
    return replace(segmentation, array=_Labelled(segmentation.array, mask), phases=None)


def _check_of(content: _CheckDict) -> Check:
    return Check(
        design=CheckDesign(
            shape=content["shape"],
            axis=content["axis"],
            size=content["size"],
            thickness=content["thickness"],
            seed=content["seed"],
            blind=content["blind"],
        ),
        patches=content["patches"],
        drawn_at=content["drawn_at"],
        segmentation=content["segmentation"],
        n_voxels=content["n_voxels"],
    )
