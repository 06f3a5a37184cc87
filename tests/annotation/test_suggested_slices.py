import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lrcs.annotation.suggested_slices import suggest_slices


@pytest.mark.parametrize(
    ("n_slices", "n", "taken", "suggested"),
    [
        # A sixth, a half and five sixths of 100.
        (100, 3, (), (16, 50, 83)),
        (100, 1, (), (50,)),
        # The middle of slice 50 is at 50.5; two thirds of it from there, one third
        # from the end, are 16.8; beyond it 50.5 + 49.5 * 2 / 3 = 83.5.
        (100, 2, (50,), (16, 83)),
        (100, 1, (50,), (16,)),
        # Between 20.5 and 80.5 two thirds of 20.5, 13.7, are less than 30.
        (100, 1, (20, 80), (50,)),
        (100, 1, (80, 20, 20), (50,)),
        # A gap of 60 in three, 20 each, is wider than one more at an end, 13.7.
        (100, 2, (20, 80), (40, 60)),
        (3, 3, (), (0, 1, 2)),
        (1, 1, (), (0,)),
        (3, 9, (1,), (0, 2)),
        (3, 1, (0, 1, 2), ()),
        (100, 0, (), ()),
    ],
)
def test_suggested_slices_are_far_apart(
    n_slices: int, n: int, taken: tuple[int, ...], suggested: tuple[int, ...]
) -> None:
    assert suggest_slices(n_slices, n=n, taken=taken) == suggested


@given(
    n_slices=st.integers(1, 40),
    n=st.integers(0, 45),
    taken=st.sets(st.integers(0, 39), max_size=8),
)
def test_suggested_slices_are_free_and_as_many_as_are_asked_for(
    n_slices: int, n: int, taken: set[int]
) -> None:
    taken = {index for index in taken if index < n_slices}

    suggested = suggest_slices(n_slices, n=n, taken=taken)

    assert len(suggested) == min(n, n_slices - len(taken))
    assert list(suggested) == sorted(set(suggested))
    assert set(suggested) <= set(range(n_slices)) - taken
