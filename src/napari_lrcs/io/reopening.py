"""Volumes that another process opens again, rather than being sent their voxels."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.volume import ArrayLike3D, Volume


def open_to_share(path: str | Path) -> Volume:
    """Open a volume as `open_volume` does, so that it may go to other processes.

    Parameters
    ----------
    path : str or Path
        As for `open_volume`; other processes must find the file there too.

    Returns
    -------
    Volume
        Pickled, it is no more than the path, and is opened again where it arrives.

    Raises
    ------
    VolumeError
        As `open_volume` does; where it arrives, too.
    """
    volume = open_volume(path)
    place = os.path.abspath(path)  # noqa: PTH100 a data set's name may follow
    return replace(volume, array=_Reopened(place, volume.array))


@dataclass(frozen=True, slots=True)
class _Reopened:
    path: str
    array: ArrayLike3D

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path,)


def _reopen(path: str) -> _Reopened:
    return _Reopened(path, open_volume(path).array)
