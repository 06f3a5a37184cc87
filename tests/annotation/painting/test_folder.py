import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import DTypeLike, NDArray

from napari_lrcs.annotation.painting.folder import (
    ImageIdentity,
    PaintingFolder,
    PaintingState,
)
from napari_lrcs.annotation.painting.labels import count_phases, relabelled
from napari_lrcs.config import Axis
from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.phases import ELECTRODE, Phase, PhaseTable
from scripts import Script

SHAPE = (6, 5, 4)
STATE = PaintingState(
    axis="z",
    phases=ELECTRODE,
    roles={3: "train", 0: "validation"},
    mask="cylinder",
    image=ImageIdentity(name="scan", path="data/scan.tif", shape=SHAPE),
)


@pytest.fixture
def painting(tmp_path: Path) -> PaintingFolder:
    return PaintingFolder.create(tmp_path / "painting-1", STATE)


def counts(painting: PaintingFolder) -> dict[int, list[int]]:
    return {i: n.tolist() for i, n in painting.labels.painted_slices().items()}


# ---- what a painting keeps ----


def test_painting_is_read_as_it_was_begun(painting: PaintingFolder) -> None:
    assert painting.is_painting
    assert painting.read() == STATE
    assert painting.labels.painted_slices() == {}


def test_image_without_a_file_and_a_mask_is_kept(tmp_path: Path) -> None:
    image = ImageIdentity(name="scan µCT", path=None, shape=SHAPE)
    state = replace(STATE, image=image, mask=None, roles={})

    painting = PaintingFolder.create(tmp_path / "new" / "folders" / "painting-1", state)

    assert painting.read() == state


@pytest.mark.parametrize(
    ("axis", "chunks", "key"),
    [
        ("z", (1, 5, 4), np.s_[2]),
        ("y", (6, 1, 4), np.s_[:, 2]),
        ("x", (6, 5, 1), np.s_[:, :, 2]),
    ],
)
def test_slice_is_a_chunk_across_each_axis(
    axis: Axis, chunks: tuple[int, ...], key: Any, tmp_path: Path
) -> None:
    state = replace(STATE, axis=axis, roles={})
    painting = PaintingFolder.create(tmp_path / "painting-1", state)

    painting.labels.array[key] = 3

    n_voxels = 6 * 5 * 4 // SHAPE["zyx".index(axis)]
    assert painting.labels.array.chunks == chunks
    assert counts(painting) == {2: [0, 0, n_voxels]}


def test_painting_is_opened_as_labels_with_phases_and_voxel_size(
    tmp_path: Path,
) -> None:
    painting = PaintingFolder.create(
        tmp_path / "painting-1", STATE, voxel_size=(3.0, 0.5, 0.25), unit="um"
    )
    painting.labels.array[4, 1:3, 2] = 2

    labels = open_labels(painting.labels.path)

    assert labels.phases == ELECTRODE
    assert (labels.voxel_size, labels.unit) == ((3.0, 0.5, 0.25), "micrometer")
    assert labels.slab(4, 5)[0, :, 2].tolist() == [0, 2, 2, 0, 0]


def test_what_is_written_is_read(painting: PaintingFolder) -> None:
    painting.labels.array[1] = 2
    phases = PhaseTable.named("void", "solid")
    state = replace(STATE, phases=phases, roles={5: "test"}, mask=None)

    painting.write(state)

    assert painting.read() == state
    assert open_volume(painting.labels.path).phases == phases
    assert counts(painting) == {1: [0, 20]}


def test_strokes_and_roles_tell_when_they_were_saved(painting: PaintingFolder) -> None:
    begun = painting.saved_at
    painting.labels.array[1] = 1
    painted = painting.saved_at
    painting.write(STATE)

    assert begun < painted < painting.saved_at
    assert abs((datetime.now(UTC) - begun).total_seconds()) < 60


def test_only_painted_slices_are_counted(painting: PaintingFolder) -> None:
    painting.labels.array[1, 0] = [1, 1, 3, 0]
    painting.labels.array[4, 2, 2] = 2
    painting.labels.array[5] = 1
    painting.labels.array[5] = 0

    assert counts(painting) == {1: [2, 0, 1], 4: [0, 1, 0]}


