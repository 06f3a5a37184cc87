"""Write a set of perturbed labels, and how often each voxel lies on an interface."""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.annotation.painting.slices import SlicesRead
from napari_lrcs.config import Axis, PerturbConfig
from napari_lrcs.errors import ResultExistsError
from napari_lrcs.io.formats.tiff import is_ours, write_labels_tiff
from napari_lrcs.io.paths import check_outputs, follow_link
from napari_lrcs.io.volume import Volume, sources_of
from napari_lrcs.io.writing import check_new, replacing
from napari_lrcs.phases import PhaseTable, phases_up_to
from napari_lrcs.uncertainty.perturbation.histogram import (
    InterfaceHistogram,
    InterfaceWidths,
    SimulationEnded,
    interface_histogram,
    interface_widths,
    usual_simulations,
)
from napari_lrcs.uncertainty.perturbation.packed_slices import (
    PaintedSlices,
    read_painted,
    whole_slabs,
)
from napari_lrcs.uncertainty.perturbation.perturb import (
    Dimensions,
    advice,
    moved_fractions,
    resolve_kernel,
)
from napari_lrcs.uncertainty.perturbation.perturbed_slices import (
    MemberPerturbed,
    perturbed_members,
)
from napari_lrcs.uncertainty.perturbation.suggestion import suggest_perturbation

