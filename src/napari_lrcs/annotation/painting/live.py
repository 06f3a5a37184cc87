"""A painting that grows while a network learns from it."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.annotation.annotation import AnnotatedVolume
from napari_lrcs.arrays import Labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stroke:
    """What has changed in a slice since it was read last.

    Parameters
    ----------
    index : int
        Place of the slice along the axis, from 0.
    n_voxels : int
        Voxels whose label has changed; erased ones count too.
    places : ndarray of int64, flat
        Those of them that are now painted for training, in the order of the slice.
    """

    index: int
    n_voxels: int
    places: NDArray[np.int64]

    @classmethod
    def between(
        cls, index: int, before: Labels, now: Labels, training: Labels
    ) -> "Stroke":
        """Compare the labels of a slice with those before, and what is trained on."""
        has_changed = before != now
        return cls(
            index=index,
            n_voxels=int(np.count_nonzero(has_changed)),
            places=np.flatnonzero(has_changed & (training != 0)),
        )


class LivePainting:
    """Tells a training which slices were painted, and that it is to finish.

    Whoever paints calls `mark_changed`, `finish` and `add_painted` from any thread;
    the training takes and waits in its own.

    Parameters
    ----------
    read : callable
        Returns the painting with its roles and check patches as they are now; called
        in the thread of the training. Painted slices without a role are for training.
    painted : iterable of int
        Slices that are painted to begin with.
    """

    def __init__(
        self, read: Callable[[], AnnotatedVolume], *, painted: Iterable[int] = ()
    ) -> None:
        self.read = read
        self._condition = threading.Condition()
        self._changed = set(painted)
        self._is_finishing = False

    def mark_changed(self, indices: Iterable[int]) -> None:
        """Have some slices read again, since they may have changed."""
        with self._condition:
            self._changed |= set(indices)
            self._condition.notify_all()

    def finish(self) -> None:
        """Ask the training to come to its end."""
        with self._condition:
            self._is_finishing = True
            self._condition.notify_all()

    @property
    def is_finishing(self) -> bool:
        """Whether the training was asked to come to its end."""
        return self._is_finishing

    @property
    def has_changed(self) -> bool:
        """Whether slices may have changed since the last `take`."""
        return bool(self._changed)

    def take(self) -> frozenset[int]:
        """Return the slices that may have changed since the last call."""
        with self._condition:
            taken, self._changed = frozenset(self._changed), set()
        return taken

    def wait(self, seconds: float) -> bool:
        """Wait for a change or the end, without computing; tell whether it came."""
        with self._condition:
            return self._condition.wait_for(
                lambda: self.has_changed or self._is_finishing, timeout=seconds
            )
