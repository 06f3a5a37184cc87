from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis, PerturbConfig
from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.perturbation.histogram import (
    InterfaceHistogram,
    interface_histogram,
)
from napari_lrcs.uncertainty.perturbation.perturb import changed_share, perturb_labels
from napari_lrcs.uncertainty.perturbation.perturbed_set import (
    PerturbedSet,
    PerturbTask,
    write_perturbed_set,
)

PHASES = PhaseTable.named("pore", "solid")


def volume(labels: Labels) -> Volume:
    return Volume(
        array=labels,
        name="labels.tif",
        voxel_size=(2.0, 0.5, 0.5),
        unit="micrometer",
        phases=PHASES,
    )


@pytest.fixture
def labels() -> Labels:
    """Give twelve slices that two phases share, the first and the last unpainted."""
    labels = np.ones((12, 30, 20), np.uint8)
    labels[:, 15:] = 2
    labels[[0, -1]] = 0
    return labels


def write(
    labels: Labels, out: Path, *, overwrite: bool = False, **changes: Any
) -> PerturbedSet:
    options: dict[str, Any] = {"n_members": 2, "n_simulations": 0, "seed": 7}
    task = PerturbTask(labels=volume(labels), **{**options, **changes})
    *_, last = write_perturbed_set(task, out=out, overwrite=overwrite)
    assert isinstance(last, PerturbedSet)
    return last


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_members_are_those_of_the_seed_and_carry_what_the_labels_say(
    labels: Labels, tmp_path: Path
) -> None:
    out = tmp_path / "set"

    written = write(labels, out, n_simulations=3)

    assert written.files == (out / "member-000.tif", out / "member-001.tif")
    assert names(out) == {"member-000.tif", "member-001.tif", "interface-histogram.tif"}
    for number, path in enumerate(written.files):
        member = open_labels(path)
        expected = perturb_labels(labels, seed=(7, number))
        np.testing.assert_array_equal(member.slab(0, 12), expected)
        assert (member.voxel_size, member.unit) == ((2.0, 0.5, 0.5), "micrometer")
        assert member.phases == PHASES
        assert written.changed_shares[number] == changed_share(labels, expected)
        grown = np.count_nonzero(expected == 1) / np.count_nonzero(labels == 1) - 1
        assert written.moved[number] == pytest.approx([grown, -grown])


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_members_are_written_in_the_place_of_their_slices(
    tmp_path: Path, axis: Axis
) -> None:
    across = np.zeros((9, 20, 24), np.uint8)
    across[5:7, :, :12], across[5:7, :, 12:] = 1, 2
    labels = np.ascontiguousarray(np.moveaxis(across, 0, "zyx".index(axis)))

    files = write(
        labels, tmp_path / "set", axis=axis, config=PerturbConfig(max_distance=4)
    ).files

    assert files == tuple(tmp_path / "set" / f"member-{i:03d}.tif" for i in range(2))
    found = [open_labels(file).slab(0, len(labels)) for file in files]
    for member in found:
        np.testing.assert_array_equal(member == 0, labels == 0)
        assert (member != labels).any()
    assert (found[0] != found[1]).any()


def test_the_histogram_is_of_the_whole_volume(labels: Labels, tmp_path: Path) -> None:
    written = write(labels, tmp_path / "set", n_simulations=3)

    counts = tifffile.imread(tmp_path / "set" / "interface-histogram.tif")
    *_, expected = interface_histogram(labels, n_simulations=3, seed=7)
    assert isinstance(expected, InterfaceHistogram)
    np.testing.assert_array_equal(counts, expected.counts)
    assert counts.dtype == np.uint16
    assert written.widths is not None


def test_no_simulation_leaves_no_histogram(labels: Labels, tmp_path: Path) -> None:
    written = write(labels, tmp_path / "set", n_simulations=0)

    assert written.widths is None
    assert written.to_dict()["interfaces"] is None
    assert names(tmp_path / "set") == {"member-000.tif", "member-001.tif"}