HISTOGRAM_NAME = "interface-histogram.tif"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerturbTask:
    """What is perturbed, how and how often.

    Parameters
    ----------
    labels : Volume of uint8
        As painted.
    n_members : int
        At least 1.
    seed : int
        At least 0; member m is drawn with ``np.random.default_rng((seed, m))``.
    slices : sequence of int, optional
        Slices that are perturbed; all by default. Others are 0 in the members.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    dimensions : {2, 3}, optional
        Whether slices are perturbed each on its own or together; 3 by default if two of
        them are neighbours.
    n_simulations : int, optional
        For the histogram; 1000 in 2D and 100 in 3D by default, 0 for none.
    wanted_share : float, optional
        Share of the painted voxels that is to change, which replaces the config's
        kernel and picked fraction.
    """

    labels: Volume
    config: PerturbConfig = field(default_factory=PerturbConfig)
    n_members: int = 15
    seed: int = 0
    slices: Sequence[int] | None = None
    axis: Axis = "z"
    dimensions: Dimensions | None = None
    n_simulations: int | None = None
    wanted_share: float | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"the seed must be at least 0, got {self.seed}")
        if self.n_simulations is not None and self.n_simulations < 0:
            raise ValueError(
                "the number of simulations must be at least 0, got "
                f"{self.n_simulations}; 0 is for none"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbing:
    """A part of the set is done."""

    share: float
    """Share of the members and simulations that are done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerturbedSet:
    """The set is complete and in its place."""

    files: tuple[Path, ...]
    """The members' files."""
    config: PerturbConfig
    """What was used; the kernel is never ``auto``."""
    dimensions: Dimensions
    phases: PhaseTable
    changed_shares: NDArray[np.float64]
    """Share of the painted voxels that changed in each member."""
    moved: NDArray[np.float64]
    """By how much of itself each phase grew, in each member: shape (n_members,
    n_phases); NaN for a phase that is not painted."""
    n_simulations: int
    widths: InterfaceWidths | None
    """Across interfaces of the histogram; None without one."""
    advice: tuple[str, ...]
    """Sentences of `perturb.advice` on the first member."""

    def to_dict(self) -> dict[str, Any]:
        """Gather all for JSON, unrounded."""
        moved = self.moved.mean(axis=0)
        return {
            "files": [str(path) for path in self.files],
            "config": self.config.to_dict(),
            "dimensions": self.dimensions,
            "changed_share": float(self.changed_shares.mean()),
            "changed_shares": self.changed_shares.tolist(),
            "phases": [
                {"label": p.label, "name": p.name, "moved_fraction": float(fraction)}
                for p, fraction in zip(self.phases, moved, strict=True)
            ],
            "interfaces": self._interfaces(),
            "advice": list(self.advice),
        }

    def _interfaces(self) -> dict[str, Any] | None:
        if self.widths is None:
            return None
        return {
            "n_simulations": self.n_simulations,
            "fwhm": self.widths.median_fwhm,
            "shift": self.widths.mean_shift,
            "n_fitted": self.widths.n_fitted,
            "n_failed": self.widths.n_failed,
        }


def write_perturbed_set(
    task: PerturbTask, *, out: Path, overwrite: bool = False
) -> Generator[Perturbing | PerturbedSet, None, None]:
    """Write perturbed labels and their interface histogram into a folder.

    Parameters
    ----------
    out : Path
        Folder that holds ``member-000.tif``, … and ``interface-histogram.tif`` when all
        of them are complete.
    overwrite : bool
        Whether a former set may be replaced.

    Yields
    ------
    Perturbing
        Several times a second.
    PerturbedSet
        Last.

    Raises
    ------
    ResultExistsError
        If `out` is there, or holds anything but a set.
    InUseError
        If another one writes to it.
    VolumeError
        If it cannot be made, or the labels are damaged.
    ValueError
        If nothing is painted, the labels lie in `out`, or as `Perturbation`,
        `interface_histogram` and `suggest_perturbation` do.
    """
    check_outputs([out], inputs=sources_of(task.labels))
    check_place_of_set(out, overwrite=overwrite)
    painted, config = _prepare(task)
    n_simulations = task.n_simulations
    if n_simulations is None:
        n_simulations = usual_simulations(painted.dimensions)
    n_draws = task.n_members + n_simulations
    changes = _Changes(
        painted, phases_up_to(int(painted.labels.max()), task.labels.phases)
    )
    widths: InterfaceWidths | None = None
    with replacing(out, overwrite=overwrite) as temporary:
        _check_is_set(out)
        temporary.mkdir(exist_ok=True)
        for member in perturbed_members(
            painted, config=config, n_members=task.n_members, seed=task.seed
        ):
            changes.add(member)
            path = _member_path(temporary, member.number)
            _write(path, task, painted, member.labels, phases=task.labels.phases)
            yield Perturbing(share=(member.number + 1) / n_draws)
        for event in _simulate(painted, config, n_simulations, task.seed):
            if isinstance(event, InterfaceHistogram):
                widths = interface_widths(event, painted.labels)
                _write(temporary / HISTOGRAM_NAME, task, painted, event.counts)
            else:
                yield Perturbing(share=(task.n_members + event.n_done) / n_draws)
    yield PerturbedSet(
        files=tuple(_member_path(out, number) for number in range(task.n_members)),
        config=config.with_changes(
            kernel=resolve_kernel(config.kernel, dimensions=painted.dimensions)
        ),
        dimensions=painted.dimensions,
        phases=changes.phases,
        changed_shares=np.array(changes.shares),
        moved=np.array(changes.moved),
        n_simulations=n_simulations,
        widths=widths,
        advice=changes.advice,
    )


def check_place_of_set(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder for a set before any work is done for it.

    Raises
    ------
    ResultExistsError
        If it is there and may not be overwritten, or holds anything but a set.
    VolumeError
        If it cannot be made.
    """
    check_new(out, overwrite=overwrite)
    _check_is_set(out)


def _check_is_set(out: Path) -> None:
    """Refuse to replace anything that we have not written."""
    out = follow_link(out)
    files = [*out.iterdir()] if out.is_dir() else [out]
    foreign = [path.name for path in files if path.exists() and not _is_of_set(path)]
    if foreign:
        raise ResultExistsError(
            f"{out} holds {min(foreign)}, which is not of a set of perturbed labels; "
            "choose another folder"
        )


def _is_of_set(path: Path) -> bool:
    names = rf"member-[0-9]{{3,}}\.tif|{re.escape(HISTOGRAM_NAME)}"
    return bool(re.fullmatch(names, path.name)) and path.is_file() and is_ours(path)


class _Changes:
    """What the members of a set change, gathered one by one."""

    def __init__(self, painted: PaintedSlices, phases: PhaseTable) -> None:
        self._original = painted.of(painted.labels)
        self._painted = painted
        self.phases = phases
        self.shares: list[float] = []
        self.moved: list[NDArray[np.float64]] = []
        self.advice: tuple[str, ...] = ()

    def add(self, member: MemberPerturbed) -> None:
        perturbed = self._painted.of(member.labels)
        if member.number == 0:
            self.advice = advice(self._original, perturbed, self.phases)
        self.shares.append(member.changed_share)
        self.moved.append(
            moved_fractions(self._original, perturbed, n_phases=len(self.phases))
        )


def _prepare(task: PerturbTask) -> tuple[PaintedSlices, PerturbConfig]:
    painted = _read(task)
    if task.dimensions is not None:
        painted = replace(painted, dimensions=task.dimensions)
    if task.wanted_share is None:
        return painted, task.config
    suggestion = suggest_perturbation(
        painted.labels,
        config=task.config,
        wanted_share=task.wanted_share,
        seed=task.seed,
        dimensions=painted.dimensions,
    )
    return painted, suggestion.config


def _read(task: PerturbTask) -> PaintedSlices:
    *_, last = read_painted(
        task.labels, config=task.config, axis=task.axis, slices=task.slices
    )
    assert not isinstance(last, SlicesRead)
    return last


def _simulate(
    painted: PaintedSlices, config: PerturbConfig, n_simulations: int, seed: int
) -> Iterator[SimulationEnded | InterfaceHistogram]:
    if n_simulations == 0:
        return
    yield from interface_histogram(
        painted.labels,
        config=config,
        n_simulations=n_simulations,
        seed=seed,
        dimensions=painted.dimensions,
    )


def _member_path(out: Path, number: int) -> Path:
    return out / f"member-{number:03d}.tif"


def _write(
    path: Path,
    task: PerturbTask,
    painted: PaintedSlices,
    packed: NDArray[Any],
    *,
    phases: PhaseTable | None = None,
) -> None:
    """Write packed slices as a TIFF file of the whole volume's shape, 0 elsewhere."""
    labels = task.labels
    write_labels_tiff(
        path,
        whole_slabs(painted.planes(packed), shape=labels.shape, axis=task.axis),
        shape=labels.shape,
        dtype=packed.dtype,
        voxel_size=labels.voxel_size,
        unit=labels.unit,
        phases=phases,
    )
