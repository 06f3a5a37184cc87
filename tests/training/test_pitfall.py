import numpy as np
import pytest

from napari_lrcs.training.pitfall import is_major_class_pitfall


@pytest.mark.parametrize(
    ("confusion", "expected"),
    [
        ([[80, 0], [20, 0]], True),  # only the first predicted: 80% accuracy
        ([[0, 80], [0, 20]], True),  # only the second
        ([[80, 0, 0], [15, 0, 0], [5, 0, 0]], True),
        ([[80, 0], [19, 1]], False),
        ([[8000, 0], [1999, 1]], True),  # one voxel in 10,000 is no second phase
        ([[99_950, 0], [0, 50]], False),  # a phase of 0.05%, and all of it found
        ([[99_950, 0], [49, 1]], False),
        ([[99_990, 0, 0], [5, 0, 0], [4, 0, 1]], False),
        ([[0, 100], [0, 99_900]], True),  # nothing of the rare phase
        ([[99_800, 0], [199, 1]], True),  # next to nothing
        ([[100, 0], [0, 0]], False),  # nothing else is painted
        ([[0, 100], [0, 0]], False),
        ([[0, 0], [0, 0]], False),
    ],
)
def test_pitfall_is_one_phase_predicted_where_several_are_painted(
    confusion: list[list[int]], expected: bool
) -> None:
    assert is_major_class_pitfall(np.array(confusion)) is expected