def test_slices_that_are_not_chosen_are_unpainted(
    labels: Labels, tmp_path: Path
) -> None:
    chosen = labels.copy()
    chosen[[*range(3), *range(5, 12)]] = 0

    written = write(labels, tmp_path / "set", slices=(3, 4))

    member = open_labels(written.files[0]).slab(0, 12)
    np.testing.assert_array_equal(member, perturb_labels(chosen, seed=(7, 0)))
    assert any("painted slices: 2; the paper" in text for text in written.advice)


def test_neighbours_are_perturbed_together_unless_this_is_asked_for(
    labels: Labels, tmp_path: Path
) -> None:
    together = write(labels, tmp_path / "together")
    alone = write(labels, tmp_path / "alone", dimensions=2)
    apart = write(labels, tmp_path / "apart", slices=(2, 5))

    assert [s.dimensions for s in (together, alone, apart)] == [3, 2, 2]
    assert together.config.kernel == "ball_5"
    assert alone.config.kernel == apart.config.kernel == "cube_5"
    member = open_labels(alone.files[0]).slab(0, 12)
    expected = perturb_labels(labels, seed=(7, 0), dimensions=2)
    np.testing.assert_array_equal(member, expected)


def test_a_wanted_share_decides_on_kernel_and_fraction(
    labels: Labels, tmp_path: Path
) -> None:
    written = write(
        labels,
        tmp_path / "set",
        wanted_share=0.05,
        config=PerturbConfig(n_iterations=3),
    )

    assert written.changed_shares.mean() == pytest.approx(0.05, rel=0.3)
    assert written.config.n_iterations == 3
    assert written.config != PerturbConfig(n_iterations=3)


def test_a_set_that_is_stopped_leaves_nothing(labels: Labels, tmp_path: Path) -> None:
    task = PerturbTask(labels=volume(labels), n_members=3, n_simulations=0)
    events = write_perturbed_set(task, out=tmp_path / "set")
    next(events)
    assert names(tmp_path) == {".set.lrcs-part", ".set.lrcs-lock"}

    events.close()

    assert not names(tmp_path)


def test_a_former_set_is_replaced_as_a_whole(labels: Labels, tmp_path: Path) -> None:
    out = tmp_path / "set"
    write(labels, out, n_members=4, n_simulations=3)

    with pytest.raises(ResultExistsError, match="exists already"):
        write(labels, out)
    write(labels, out, n_members=1, n_simulations=0, overwrite=True)

    assert names(out) == {"member-000.tif"}


@pytest.mark.parametrize(
    "name",
    ["thesis.txt", "member-000.txt", "labels.tif", "member-a.tif", "member-000.tif"],
)
def test_a_folder_with_anything_else_is_never_replaced(
    name: str, labels: Labels, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("years of work")

    with pytest.raises(ResultExistsError, match=f"holds {name}, which is not of a set"):
        write(labels, tmp_path / "mine", overwrite=True)

    assert names(tmp_path / "mine") == {name}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seed": -1}, "seed must be at least 0"),
        ({"n_members": 0}, "number of members must be at least 1"),
        ({"n_simulations": -1}, "simulations must be at least 0, got -1"),
        ({"slices": (0,)}, "painted on none of the chosen slices"),
        ({"slices": (12,)}, "slices 12:13 along z are outside labels.tif"),
        ({"wanted_share": 2.0}, "above 0 and below 1"),
    ],
)
def test_a_task_that_cannot_be_done_leaves_nothing(
    changes: dict[str, Any], says: str, labels: Labels, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=says):
        write(labels, tmp_path / "set", **changes)

    assert not names(tmp_path)


def test_a_set_needs_a_folder_to_go_into(labels: Labels, tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="there is no folder"):
        write(labels, tmp_path / "no" / "set")
