"""A painting that grows, one stroke after another."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from check_places import check_at
from napari_lrcs.annotation.annotation import AnnotatedVolume, Annotation, Role
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.painting.growing import GrowingAnnotation
from napari_lrcs.annotation.painting.live import LivePainting
from napari_lrcs.config import TrainConfig
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.phases import PhaseTable

SHAPE = (4, 64, 64)


class Painting:
    """Labels in memory, and what reads them."""

    def __init__(self, config: TrainConfig) -> None:
        self.labels = np.zeros(SHAPE, np.uint8)
        self.roles: dict[Role, tuple[int, ...]] = {}
        self.checks: tuple[Check, ...] = ()
        self.reads: list[int] = []
        grey = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
        self.image = as_volume(grey, name="scan")
        self.live = LivePainting(self.read)
        self.growing = GrowingAnnotation(
            self.live, config=config, phases=PhaseTable.numbered(3)
        )

    def read(self) -> AnnotatedVolume:
        labels = as_labels(as_volume(self.labels, name="painting"))
        return AnnotatedVolume(
            image=self.image, labels=labels, roles=self.roles, checks=self.checks
        )

    def paint(self, index: int, rows: slice, columns: slice, label: int) -> None:
        self.labels[index, rows, columns] = label
        self.live.mark_changed([index])

    def update(self, **arguments: Any) -> Annotation:
        annotation, _ = self.growing.update(**arguments)
        assert annotation is not None
        return annotation


@pytest.fixture
def painting(tiny_config: TrainConfig) -> Painting:
    """Paint two phases in one block of slice 0: too little to hold any of it out."""
    painting = Painting(tiny_config)
    painting.paint(0, slice(0, 4), slice(0, 8), 1)
    painting.paint(0, slice(4, 8), slice(0, 8), 2)
    return painting


def n_by_role(annotation: Annotation) -> dict[str, int]:
    return {
        role: sum(s.n_painted for s in annotation.with_role(role))
        for role in ("train", "validation", "test")
    }


def test_it_begins_with_two_phases_for_training(tiny_config: TrainConfig) -> None:
    painting = Painting(tiny_config)
    painting.roles = {"test": (3,)}
    painting.paint(0, slice(0, 4), slice(0, 4), 1)
    painting.paint(3, slice(0, 4), slice(0, 4), 2)
    one_for_training = painting.growing.begin()
    painting.paint(1, slice(0, 2), slice(0, 4), 2)

    annotation = painting.growing.begin()

    assert one_for_training is None
    assert annotation is not None
    assert n_by_role(annotation) == {"train": 24, "validation": 0, "test": 16}


def test_only_slices_that_have_changed_are_read_again(
    painting: Painting, monkeypatch: pytest.MonkeyPatch
) -> None:
    painting.paint(2, slice(0, 4), slice(0, 8), 1)
    painting.growing.begin()
    read: list[int] = []
    read_labels = painting.growing._read_labels

    def spy(reader: Any, volume: AnnotatedVolume, index: int) -> Any:
        read.append(index)
        return read_labels(reader, volume, index)

    monkeypatch.setattr(painting.growing, "_read_labels", spy)
    painting.paint(2, slice(8, 9), slice(0, 5), 3)
    _, strokes = painting.growing.update()

    (stroke,) = strokes
    assert read == [2]
    assert (stroke.index, stroke.n_voxels) == (2, 5)
    assert stroke.places.tolist() == [512, 513, 514, 515, 516]


def test_erased_voxels_count_and_are_not_learnt(painting: Painting) -> None:
    painting.growing.begin()
    painting.paint(0, slice(0, 1), slice(0, 8), 0)

    annotation, (stroke,) = painting.growing.update()

    assert annotation is not None
    assert n_by_role(annotation)["train"] == 56
    assert stroke.n_voxels == 8
    assert stroke.places.tolist() == []
    # A network that has learnt from them has still seen them.
    assert annotation.learnt.slices[0].rows == (0, 8)


def test_nothing_is_learnt_from_a_single_phase(painting: Painting) -> None:
    painting.growing.begin()
    painting.paint(0, slice(4, 8), slice(0, 8), 0)
    none, _ = painting.growing.update()
    painting.paint(1, slice(0, 1), slice(0, 1), 3)

    assert none is None
    assert n_by_role(painting.update())["train"] == 33


def test_short_strokes_are_never_held_out_long_ones_in_part(
    painting: Painting,
) -> None:
    painting.growing.begin()
    painting.paint(1, slice(20, 24), slice(8, 24), 1)  # two blocks of 8 pixels
    short = n_by_role(painting.update())
    painting.paint(1, slice(40, 44), slice(0, 64), 2)  # eight blocks
    long = painting.update()
    held_out = {s.index: s.labels != 0 for s in long.with_role("validation")}
    painting.paint(1, slice(40, 48), slice(0, 64), 2)  # over these, and below
    again = painting.update()

    assert short == {"train": 128, "validation": 0, "test": 0}
    assert n_by_role(long)["validation"] == 64  # a fifth of 8 blocks, rounded up
    (kept,) = again.with_role("validation")
    np.testing.assert_array_equal(kept.labels != 0, held_out[1])


def test_validation_slice_takes_the_place_of_what_is_held_out(
    tiny_config: TrainConfig,
) -> None:
    painting = Painting(tiny_config)
    painting.paint(0, slice(0, 32), slice(0, 64), 1)
    painting.paint(0, slice(32, 64), slice(0, 64), 2)
    painting.paint(3, slice(0, 8), slice(0, 8), 1)
    before = painting.growing.begin()
    assert before is not None

    painting.roles = {"validation": (3,)}
    after = n_by_role(painting.update(everything=True))

    assert n_by_role(before)["validation"] > 64
    assert after == {"train": 4096, "validation": 64, "test": 0}


def test_check_patches_that_are_drawn_meanwhile_are_left_out_from_then_on(
    painting: Painting,
) -> None:
    painting.growing.begin()
    check = check_at((0, 4, 4), shape=SHAPE, drawn_at=datetime.now(UTC))
    painting.checks = (check,)

    annotation = painting.update(everything=True)

    assert n_by_role(annotation)["train"] < 64
    assert {s.left_out for s in annotation.learnt.slices} == {(check.id,)}


def test_labels_without_a_phase_are_ignored(painting: Painting) -> None:
    painting.growing.begin()
    painting.paint(0, slice(8, 16), slice(0, 8), 4)

    assert n_by_role(painting.update())["train"] == 64
