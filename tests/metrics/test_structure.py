import json
import math

import numpy as np
import pytest
from scipy import ndimage

from napari_lrcs.arrays import Labels
from napari_lrcs.metrics.structure import (
    PARTICLE_COLUMNS,
    particles_dict,
    separate_particles,
)
from napari_lrcs.phases import PhaseTable


def balls(
    shape: tuple[int, int, int],
    centres: list[tuple[float, float, float]],
    radius: float,
    voxel_size: tuple[float, float, float] = (1, 1, 1),
) -> Labels:
    """Draw balls of phase 2 in phase 1, centres and radius in the voxel's unit."""
    places = [i * size for i, size in zip(np.indices(shape), voxel_size, strict=True)]
    distance = [
        np.sqrt(sum((p - c) ** 2 for p, c in zip(places, centre, strict=True)))
        for centre in centres
    ]
    return np.where(np.min(distance, axis=0) <= radius, 2, 1).astype(np.uint8)


def test_two_overlapping_balls_are_two_particles_of_the_right_volume() -> None:
    labels = balls((25, 25, 40), [(12, 12, 12), (12, 12, 27)], 10)
    assert ndimage.label(labels == 2)[1] == 1

    particles = separate_particles(labels, phase=2)

    # A ball of radius 10 without the cap beyond half the distance of 15.
    cap = 2.5
    volume = math.pi * (4 / 3 * 10**3 - cap**2 * (3 * 10 - cap) / 3)
    assert particles.n_voxels.sum() == (labels == 2).sum()
    np.testing.assert_allclose(particles.volume, [volume, volume], rtol=0.02)
    np.testing.assert_allclose(
        particles.equivalent_diameter, 2 * (0.75 * volume / math.pi) ** (1 / 3), 0.01
    )
    np.testing.assert_allclose(particles.centroid[:, :2], 12, atol=1e-9)
    np.testing.assert_allclose(particles.centroid.sum(axis=0)[2], 39, atol=1e-9)
    assert particles.labels.dtype == np.int32
    assert set(np.unique(particles.labels[labels == 1])) == {0}
    assert not particles.at_border.any()


def test_flat_voxels_part_the_same_balls_in_the_same_unit() -> None:
    size = (0.5, 0.25, 0.25)
    labels = balls((26, 50, 90), [(6, 6, 6), (6, 6, 15.5)], 5, size)

    # Of 20 sides of a voxel, the neck takes 14; in voxels along z, only half of that.
    particles = separate_particles(labels, phase=2, voxel_size=size, min_depth=10)

    assert particles.n_voxels.size == 2
    np.testing.assert_allclose(particles.volume, 4 / 3 * math.pi * 5**3, rtol=0.02)
    np.testing.assert_allclose(particles.centroid[:, 0], 12, atol=0.1)  # in voxels


def test_deeper_necks_are_asked_for() -> None:
    labels = balls((25, 25, 40), [(12, 12, 12), (12, 12, 27)], 10)

    # The neck has the radius (10² - 7.5²)½ = 6.6: 3.4 less than the balls.
    assert separate_particles(labels, phase=2, min_depth=2).n_voxels.size == 2
    assert separate_particles(labels, phase=2, min_depth=4).n_voxels.size == 1


def test_every_voxel_of_the_phase_is_in_a_particle_and_no_other() -> None:
    labels = np.random.default_rng(0).integers(0, 4, (12, 13, 14)).astype(np.uint8)

    for min_depth in (0.5, 1, 5):
        particles = separate_particles(labels, phase=3, min_depth=min_depth)

        np.testing.assert_array_equal(particles.labels > 0, labels == 3)
        assert particles.n_voxels.tolist() == [
            (particles.labels == i + 1).sum() for i in range(particles.n_voxels.size)
        ]
        np.testing.assert_allclose(
            particles.centroid,
            ndimage.center_of_mass(
                labels == 3, particles.labels, range(1, particles.n_voxels.size + 1)
            ),
        )


def test_particle_at_the_border_or_at_a_hole_may_be_cut_off() -> None:
    labels = np.ones((7, 9, 9), np.uint8)
    labels[3, 1, 1] = labels[0, 4, 4] = labels[3, 4, 8] = labels[3, 6, 4] = 2
    labels[3, 7, 4] = 0

    particles = separate_particles(labels, phase=2)

    flagged = dict(
        zip(map(tuple, particles.centroid), particles.at_border, strict=True)
    )
    assert flagged == {
        (3, 1, 1): False,
        (0, 4, 4): True,
        (3, 4, 8): True,
        (3, 6, 4): True,
    }


def test_slice_is_measured_in_2d() -> None:
    labels = np.ones((5, 6), np.uint8)
    labels[1:3, 1:5] = 2

    particles = separate_particles(labels, phase=2, voxel_size=(0.5, 0.5))

    assert particles.volume.tolist() == [2.0]
    assert particles.equivalent_diameter.tolist() == [2 * math.sqrt(2 / math.pi)]
    assert particles.rows() == [
        dict(
            zip(
                PARTICLE_COLUMNS,
                (1, 8, 2.0, 2 * math.sqrt(2 / math.pi), 0.0, 1.5, 2.5, 0),
                strict=True,
            )
        )
    ]


def test_phase_that_is_all_is_one_particle_and_one_that_is_absent_none() -> None:
    phase = PhaseTable.named("pore", "solid").phases[0]
    everything = separate_particles(np.ones((2, 3, 4), np.uint8), phase=1)
    nothing = separate_particles(np.ones((2, 3, 4), np.uint8), phase=2)

    assert everything.n_voxels.tolist() == [24]
    assert everything.at_border.tolist() == [True]
    assert nothing.rows() == []
    assert math.isnan(particles_dict(nothing, phase)["volume"]["mean"])


def test_sizes_are_json() -> None:
    labels = np.ones((3, 3, 6), np.uint8)
    labels[1, 1, 1] = labels[1, 1, 3:6] = 2
    phase = PhaseTable.named("pore", "solid").phases[1]

    sizes = particles_dict(separate_particles(labels, phase=2), phase, unit="voxel")

    small, large = (6 / math.pi) ** (1 / 3), (6 * 3 / math.pi) ** (1 / 3)
    assert json.loads(json.dumps(sizes)) == {
        "phase": 2,
        "name": "solid",
        "count": 2,
        "at_border": 1,
        "equivalent_diameter": {
            "mean": pytest.approx((small + large) / 2),
            "median": pytest.approx((small + large) / 2),
            "min": pytest.approx(small),
            "max": pytest.approx(large),
        },
        "volume": {"mean": 2.0, "median": 2.0, "min": 1.0, "max": 3.0},
        "unit": "voxel",
        "n_axes": 3,
    }


def test_impossible_questions_are_refused() -> None:
    labels = np.ones((2, 3, 4), np.uint8)

    with pytest.raises(ValueError, match="0 is not a phase"):
        separate_particles(labels, phase=0)
    with pytest.raises(ValueError, match="one positive length per axis"):
        separate_particles(labels, phase=1, voxel_size=(1, 1))
    with pytest.raises(ValueError, match="one positive length per axis"):
        separate_particles(labels, phase=1, voxel_size=(1, 1, 0))
    with pytest.raises(ValueError, match="min_depth must be above 0, got 0"):
        separate_particles(labels, phase=1, min_depth=0)
