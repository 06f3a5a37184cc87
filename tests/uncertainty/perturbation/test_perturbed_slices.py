import numpy as np
import pytest

from napari_lrcs.arrays import Labels
from napari_lrcs.config import PerturbConfig
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.perturbation.packed_slices import (
    PaintedSlices,
    planes_in_memory,
    read_painted,
)
from napari_lrcs.uncertainty.perturbation.perturb import perturb_labels
from napari_lrcs.uncertainty.perturbation.perturbed_slices import (
    perturb_slice,
    perturbed_members,
)

CONFIG = PerturbConfig(max_distance=4)


def halves(*painted: int) -> Labels:
    """Two phases side by side, on some of 30 slices of 20 x 24."""
    labels = np.zeros((30, 20, 24), np.uint8)
    for index in painted:
        labels[index, :, :12], labels[index, :, 12:] = 1, 2
    return labels


def volume(labels: Labels) -> Volume:
    return as_labels(as_volume(labels, name="painting"))


def read(labels: Labels) -> PaintedSlices:
    *_, painted = read_painted(volume(labels), config=CONFIG)
    assert isinstance(painted, PaintedSlices)
    return painted


def test_packed_slices_are_perturbed_as_the_whole_volume_is() -> None:
    labels = halves(2, 3, 4, 9, 28)
    painted = read(labels)

    (member,) = perturbed_members(painted, config=CONFIG, n_members=1, seed=7)

    assert painted.indices == (2, 3, 4, 9, 28)
    assert len(painted.labels) < 20
    assert painted.dimensions == 3
    whole = perturb_labels(labels, config=CONFIG, seed=(7, 0))
    array = painted.in_volume(member.labels, shape=labels.shape, axis="z")
    np.testing.assert_array_equal(array[:], whole)


def test_slices_without_neighbours_are_perturbed_each_on_its_own() -> None:
    painted = read(halves(2, 4))

    assert painted.dimensions == 2


def test_planes_of_a_flat_array_fill_all_of_it() -> None:
    plane = np.array([[1, 2], [2, 1]], np.uint8)

    array = planes_in_memory({0: plane}, shape=(2, 2), axis="z")

    np.testing.assert_array_equal(array[:], plane)


def test_perturbed_slice_tells_what_moved() -> None:
    labels = halves(2, 3, 4)
    labels[3, :, 12:15] = 3
    labels[3, :2] = 0
    labels[3, 2:, 15:] = 1

    found = perturb_slice(volume(labels), 3, config=CONFIG, seed=0)

    np.testing.assert_array_equal(found.labels[:2], 0)
    assert found.n_painted == 18 * 24
    assert found.n_changed == np.count_nonzero(found.labels != labels[3])
    assert found.before.tolist() == [18 * 21, 0, 18 * 3]
    assert found.after.sum() == found.n_painted
    np.testing.assert_allclose(found.fractions.sum(axis=1), 1)
    assert np.isnan(found.moved[1])
    assert any("changed by" in text for text in found.advice)
    assert any("at least 10 adjacent" in text for text in found.advice)


def test_only_the_chosen_slices_perturb_one_another() -> None:
    labels = halves(2, 3, 4)
    alone = perturb_labels(labels[3], config=CONFIG, seed=0)

    found = perturb_slice(volume(labels), 3, slices=[3], config=CONFIG, seed=0)

    np.testing.assert_array_equal(found.labels, alone)


def test_phases_keep_their_names() -> None:
    table = PhaseTable.named("pore", "solid")
    named = Volume(array=halves(1), name="painting", phases=table)

    found = perturb_slice(named, 1, config=CONFIG, seed=0)

    assert found.phases is table


def test_nothing_painted_is_refused() -> None:
    with pytest.raises(ValueError, match="painted on none of the chosen slices"):
        [*read_painted(volume(halves(3)), config=CONFIG, slices=[1, 2])]
    with pytest.raises(ValueError, match="slice z=2 is not painted"):
        perturb_slice(volume(halves(3)), 2, config=CONFIG, seed=0)


def test_no_member_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        [*perturbed_members(read(halves(1)), config=CONFIG, n_members=0, seed=0)]
