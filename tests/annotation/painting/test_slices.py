from collections.abc import Generator
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_lrcs.annotation.painting.slices import (
    SliceFound,
    SlicesRead,
    find_painted,
    train_on_painted,
)
from napari_lrcs.io.volume import Volume, as_labels, as_volume

T = TypeVar("T")


def painted_on(*slices: int, axis: int = 0) -> Volume:
    labels: NDArray[np.uint8] = np.zeros((4, 5, 6), np.uint8)
    np.moveaxis(labels, axis, 0)[list(slices), 1] = 2
    return as_labels(as_volume(labels, name="painting"))


def test_slices_with_labels_are_found_with_their_labels() -> None:
    labels = painted_on(1, 4, axis=2)

    found = [e for e in find_painted(labels, axis="x") if isinstance(e, SliceFound)]

    assert [event.index for event in found] == [1, 4]
    np.testing.assert_array_equal(found[1].labels, labels.slab(4, 5, axis="x")[0])


def test_slices_that_are_not_wanted_are_not_read() -> None:
    events = find_painted(painted_on(0, 1, 3), [3, 2, 0])

    assert [e.index for e in events if isinstance(e, SliceFound)] == [3, 0]


def test_progress_is_reported_while_nothing_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_lrcs.annotation.painting.slices._EVENT_SECONDS", -1)

    events = list(find_painted(painted_on(), [2, 3]))

    assert events == [
        SlicesRead(n_done=1, n_slices=2),
        SlicesRead(n_done=2, n_slices=2),
    ]
    assert [e.share for e in events if isinstance(e, SlicesRead)] == [0.5, 1]


def test_painted_slices_without_a_role_are_for_training() -> None:
    roles = _end_of(
        train_on_painted(
            painted_on(0, 2, 3),
            {"train": (), "validation": (2,), "test": (1,)},
            axis="z",
        )
    )

    assert roles == {"train": (0, 3), "validation": (2,), "test": (1,)}


def test_labels_without_a_free_painted_slice_are_refused() -> None:
    finding = train_on_painted(painted_on(2), {"validation": (2,)}, axis="z")

    with pytest.raises(ValueError, match="painting has no painted slice for training"):
        list(finding)


def _end_of(events: Generator[object, None, T]) -> T:
    while True:
        try:
            next(events)
        except StopIteration as end:
            value: T = end.value
            return value
