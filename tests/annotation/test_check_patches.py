"""Check patches: where they may lie, how chance places them, how they are kept."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_lrcs.annotation.check_folder import CheckFolder, Drawing, draw_check
from napari_lrcs.annotation.check_patches import (
    Check,
    CheckDesign,
    CheckPatch,
    Tiles,
    count_tiles,
    has_voxel,
)
from napari_lrcs.annotation.painting.folder import ImageIdentity
from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis
from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.phases import PhaseTable

SHAPE = (20, 40, 50)
PHASES = PhaseTable.named("pore", "NMC")


def labelled(array: Labels) -> Volume:
    return as_labels(as_volume(array, name="segmentation.tif"))


def whole_tiles(design: CheckDesign) -> Tiles:
    n_z, n_y, n_x = design.shape
    plane = np.ones((n_y, n_x), np.bool_)
    *_, tiles = count_tiles(design, (plane for _ in range(n_z)))
    return tiles


def draw(
    n_patches: int, *, seed: int = 0, shape: tuple[int, int, int] = SHAPE
) -> list[CheckPatch]:
    design = CheckDesign(shape=shape, size=16, seed=seed)
    plane = np.ones(shape[1:], np.bool_)
    return [*whole_tiles(design).draw(n_patches, inside=lambda _: plane)]


# ---- places ----


def test_a_slice_is_divided_into_equal_tiles() -> None:
    # 40 rows into 13, 13 and 14; 50 columns into 16, 17 and 17.
    patches = draw(20 * 3 * 3)

    sizes = Counter((p.height, p.width) for p in patches)
    assert sizes == {(13, 16): 40, (13, 17): 80, (14, 16): 20, (14, 17): 40}
    covered = np.zeros(SHAPE, int)
    for p in patches:
        covered[p.z, p.y : p.y + p.height, p.x : p.x + p.width] += 1
    assert (covered == 1).all()


def test_all_tiles_are_drawn_once_if_as_many_patches_are_wanted() -> None:
    patches = draw(20 * 3 * 3)

    assert len({(p.z, p.y, p.x) for p in patches}) == 180


@pytest.mark.parametrize("n_patches", [1, 4, 7, 20, 33])
def test_each_stratum_of_equal_depth_has_one_patch(n_patches: int) -> None:
    depth = 20 / n_patches

    for seed in range(20):
        for k, patch in enumerate(draw(n_patches, seed=seed)):
            assert k * depth - 1 < patch.z < (k + 1) * depth


def test_every_tile_is_drawn_equally_often() -> None:
    n_draws, n_tiles = 3000, 3 * 2 * 2
    counts = Counter(
        (p.z, p.y, p.x)
        for seed in range(n_draws)
        for p in draw(2, seed=seed, shape=(3, 32, 32))
    )

    expected = n_draws * 2 / n_tiles
    # Five standard deviations of a binomial count.
    assert len(counts) == n_tiles
    assert max(abs(n - expected) for n in counts.values()) < 5 * expected**0.5


def test_neighbouring_strata_never_share_a_tile() -> None:
    for seed in range(200):
        patches = draw(9, seed=seed, shape=(5, 32, 16))
        assert len({(p.z, p.y) for p in patches}) == 9


def test_the_same_seed_draws_the_same_places() -> None:
    assert draw(10, seed=3) == draw(10, seed=3) != draw(10, seed=4)


def test_only_tiles_with_a_voxel_in_the_field_of_view_are_drawn() -> None:
    plane = np.zeros((40, 50), np.bool_)
    plane[20, 3] = True

    assert np.argwhere(has_voxel(plane, 16)).tolist() == [[1, 0]]


def test_more_patches_than_tiles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"13 patches were requested.* holds 12 of 16"):
        draw(13, shape=(3, 32, 32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 7}, "at least 8 pixels wide, got 7"),
        ({"thickness": 2}, "1 or 3 slices thick, got 2"),
        ({"axis": "t"}, "axis must be z, y or x, got 't'"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_an_impossible_design_is_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CheckDesign(shape=SHAPE, **change)  # type: ignore[arg-type]


def test_the_painted_region_has_a_margin_of_one_pixel_within_the_volume() -> None:
    design = CheckDesign(shape=SHAPE, size=16)
    patch = CheckPatch(z=3, y=0, x=16, height=16, width=16)

    assert design.region(patch) == (slice(3, 4), slice(0, 17), slice(15, 33))
    assert design.own_part(patch) == (slice(0, 1), slice(0, 16), slice(1, 17))


def test_three_slices_are_painted_where_there_are_three() -> None:
    design = CheckDesign(shape=SHAPE, size=16, thickness=3, axis="y")
    patch = CheckPatch(z=0, y=39, x=48, height=16, width=2)

    assert design.region(patch) == (slice(0, 17), slice(38, 40), slice(47, 50))
    assert design.own_part(patch) == (slice(0, 16), slice(1, 2), slice(1, 3))


# ---- on disk ----


Draw = Callable[..., CheckFolder]


@pytest.fixture
def draw_in(tmp_path: Path) -> Draw:
    def draw_check_in(
        array: Labels, *, name: str = "check-1", axis: Axis = "z", blind: bool = True
    ) -> CheckFolder:
        events = draw_check(
            tmp_path / name,
            labelled(array),
            design=CheckDesign(shape=SHAPE, size=16, axis=axis, blind=blind),
            n_patches=5,
            phases=PHASES,
            image=ImageIdentity(name="scan", path=None, shape=SHAPE),
        )
        *progress, check = events
        assert all(isinstance(event, Drawing) for event in progress)
        folder = CheckFolder(tmp_path / name)
        assert folder.read() == check
        return folder

    return draw_check_in


def test_what_is_drawn_is_empty_to_be_painted_blind(draw_in: Draw) -> None:
    folder = draw_in(np.ones(SHAPE, np.uint8))

    assert not folder.open_painting().slab(0, 20).any()
    assert folder.field_of_view() is None
    assert folder.read().n_voxels == 20 * 40 * 50
    assert folder.painting.read().phases == PHASES


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_without_blindness_the_patches_begin_with_the_prediction(
    draw_in: Draw, axis: Axis
) -> None:
    array = np.random.default_rng(0).integers(1, 3, SHAPE, np.uint8)

    folder = draw_in(array, axis=axis, blind=False)

    check, expected = folder.read(), np.zeros_like(array)
    for patch in check.patches:
        region = check.design.region(patch)
        expected[region] = array[region]
    np.testing.assert_array_equal(folder.open_painting().slab(0, 20), expected)


def test_patches_stand_for_what_is_predicted(draw_in: Draw) -> None:
    array = np.ones(SHAPE, np.uint8)
    array[:8], array[:, :16] = 0, 0

    folder = draw_in(array)

    view = folder.field_of_view()
    assert view is not None
    np.testing.assert_array_equal(view.slab(0, 20), array > 0)
    patches = folder.read().patches
    assert min(p.z for p in patches) >= 8
    assert min(p.y + p.height for p in patches) > 16


def test_a_patch_can_be_marked_as_done(draw_in: Draw) -> None:
    folder = draw_in(np.ones(SHAPE, np.uint8))
    before = folder.read()

    folder.mark_done(2)

    assert [p.done for p in folder.read().patches] == [False, False, True, False, False]
    assert folder.read().id == before.id


def test_a_patch_that_was_moved_by_hand_is_found(draw_in: Draw) -> None:
    folder = draw_in(np.ones(SHAPE, np.uint8))
    content = json.loads((folder.path / "check.json").read_text())
    content["patches"][0]["y"] = 16 if content["patches"][0]["y"] != 16 else 0
    (folder.path / "check.json").write_text(json.dumps(content))

    with pytest.raises(VolumeError, match="must stay where chance has placed them"):
        folder.read()


def test_nothing_is_replaced_and_nothing_half_written_stays(
    draw_in: Draw, tmp_path: Path
) -> None:
    draw_in(np.ones(SHAPE, np.uint8))
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(ResultExistsError):
        draw_in(np.ones(SHAPE, np.uint8))
    with pytest.raises(ValueError, match="no predicted voxel"):
        draw_in(np.zeros(SHAPE, np.uint8), name="check-2")

    left = [path for path in sorted(tmp_path.rglob("*")) if "lock" not in path.name]
    assert left == [path for path in before if "lock" not in path.name]


def test_a_workspace_lists_its_checks_and_not_as_paintings(
    draw_in: Draw, tmp_path: Path
) -> None:
    folder = draw_in(np.ones(SHAPE, np.uint8))
    workspace = Workspace(tmp_path)

    assert workspace.checks() == [folder]
    assert workspace.paintings() == []
    assert workspace.new_check() == tmp_path / "check-2"


def test_the_identity_is_that_of_the_draw(draw_in: Draw) -> None:
    check = draw_in(np.ones(SHAPE, np.uint8)).read()

    others = [
        replace(check, segmentation="other"),
        replace(check, patches=check.patches[1:]),
        replace(check, design=replace(check.design, seed=1)),
    ]

    assert isinstance(check, Check)
    assert len({check.id, *(other.id for other in others)}) == 4
