"""Where painting would teach most, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from napari_lrcs.annotation.spots import (
    Squares,
    Window,
    choose_square,
    entropy_of,
    measure_squares,
    plan_slices,
)


def window(**changes: object) -> Window:
    """Make 4 × 8 pixels of phase 1, left, and 2; the network is sure of both."""
    first = np.zeros((4, 8), np.float32)
    first[:, :4] = 1
    clear = np.zeros((4, 8), np.bool_)
    own = Window(
        index=7,
        row=10,
        column=20,
        probabilities=np.stack([first, 1 - first]),
        grey=np.arange(32, dtype=np.float32).reshape(4, 8),
        painted=clear,
        forbidden=clear,
    )
    return replace(own, **changes)  # type: ignore[arg-type]


def squares(
    entropy: list[float], looks: list[float], *, free: str = "", known: str = ""
) -> Squares:
    """Make squares of one pixel, all far from interfaces."""
    n = len(entropy)
    return Squares(
        shape=(1, 1),
        places=np.arange(3 * n).reshape(n, 3),
        n_at=np.ones((n, 1)),
        entropy_at=np.array(entropy)[:, np.newaxis],
        looks=np.array(looks)[:, np.newaxis],
        doubt=np.tile([1.0, 3.0, 2.0], (n, 1)),
        is_free=np.array([c == "1" for c in free or "1" * n]),
        is_known=np.array([c == "1" for c in known or "0" * n]),
    )


def test_entropy_of_equal_chances_is_the_logarithm_of_their_number() -> None:
    p = np.array([[1, 1 / 2, 1 / 3], [0, 1 / 2, 1 / 3], [0, 0, 1 / 3]], np.float32)

    assert_allclose(entropy_of(p), [0, np.log(2), np.log(3)], atol=1e-6)


def test_squares_lie_half_a_side_apart_where_the_window_is() -> None:
    found = measure_squares(window(), size=4)

    assert found.shape == (4, 4)
    assert found.places.tolist() == [[7, 10, 20], [7, 10, 22], [7, 10, 24]]


def test_the_last_square_reaches_the_end_and_a_small_window_is_one() -> None:
    assert (
        measure_squares(window(), size=3).places[:, 2].tolist() == [*range(20, 26)] * 2
    )
    one = measure_squares(window(), size=32)
    assert one.shape == (4, 8)
    assert one.places.tolist() == [[7, 10, 20]]


def test_a_square_looks_like_its_phases_greys_and_interfaces() -> None:
    _, middle, right = measure_squares(window(), size=4).looks

    # Half of the middle one is phase 1; its two inner columns touch the other phase.
    # Grey levels are 2 to 5 in its first row and 8 more in each row that follows.
    assert_allclose(middle, [0.5, 0.5, 15.5, np.sqrt(80 + 1.25), 0.5])
    # Of the right one, its first column does.
    assert_allclose(right[[0, 1, 4]], [0, 1, 0.25])


def test_doubt_is_of_the_phases_where_the_network_is_not_sure() -> None:
    p = np.zeros((3, 4, 4), np.float32)
    p[0] = 1
    p[:, 0, 0] = 0, 0.5, 0.5
    clear = np.zeros((4, 4), np.bool_)
    grey = clear.astype(np.float32)
    unsure = window(probabilities=p, grey=grey, painted=clear, forbidden=clear)

    spot = measure_squares(unsure).spot(0)

    assert spot.between == (2, 3)
    assert spot.entropy == pytest.approx(np.log(2) / 16)
    assert (spot.index, spot.rows, spot.columns) == (7, slice(10, 14), slice(20, 24))


def test_nothing_is_free_with_a_forbidden_pixel_or_beside_paint() -> None:
    forbidden, painted = np.zeros((2, 4, 8), np.bool_)
    forbidden[0, 7] = True
    painted[:, :4] = True

    # Around the right square, 16 of 8 × 8 pixels are not beyond the image, 8 painted:
    # an eighth of 64, which is more than a tenth.
    by_check = measure_squares(window(forbidden=forbidden), size=4)
    by_paint = measure_squares(window(painted=painted), size=4)

    assert by_check.is_free.tolist() == [True, True, False]
    assert by_paint.is_free.tolist() == [False, False, False]
    assert by_paint.is_known.tolist() == [True, True, False]


def test_a_rim_that_every_interface_has_is_no_excess() -> None:
    own = squares([0, 0, 0], [0, 0, 0])
    # Pixels at the interface have .5 each, others none; the last square has .4 more.
    rims = replace(
        own,
        n_at=np.array([[2.0, 2.0], [1.0, 3.0], [1.0, 3.0]]),
        entropy_at=np.array([[1.0, 0.0], [0.5, 0.0], [0.5, 0.4]]),
    )

    assert_allclose(rims.entropy, [0.25, 0.125, 0.225])
    # The .4 are .05 each of the eight pixels away from interfaces.
    assert_allclose(rims.excess, [-0.025, -0.0375, 0.0625])


def test_pixels_are_told_apart_by_their_distance_from_the_interface() -> None:
    (found,) = measure_squares(window(), size=8).n_at

    # Of each row, two pixels at the interface, two beside them, four 2 or 3 away.
    assert found.tolist() == [8, 8, 16, 0, 0]


def test_a_square_is_chosen_that_most_of_what_is_unsure_looks_like() -> None:
    # The known square looks like 0. Of the others, one is 4 away, two are 5 away: the
    # two, of together 2 × 5, are more than the one, unless it is far less sure.
    looks, known = [0.0, 5.0, 5.0, -4.0], "1000"

    alike = choose_square(squares([0, 0.5, 0.5, 0.5], looks, free="0111", known=known))
    one = choose_square(squares([0, 0.2, 0.2, 0.9], looks, free="0111", known=known))

    assert alike in (1, 2)
    assert one == 3


def test_an_outlier_and_what_looks_like_paint_are_not_chosen() -> None:
    # Six squares that are 3 away are more than one that is 10 away.
    looks = [0.0, 0.0, *[3.0] * 6, 10.0]
    free, known = "0" + "1" * 8, "1" + "0" * 8

    chosen = choose_square(squares([0, *[0.2] * 8], looks, free=free, known=known))

    assert chosen in range(2, 8)


def test_only_free_squares_are_chosen() -> None:
    entropy, looks = [0.9, 0.1, 0.5], [0.0, 1.0, 2.0]

    assert choose_square(squares(entropy, looks, free="010")) == 1
    assert choose_square(squares(entropy, looks, free="000")) is None


def test_slices_are_near_painted_ones_and_from_all_parts_but_never_left_out() -> None:
    rng = np.random.default_rng(0)
    left_out = {*range(40, 60)}

    found = plan_slices(100, n=12, painted={5, 45}, left_out=left_out, rng=rng)

    assert found == sorted({*found})
    assert not left_out & {*found}
    assert 5 in found
    assert len(found) == 12
    assert len([i for i in found if i < 40]) in (6, 7)
    few = plan_slices(4, n=12, painted=(), left_out={2}, rng=rng)
    assert few == [0, 1, 3]