def test_slices_that_were_never_painted_are_not_read(tmp_path: Path) -> None:
    # Were they read, 8 GB would be made.
    image = ImageIdentity(name="scan", path=None, shape=(2000, 2000, 2000))
    painting = PaintingFolder.create(
        tmp_path / "painting-1", replace(STATE, image=image)
    )
    painting.labels.array[7, :3, :3] = 1
    painting.labels.array[1900, 5, 5] = 3

    before = datetime.now(UTC)
    found = counts(painting)

    assert found == {7: [9, 0, 0], 1900: [0, 0, 1]}
    assert (datetime.now(UTC) - before).total_seconds() < 2


def test_counting_passes_over_labels_that_are_no_phase() -> None:
    labels = np.array([[0, 1, 2], [2, 3, 9]], np.uint8)

    assert count_phases(labels, n_phases=2).tolist() == [1, 2]


# ---- labels that lie elsewhere ----


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_slices_are_copied_from_memory(
    painting: PaintingFolder, dtype: DTypeLike
) -> None:
    labels = (np.arange(6 * 5 * 4) % 4).astype(dtype).reshape(SHAPE)

    painting.labels.write_slices(labels, [1, 4])

    written = np.asarray(painting.labels.array[:])
    np.testing.assert_array_equal(written[[1, 4]], labels[[1, 4]])
    assert not written[[0, 2, 3, 5]].any()


def test_slices_are_copied_across_the_axis_of_the_painting(tmp_path: Path) -> None:
    state = replace(STATE, axis="x", roles={})
    painting = PaintingFolder.create(tmp_path / "painting-1", state)
    labels = np.arange(6 * 5 * 4).reshape(SHAPE) % 4

    painting.labels.write_slices(labels, [3])

    np.testing.assert_array_equal(painting.labels.array[:, :, 3], labels[:, :, 3])
    assert list(painting.labels.painted_slices()) == [3]


def test_plane_is_the_slice_of_a_flat_image(tmp_path: Path) -> None:
    image = replace(STATE.image, shape=(1, 5, 4))
    painting = PaintingFolder.create(
        tmp_path / "painting-1", replace(STATE, image=image, roles={0: "train"})
    )

    painting.labels.write_slices(np.full((5, 4), 2), [0])

    assert counts(painting) == {0: [0, 20, 0]}


