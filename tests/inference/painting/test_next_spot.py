"""Suggestions of where to paint next, by a tiny network."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_lrcs.annotation.check_patches import Check, CheckDesign, CheckPatch
from napari_lrcs.annotation.spots import Spot
from napari_lrcs.inference.painting.next_spot import SpotSearch, find_spot
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import TilePredicted

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (4, 32, 32)
SIZE = 8
PATCH = CheckPatch(z=0, y=16, x=16, height=8, width=8)
CHECK = Check(
    design=CheckDesign(shape=SHAPE, size=8),
    patches=(PATCH,),
    drawn_at=datetime(2026, 1, 1, tzinfo=UTC),
    segmentation="segmentation-1",
    n_voxels=4096,
)


def search(**changes: Any) -> SpotSearch:
    """Search four slices: 1 is for validation, and half of slice 2 is painted."""
    painted = np.zeros(SHAPE, np.uint8)
    painted[2, :16] = 1
    mask = np.ones(SHAPE, np.bool_)
    mask[3, :, 20:] = False
    grey = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    own = SpotSearch(
        image=as_volume(grey),
        painting=as_labels(as_volume(painted)),
        axis="z",
        phases=PhaseTable.named("phase 1", "phase 3", "phase 2"),
        painted=(2,),
        left_out=frozenset({1}),
        checks=(CHECK,),
        mask=as_volume(mask),
        size=SIZE,
    )
    return replace(own, **changes)


@pytest.fixture
def model(tmp_path: Path, make_checkpoint: Callable[..., Checkpoint]) -> Path:
    save_checkpoint(tmp_path / "model.safetensors", make_checkpoint())
    return tmp_path / "model.safetensors"


def all_spots(model: Path) -> list[Spot]:
    """Ask for spots until none is left."""
    spots: list[Spot] = []

    def ask_on() -> None:
        for _ in range(100):
            *_, spot = find_spot(search(passed=tuple(spots)), model=model)
            assert isinstance(spot, Spot)
            spots.append(spot)

    with pytest.raises(ValueError, match="no place is left"):
        ask_on()
    return spots


def test_no_spot_comes_twice_nor_where_nothing_may_be_painted(model: Path) -> None:
    spots = all_spots(model)

    allowed = np.ones(SHAPE, np.bool_)
    allowed[1] = False  # for validation
    allowed[2, :16] = False  # painted
    allowed[0, 15:25, 15:25] = False  # the check patch and its margin
    allowed[3, :, 20:] = False  # beyond the field of view
    for spot in spots:
        part = allowed[spot.index, spot.rows, spot.columns]
        assert part.shape == (SIZE, SIZE)
        assert part.all()
        allowed[spot.index, spot.rows, spot.columns] = False  # not once more
    assert {spot.index for spot in spots} == {0, 2, 3}


def test_phases_are_those_of_the_painting_whatever_the_network_calls_them(
    model: Path,
) -> None:
    in_order = search(phases=PhaseTable.named("phase 1", "phase 2", "phase 3"))
    *_, own = find_spot(in_order, model=model)
    *events, swapped = find_spot(search(), model=model)

    assert isinstance(own, Spot)
    assert isinstance(swapped, Spot)
    names = {1: 1, 2: 3, 3: 2}
    assert {*swapped.between} == {names[label] for label in own.between}
    assert [e.n_done for e in events if isinstance(e, TilePredicted)] == [1, 2, 3]


def test_a_large_slice_is_searched_in_part_and_another_one_each_time(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_lrcs.inference.painting.next_spot._SIDE", 24)
    monkeypatch.setattr("napari_lrcs.inference.painting.next_spot._BORDER", 4)
    one = search(left_out=frozenset({1, 2, 3}), painted=(), checks=(), mask=None)

    spots = []
    for seed in range(8):
        *_, spot = find_spot(replace(one, seed=seed), model=model)
        assert isinstance(spot, Spot)
        spots.append(spot)

    assert {spot.index for spot in spots} == {0}
    assert all(0 <= n <= 32 - SIZE for spot in spots for n in (spot.row, spot.column))
    assert len({(spot.row, spot.column) for spot in spots}) > 1


def test_network_across_another_axis_is_refused(model: Path) -> None:
    with pytest.raises(ValueError, match="across z, the painting's lie across x"):
        next(find_spot(search(axis="x"), model=model))
