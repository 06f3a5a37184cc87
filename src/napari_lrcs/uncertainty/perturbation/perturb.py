"""Perturb painted labels at their interfaces, as experimenters differ there."""

from collections.abc import Sequence
from itertools import product
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.config import Kernel, PerturbConfig
from napari_lrcs.metrics.counting import count_labels
from napari_lrcs.metrics.interfaces import find_interface
from napari_lrcs.phases import UNPAINTED, PhaseTable

Scalar = TypeVar("Scalar", bound=np.generic)

Dimensions = Literal[2, 3]
"""Whether slices are perturbed each on its own (2) or together (3)."""

ENOUGH_SLICES = 10
"""Adjacent painted slices that the paper perturbs at least."""

_MOVED_TOO_FAR = 0.1
"""Relative change of a phase's volume that makes the perturbed phase another one."""

_AUTO: dict[int, Kernel] = {2: "cube_5", 3: "ball_5"}
"""Kernels whose interface histograms are about ten voxels wide, as the paper's."""

_FAR_APART = 1e6
"""Distance between slices that are perturbed on their own; above any max_distance."""

_VOXELS_AT_ONCE = 2**20
"""Voxels of kernels written at once, which bounds the memory that their places take."""


class Perturbation:
    """Labels prepared for many perturbations.

    In each iteration each interface voxel is picked with the same probability, and
    takes the voxels of its kernel for its own phase. Where kernels overlap, the picked
    voxel with the highest random priority wins. Voxels farther than
    ``config.max_distance`` (between centres) from the nearest original interface voxel
    never change, nor do unpainted ones.

    An interface voxel is painted and has a painted face neighbour of another phase:
    of 4 within a slice, of 6 in a volume.

    Parameters
    ----------
    labels : ndarray of uint8, shape (y, x) or (z, y, x)
        As painted; a copy is kept.
    dimensions : {2, 3}, optional
        Whether slices are perturbed each on its own or together; 3 by default if there
        is more than one slice.

    Raises
    ------
    ValueError
        If the labels are not uint8, are empty, hold fewer than two phases or no
        interface, or none of the phases that may grow.
    """

    def __init__(
        self,
        labels: Labels,
        config: PerturbConfig = PerturbConfig(),  # noqa: B008 frozen
        *,
        dimensions: Dimensions | None = None,
    ) -> None:
        _check_labels(labels, config.growing)
        self._shape = labels.shape
        self.config = config
        self.dimensions: Dimensions = dimensions or usual_dimensions(labels)
        offsets = kernel_offsets(config.kernel, dimensions=self.dimensions)
        volume = labels[np.newaxis] if labels.ndim == 2 else labels
        # No kernel reaches across a border of this width, so that flat places suffice.
        self._border: list[int] = offsets.max(axis=0).tolist()
        self._original = np.ascontiguousarray(
            np.pad(volume, [(n, n) for n in self._border])
        )
        self._reach = offsets @ np.array(self._original.strides)
        on_interface = find_interface(self._original, dimensions=self.dimensions)
        if not on_interface.any():
            raise ValueError(
                "no phase touches another one, so there is no interface to perturb; "
                "paint neighbouring phases up to each other"
            )
        self.interface: Mask = self._unpadded(on_interface)
        self._frozen = self._find_frozen(on_interface)
        self._grows = np.zeros(256, np.bool_)
        self._grows[list(config.growing) or slice(1, None)] = True

    def draw(self, rng: np.random.Generator) -> Labels:
        """Perturb the labels once.

        Returns
        -------
        ndarray of uint8, shape of the labels
        """
        return self._unpadded(self._draw(rng))

    def draw_with_interface(self, rng: np.random.Generator) -> tuple[Labels, Mask]:
        """Perturb the labels once; return them and the mask of their interfaces."""
        labels = self._draw(rng)
        on_interface = find_interface(labels, dimensions=self.dimensions)
        return self._unpadded(labels), self._unpadded(on_interface)

    def _draw(self, rng: np.random.Generator) -> Labels:
        labels = self._original.copy()
        for _ in range(self.config.n_iterations):
            on_interface = find_interface(labels, dimensions=self.dimensions)
            places = np.flatnonzero(on_interface)
            places = places[self._grows[labels.reshape(-1)[places]]]
            picked = places[rng.random(len(places)) < self.config.picked_fraction]
            self._grow(labels, rng.permutation(picked))
        return labels

    def _grow(self, labels: Labels, picked: NDArray[np.intp]) -> None:
        """Let voxels grow by increasing priority: the last one written wins."""
        flat = labels.reshape(-1)
        phases = flat[picked]
        step = max(_VOXELS_AT_ONCE // len(self._reach), 1)
        for first in range(0, len(picked), step):
            part = slice(first, first + step)
            flat[picked[part, np.newaxis] + self._reach] = phases[part, np.newaxis]
        np.copyto(labels, self._original, where=self._frozen)

    def _find_frozen(self, on_interface: Mask) -> Mask:
        between_slices = 1.0 if self.dimensions == 3 else _FAR_APART
        distance: NDArray[np.float64] = ndimage.distance_transform_edt(
            ~on_interface, sampling=(between_slices, 1, 1)
        )
        frozen: Mask = distance > self.config.max_distance
        frozen |= self._original == UNPAINTED
        return frozen

    def _unpadded(self, padded: NDArray[Scalar]) -> NDArray[Scalar]:
        inner = tuple(
            slice(n, size - n)
            for n, size in zip(self._border, padded.shape, strict=True)
        )
        return padded[inner].reshape(self._shape).copy()


def resolve_kernel(kernel: Kernel, *, dimensions: Dimensions) -> Kernel:
    """Return the kernel that ``auto`` stands for, and any other as it is."""
    return _AUTO[dimensions] if kernel == "auto" else kernel


def kernel_offsets(kernel: Kernel, *, dimensions: Dimensions) -> NDArray[np.intp]:
    """List the voxels of a kernel, relative to the picked one, which is among them.

    Parameters
    ----------
    kernel : str
        One of `napari_lrcs.config.Kernel`.
    dimensions : {2, 3}
        2 keeps to the slice.

    Returns
    -------
    ndarray of int, shape (n, 3)
        dz, dy and dx.

    Examples
    --------
    >>> len(kernel_offsets("auto", dimensions=2))
    25
    >>> len(kernel_offsets("auto", dimensions=3))
    57
    """
    kernel = resolve_kernel(kernel, dimensions=dimensions)
    shape, _, size = ("ball", "", "1") if kernel == "cross" else kernel.partition("_")
    reach = int(size) // 2 if shape == "cube" else int(int(size) ** 0.5)
    steps = range(-reach, reach + 1)
    around = product(steps if dimensions == 3 else (0,), steps, steps)
    offsets = np.array(list(around), np.intp)
    if shape == "ball":
        offsets = offsets[(offsets**2).sum(axis=1) <= int(size)]
    return offsets


def perturb_labels(
    labels: Labels,
    *,
    config: PerturbConfig = PerturbConfig(),  # noqa: B008 frozen
    seed: int | Sequence[int],
    dimensions: Dimensions | None = None,
) -> Labels:
    """Perturb labels once.

    Parameters
    ----------
    labels, config, dimensions
        As of `Perturbation`.
    seed : int or sequence of int
        Member m of a set with seed s has the seed (s, m).

    Returns
    -------
    ndarray of uint8, shape of the labels

    Raises
    ------
    ValueError
        As `Perturbation` does.
    """
    perturbation = Perturbation(labels, config, dimensions=dimensions)
    return perturbation.draw(np.random.default_rng(seed))


def changed_share(original: Labels, perturbed: Labels) -> float:
    """Return the share of the painted voxels, 0 to 1, whose label changed.

    NaN where nothing is painted.
    """
    painted = np.count_nonzero(original)
    return float(np.count_nonzero(original != perturbed) / (painted or np.nan))


def moved_fractions(
    original: Labels, perturbed: Labels, *, n_phases: int
) -> NDArray[np.float64]:
    """Return by how much of itself each phase grew or shrank.

    Returns
    -------
    ndarray of float64, shape (n_phases,)
        0.1 for a phase with a tenth more voxels; NaN for one without any before.
    """
    before, after = (
        count_labels(labels)[1 : n_phases + 1] for labels in (original, perturbed)
    )
    return (after - before) / np.where(before == 0, np.nan, before)


def advice(original: Labels, perturbed: Labels, phases: PhaseTable) -> tuple[str, ...]:
    """List what makes perturbed labels doubtful, and what to do about it.

    Parameters
    ----------
    original, perturbed : ndarray of uint8, shape (y, x) or (z, y, x)
    phases : PhaseTable
        For the names.

    Returns
    -------
    tuple of str
        One sentence or two each: a phase whose volume moved by more than a tenth of
        itself; a volume of fewer painted slices than the paper asks for.
    """
    moved = moved_fractions(original, perturbed, n_phases=len(phases))
    sentences = [
        f"the volume of {phase.name} changed by {move:+.0%}: its parts are "
        "too thin for this perturbation; use a smaller kernel or pick fewer voxels"
        for phase, move in zip(phases, moved, strict=True)
        if abs(move) > _MOVED_TOO_FAR
    ]
    if original.ndim == 3:
        n_painted = np.count_nonzero(original.any(axis=(1, 2)))
        if n_painted < ENOUGH_SLICES:
            sentences.append(
                f"painted slices: {n_painted}; the paper perturbs at least "
                f"{ENOUGH_SLICES} adjacent ones together, so paint more if you can"
            )
    return tuple(sentences)


def usual_dimensions(labels: Labels) -> Dimensions:
    """Return 3 for a volume of several slices, else 2."""
    return 3 if labels.ndim == 3 and len(labels) > 1 else 2


def _check_labels(labels: Labels, growing: tuple[int, ...]) -> None:
    if labels.ndim not in (2, 3) or labels.size == 0 or labels.dtype != np.uint8:
        raise ValueError(
            f"labels have the shape {labels.shape} and are {labels.dtype}; expected a "
            "slice (y, x) or a volume (z, y, x) of uint8 that is not empty"
        )
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    present = present[present != UNPAINTED]
    if len(present) < 2:
        found = f"only phase {present[0]}" if len(present) else "nothing"
        raise ValueError(
            f"{found} is painted, but an interface needs 2 phases; paint another one"
        )
    if growing and not np.isin(growing, present).any():
        raise ValueError(
            f"none of the phases that may grow ({', '.join(map(str, growing))}) is "
            f"painted; painted are {', '.join(map(str, present))}"
        )