@pytest.mark.parametrize(
    ("labels", "index", "message"),
    [
        (np.ones((6, 4, 5), np.uint8), 0, r"\(6, 4, 5\); expected .* \(6, 5, 4\)"),
        (np.full(SHAPE, 300), 0, "300 in slice z = 0"),
        (np.ones(SHAPE), 0, "labels are whole numbers"),
        (np.ones(SHAPE, np.uint8), 6, "slices 6:7 along z are outside labels"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    painting: PaintingFolder, labels: NDArray[Any], index: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        painting.labels.write_slices(labels, [index])

    assert painting.labels.painted_slices() == {}


# ---- other phases ----

WITHOUT_CBD = PhaseTable(
    (
        Phase(label=1, name="NMC", colour="#009e73"),
        Phase(label=2, name="pore", colour="#0072b2"),
    )
)


def test_labels_follow_their_phases(painting: PaintingFolder) -> None:
    painting.labels.array[1, 0] = [1, 2, 3, 0]
    painting.labels.array[4, 0, 0] = 2

    for _ in range(2):  # there and, by the same exchange, back
        painting.labels.relabel({1: 2, 2: 0, 3: 1}, phases=WITHOUT_CBD)
        relabelled_once = np.asarray(painting.labels.array[1, 0])
        painting.labels.relabel({1: 3, 2: 1}, phases=ELECTRODE)

    assert relabelled_once.tolist() == [2, 0, 1, 0]
    assert np.asarray(painting.labels.array[1, 0]).tolist() == [1, 0, 3, 0]
    assert counts(painting) == {1: [1, 0, 1]}
    assert painting.read() == STATE


def test_relabelled_painting_is_opened_as_labels(painting: PaintingFolder) -> None:
    painting.labels.array[1] = 3

    painting.labels.relabel({1: 2, 2: 0, 3: 1}, phases=WITHOUT_CBD)

    labels = open_labels(painting.labels.path)
    assert labels.phases == WITHOUT_CBD
    assert labels.slab(0, 6).max(axis=(1, 2)).tolist() == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("mapping", [{1: 256}, {1: -1}, {0: 1}, {256: 1}])
def test_labels_beyond_uint8_are_refused(mapping: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot become"):
        relabelled(np.zeros(3, np.uint8), mapping)


# ---- refusals ----


def test_painting_is_not_begun_over_another_one(painting: PaintingFolder) -> None:
    painting.labels.array[1] = 1

    with pytest.raises(ResultExistsError, match="exists already"):
        PaintingFolder.create(painting.path, STATE)

    assert counts(painting) == {1: [20, 0, 0]}


@pytest.mark.parametrize(
    "state",
    [
        replace(STATE, axis="y", roles={}),
        replace(STATE, image=replace(STATE.image, shape=(6, 5, 5))),
    ],
)
def test_painting_keeps_its_axis_and_shape(
    painting: PaintingFolder, state: PaintingState
) -> None:
    with pytest.raises(ValueError, match="begin another one"):
        painting.write(state)

    assert painting.read() == STATE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis": "t"}, "z, y or x, got 't'"),
        ({"roles": {6: "train"}}, "z=6 is for 'train'; expected a slice of 0 to 5"),
        ({"roles": {1: "practice"}}, "for train, validation, test"),
    ],
)
def test_state_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STATE, **changes)


def rewrite(painting: PaintingFolder, **changes: Any) -> None:
    file = painting.path / "painting.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


OTHER_IMAGE = {"name": "scan", "path": None, "shape": [9, 9, 9]}
HARM: dict[str, tuple[Callable[[PaintingFolder], object], str]] = {
    "all gone": (lambda p: shutil.rmtree(p.path), "is not a painting"),
    "labels gone": (lambda p: shutil.rmtree(p.labels.path), "is not a painting"),
    "state gone": (lambda p: (p.path / "painting.json").unlink(), "is not a painting"),
    "array gone": (lambda p: shutil.rmtree(p.labels.path / "0"), "cannot be read"),
    "state cut": (lambda p: cut(p.path / "painting.json"), "cannot be read"),
    "phases cut": (lambda p: cut(p.labels.path / "zarr.json"), "cannot be read"),
    "phases lost": (
        lambda p: (p.labels.path / "zarr.json").write_text("{}"),
        "cannot be read",
    ),
    "array cut": (lambda p: cut(p.labels.path / "0" / "zarr.json"), "cannot be read"),
    "slice cut": (lambda p: cut(p.labels.path / "0/c/1/0/0"), "cannot be read"),
    "newer format": (lambda p: rewrite(p, format=2), "2; this version reads format 1"),
    "slice no number": (lambda p: rewrite(p, roles={"a": "train"}), "cannot be read"),
    "no such slice": (lambda p: rewrite(p, roles={"9": "train"}), "z=9 is for 'train'"),
    "image lost": (lambda p: rewrite(p, image={"name": "scan"}), "cannot be read"),
    "too deep": (
        lambda p: (p.path / "painting.json").write_text("[" * 100_000),
        "nested too deeply",
    ),
    "phases too deep": (
        lambda p: (p.labels.path / "zarr.json").write_text("[" * 100_000),
        "cannot be read",
    ),
    "a list": (lambda p: (p.path / "painting.json").write_text("[]"), "got `array`"),
    "mask no text": (lambda p: rewrite(p, mask=5), r"got `int` - at `\$\.mask`"),
    "name no text": (
        lambda p: rewrite(p, image=OTHER_IMAGE | {"name": 5}),
        r"at `\$\.image\.name`",
    ),
    "another shape": (lambda p: rewrite(p, image=OTHER_IMAGE), r"\(9, 9, 9\)"),
}


@pytest.mark.parametrize(("harm", "message"), HARM.values(), ids=HARM)
def test_painting_that_is_damaged_is_refused_with_a_sentence(
    painting: PaintingFolder, harm: Callable[[PaintingFolder], None], message: str
) -> None:
    painting.labels.array[1] = np.random.default_rng(0).integers(0, 4, (5, 4))
    harm(painting)

    with pytest.raises(VolumeError, match=message) as caught:
        painting.labels.painted_slices()

    assert "\n" not in str(caught.value)


def test_folder_of_something_else_is_no_painting(tmp_path: Path) -> None:
    assert not PaintingFolder(tmp_path).is_painting
    with pytest.raises(VolumeError, match="is not a painting"):
        _ = PaintingFolder(tmp_path).saved_at


# ---- killed ----

_CHILD = """
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.phases import PhaseTable

painting = PaintingFolder(Path(sys.argv[1]))
for stroke in count(1):
    state = painting.read()
    painting.labels.array[stroke % 5] = 1 + state.phases.names.index("pore")
    print(stroke, flush=True)
    painting.write(replace(state, roles={stroke % 5: "train"}))
    exchanged = PhaseTable.named(*reversed(state.phases.names))
    painting.labels.relabel({1: 2, 2: 1}, phases=exchanged)
"""


@pytest.mark.parametrize("n_strokes", [1, 8, 23])
def test_killed_while_painting_loses_no_stroke(n_strokes: int, tmp_path: Path) -> None:
    painting = PaintingFolder.create(
        tmp_path / "painting-1",
        replace(STATE, phases=PhaseTable.named("pore", "solid"), roles={}),
    )
    with Script(_CHILD, painting.path) as child:
        assert len(list(islice(child.stdout, n_strokes))) == n_strokes
        child.kill()
        n_told = n_strokes + len(child.stdout.readlines())
        code = child.wait()

    state = painting.read()

    painted = np.asarray(painting.labels.array[:])
    pore = 1 + state.phases.names.index("pore")
    assert code != 0
    for stroke in range(1, n_told + 1):
        assert (painted[stroke % 5] == pore).all()
    assert np.isin(painted, [0, pore]).all()
    assert len(state.roles) <= 1
    painting.write(STATE)
    painting.labels.relabel({1: 2, 2: 1}, phases=ELECTRODE)
    assert painting.read() == STATE


_CHILD_KILLED_AT_A_WRITE = """
import os
import signal
import sys
from itertools import count
from pathlib import Path

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.phases import PhaseTable

# All that is written, by Zarr too, is put in place so.
writes, put_in_place = count(), Path.replace

def replace(path, target):
    if next(writes) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return put_in_place(path, target)

Path.replace = replace
painting = PaintingFolder(Path(sys.argv[1]))
painting.labels.relabel({1: 2, 2: 1}, phases=PhaseTable.named("solid", "pore"))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_relabelling_killed_at_any_write_is_done_or_not(tmp_path: Path) -> None:
    phases = PhaseTable.named("pore", "solid")
    painting = PaintingFolder.create(
        tmp_path / "painting-1", replace(STATE, phases=phases)
    )
    painting.labels.array[1] = painting.labels.array[4] = 1
    found = []
    for n_writes in range(20):
        with Script(_CHILD_KILLED_AT_A_WRITE, painting.path, n_writes) as child:
            code = child.wait()
        found.append((painting.read().phases.names, counts(painting)))
        if code == 0:
            break

    before = (("pore", "solid"), {1: [20, 0], 4: [20, 0]})
    after = (("solid", "pore"), {1: [0, 20], 4: [0, 20]})
    # Two slices, what describes their array, and what names it.
    assert len(found) > 4
    assert found == [before] * (len(found) - 1) + [after]


def test_what_a_killed_relabelling_has_left_is_passed_over(
    painting: PaintingFolder,
) -> None:
    painting.labels.array[1] = 3
    left = zarr.create_array(
        painting.labels.path / "1", shape=SHAPE, chunks=(1, 5, 4), dtype=np.uint8
    )
    left[4] = 2

    before = counts(painting)
    painting.labels.relabel({3: 1}, phases=ELECTRODE)

    assert before == {1: [0, 0, 20]}
    assert counts(painting) == {1: [20, 0, 0]}
