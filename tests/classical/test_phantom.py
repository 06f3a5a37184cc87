import numpy as np
import pytest
from skimage.filters import threshold_multiotsu

from napari_lrcs.classical.phantom import Phantom, electrode_phantom
from napari_lrcs.metrics.overlap import confusion_matrix, iou_per_phase


@pytest.fixture(scope="module")
def small() -> Phantom:
    return electrode_phantom(shape=(16, 96, 96))


@pytest.fixture(scope="module")
def default() -> Phantom:
    return electrode_phantom()


def test_volume_and_truth_have_the_types_and_shape_of_a_scan(small: Phantom) -> None:
    assert small.volume.dtype == np.uint16
    assert small.labels.dtype == np.uint8
    assert small.volume.shape == small.labels.shape == (16, 96, 96)
    assert len(small.voxel_size) == 3


def test_same_seed_gives_the_same_phantom(small: Phantom) -> None:
    again = electrode_phantom(shape=(16, 96, 96), seed=0)

    np.testing.assert_array_equal(again.volume, small.volume)
    np.testing.assert_array_equal(again.labels, small.labels)


def test_another_seed_gives_another_electrode(small: Phantom) -> None:
    other = electrode_phantom(shape=(16, 96, 96), seed=1)

    assert (other.labels != small.labels).mean() > 0.3


@pytest.mark.parametrize("shape", [(8, 32, 32), (9, 33, 70), (16, 96, 96)])
def test_every_voxel_is_a_phase_in_its_share(shape: tuple[int, int, int]) -> None:
    phantom = electrode_phantom(shape=shape, seed=3)

    shares = np.bincount(phantom.labels.ravel()) / phantom.labels.size
    np.testing.assert_allclose(shares, [0, 0.41, 0.11, 0.48], atol=0.01)


def test_grey_levels_order_the_phases_and_overlap(small: Phantom) -> None:
    levels = [small.volume[small.labels == phase] for phase in (1, 2, 3)]
    means = [level.mean() for level in levels]
    deviations = [level.std() for level in levels]

    assert means[0] < means[1] < means[2]
    assert means[1] - means[0] < 3 * deviations[0]


def test_smaller_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least \(8, 32, 32\), got \(8, 31, 32\)"):
        electrode_phantom(shape=(8, 31, 32))


@pytest.mark.slow
def test_every_slice_of_the_default_has_all_phases(default: Phantom) -> None:
    for labels in default.labels:
        shares = np.bincount(labels.ravel(), minlength=4)[1:] / labels.size

        assert (shares > 0.05).all()


@pytest.mark.slow
def test_otsu_finds_particles_and_pores_but_little_binder(default: Phantom) -> None:
    thresholds = threshold_multiotsu(default.volume, classes=3)  # type: ignore[no-untyped-call]
    predicted = (np.digitize(default.volume, thresholds) + 1).astype(np.uint8)

    pore, binder, particle = iou_per_phase(
        confusion_matrix(default.labels, predicted, n_phases=3)
    )

    assert 0.77 < pore < 0.86
    assert 0.28 < binder < 0.40
    assert 0.79 < particle < 0.88
