import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_lrcs.arrays import Labels
from napari_lrcs.classical.specks import remove_specks
from napari_lrcs.config import Axis
from napari_lrcs.errors import InUseError, ResultExistsError, VolumeError
from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.inference.results import cleaning, publishing
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.outputs import (
    CONFIDENCE,
    LABELS,
    PROBABILITIES,
    Arrays,
)
from napari_lrcs.inference.results.partial import PartialFolder
from napari_lrcs.inference.results.publishing import Publication
from napari_lrcs.inference.results.result import MemoryResult, Result, Sink
from napari_lrcs.io.formats import pyramid
from napari_lrcs.io.formats.pyramid import levels_of
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import ELECTRODE, PhaseTable

SHAPE = (6, 8, 10)


def geometry_of(
    *, shape: tuple[int, int, int] = SHAPE, axis: Axis = "z", depth: int = 4
) -> Geometry:
    return Geometry(
        shape=shape,
        axis=axis,
        depth=depth,
        voxel_size=(2.0, 0.5, 0.5),
        unit="micrometer",
        phases=ELECTRODE,
    )


def parts_of(labels: Labels, slab: Slab) -> Arrays:
    part = labels[slab.start : slab.stop]
    probabilities = np.stack([part == phase.label for phase in ELECTRODE])
    return {
        LABELS: part,
        CONFIDENCE: part * np.uint8(80),
        PROBABILITIES: probabilities.astype(np.float16),
    }


@pytest.fixture
def labels() -> Labels:
    return np.random.default_rng(0).integers(1, 4, SHAPE).astype(np.uint8)


def compute(
    sink: Sink, labels: Labels, *, geometry: Geometry | None = None
) -> set[int]:
    """Write what is missing; return what was there."""
    geometry = geometry or geometry_of()
    done = sink.done
    for slab in geometry.slabs(range(len(labels))):
        if slab.start not in done:
            sink.write(slab, parts_of(labels, slab))
    return done


def open_result(
    result: Result, *, identity: str = "a", min_size: int = 0
) -> AbstractContextManager[Sink]:
    return result.open(geometry_of(), {"checkpoint": identity}, min_size=min_size)


def begin(result: Result, labels: Labels, *, min_size: int = 0) -> None:
    """Compute all, and be interrupted before anything is published."""
    with open_result(result, min_size=min_size) as sink:
        compute(sink, labels)


def write(result: Result, labels: Labels, *, min_size: int = 0) -> list[float]:
    with open_result(result, min_size=min_size) as sink:
        compute(sink, labels)
        return list(sink.publish())


def go_on(result: Result, labels: Labels, *, min_size: int = 0) -> set[int]:
    """Continue to the end; return what was there."""
    with open_result(result, min_size=min_size) as sink:
        done = compute(sink, labels)
        list(sink.publish())
    return done


@given(st.sets(st.integers(0, 40), min_size=1), st.integers(1, 9))
def test_slabs_cover_the_slices_and_cross_no_chunk(
    wanted: set[int], depth: int
) -> None:
    slabs = list(geometry_of(depth=depth).slabs(sorted(wanted)))

    covered = [z for slab in slabs for z in range(slab.start, slab.stop)]
    assert covered == sorted(wanted)
    assert all(s.start // depth == (s.stop - 1) // depth for s in slabs)
    for before, after in pairwise(slabs):
        # None is shorter than it need be.
        assert before.stop < after.start or after.start % depth == 0


def test_slab_counts_its_slices() -> None:
    assert len(Slab(start=3, stop=7)) == 4


@pytest.mark.parametrize(
    ("axis", "region", "chunks"),
    [
        ("z", (slice(2, 4), slice(0, 8), slice(0, 900)), (4, 8, 512)),
        ("y", (slice(0, 6), slice(2, 4), slice(0, 900)), (6, 4, 512)),
        ("x", (slice(0, 6), slice(0, 8), slice(2, 4)), (6, 8, 4)),
    ],
)
def test_slabs_and_chunks_lie_across_the_axis(
    axis: Axis, region: tuple[slice, ...], chunks: tuple[int, ...]
) -> None:
    geometry = geometry_of(shape=(6, 8, 900), axis=axis)

    assert geometry.region(Slab(start=2, stop=4)) == region
    assert geometry.chunks == chunks


def test_memory_takes_labels_and_confidence(labels: Labels) -> None:
    result = MemoryResult(
        labels=np.zeros_like(labels), confidence=np.zeros_like(labels)
    )

    write(result, labels)

    assert result.wanted == (LABELS, CONFIDENCE)
    np.testing.assert_array_equal(result.labels, labels)
    assert result.confidence is not None
    np.testing.assert_array_equal(result.confidence, labels * 80)


def test_memory_of_another_shape_is_refused() -> None:
    result = MemoryResult(labels=np.zeros((6, 8, 9), np.uint8))

    with (
        pytest.raises(ValueError, match=r"the result is \(6, 8, 9\), the volume"),
        result.open(geometry_of(), {}),
    ):
        pass


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".zarr"])
def test_labels_reach_the_file_with_what_they_carry(
    suffix: str, labels: Labels, tmp_path: Path
) -> None:
    path = tmp_path / f"labels{suffix}"

    write(DiskResult(labels=path), labels)

    volume = open_volume(path)
    np.testing.assert_array_equal(volume.slab(0, 6), labels)
    assert (volume.voxel_size, volume.unit) == ((2.0, 0.5, 0.5), "micrometer")
    assert volume.phases == ELECTRODE
    assert volume.dtype == np.uint8
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_all_parts_reach_their_files(labels: Labels, tmp_path: Path) -> None:
    result = DiskResult(
        labels=tmp_path / "labels.tif",
        confidence=tmp_path / "confidence.zarr",
        probabilities=tmp_path / "probabilities.zarr",
    )

    write(result, labels)

    assert {p.name for p in tmp_path.iterdir()} == {
        "labels.tif",
        "confidence.zarr",
        "probabilities.zarr",
    }
    confidence = open_volume(tmp_path / "confidence.zarr")
    np.testing.assert_array_equal(confidence.slab(0, 6), labels * 80)
    probabilities = zarr.open_array(tmp_path / "probabilities.zarr" / "0", mode="r")
    assert probabilities.shape == (3, *SHAPE)
    assert probabilities.dtype == np.float16
    most_probable = np.asarray(probabilities[:]).argmax(axis=0) + 1
    np.testing.assert_array_equal(most_probable, labels)


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_specks_go_as_from_the_whole_volume(
    suffix: str, labels: Labels, tmp_path: Path
) -> None:
    path = tmp_path / f"labels{suffix}"

    write(DiskResult(labels=path), labels, min_size=20)

    expected = remove_specks(labels, min_size=20)
    assert (expected != labels).any()
    np.testing.assert_array_equal(open_volume(path).slab(0, 6), expected)


@pytest.mark.parametrize("min_size", [0, 20])
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_empty_slices_are_not_read_and_stay_empty(
    suffix: str, min_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (60, 8, 10)
    labels = np.zeros(shape, np.uint8)
    filled = [*range(13, 22), 40]
    labels[filled] = np.random.default_rng(0).integers(1, 4, (10, 8, 10))
    result = DiskResult(labels=tmp_path / f"labels{suffix}")
    geometry = geometry_of(shape=shape, depth=1)
    read: set[int] = set()
    slab_of = Volume.slab

    def watched(self: Volume, start: int, stop: int) -> object:
        read.update(range(start, stop))
        return slab_of(self, start, stop)

    with result.open(geometry, {}, min_size=min_size) as sink:
        for slab in geometry.slabs(filled):
            sink.write(slab, parts_of(labels, slab))
        monkeypatch.setattr(Volume, "slab", watched)
        list(sink.publish())
    monkeypatch.undo()

    assert read <= set(filled)
    expected = remove_specks(labels, min_size=min_size)
    np.testing.assert_array_equal(open_volume(result.path).slab(0, 60), expected)


def test_specks_go_from_memory_as_from_the_whole_volume(
    labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "COPY_SLICES", 2)
    result = MemoryResult(labels=np.zeros_like(labels))

    shares = write(result, labels, min_size=20)

    np.testing.assert_array_equal(result.labels, remove_specks(labels, min_size=20))
    assert shares == [1 / 3, 2 / 3, 1]


@pytest.mark.parametrize(
    "names",
    [
        {"labels": "labels.png"},
        {"labels": "labels"},
        {"labels": "labels.tif", "confidence": "confidence.npy"},
        {"labels": "labels.tif", "probabilities": "probabilities.tif"},
    ],
)
def test_other_endings_are_refused(names: dict[str, str], tmp_path: Path) -> None:
    paths: dict[str, Any] = {part: tmp_path / name for part, name in names.items()}

    with pytest.raises(VolumeError, match="its name must end in"):
        DiskResult(**paths)


def test_parts_need_a_file_each(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.tif and .*a\.tif overlap"):
        DiskResult(labels=tmp_path / "a.tif", confidence=tmp_path / "a.tif")


def test_folder_that_is_no_result_is_refused(tmp_path: Path) -> None:
    for name in ("mine.zarr", "mine.tif"):
        (tmp_path / name).mkdir()

        with pytest.raises(VolumeError, match="choose another name"):
            DiskResult(labels=tmp_path / name)


def test_same_prediction_is_continued(labels: Labels, tmp_path: Path) -> None:
    path = tmp_path / "labels.zarr"
    first, second = geometry_of().slabs(range(6))
    with open_result(DiskResult(labels=path)) as begun:
        assert begun.done == set()
        begun.write(first, parts_of(labels, first))

    with open_result(DiskResult(labels=path)) as again:
        done = again.done
        again.write(second, parts_of(labels, second))
        list(again.publish())

    assert done == {first.start}
    np.testing.assert_array_equal(open_volume(path).slab(0, 6), labels)


def rewrite_array(partial: Path, **changes: object) -> None:
    place = partial / "labels.zarr/0/zarr.json"
    metadata = json.loads(place.read_text(encoding="utf-8"))
    place.write_text(json.dumps(metadata | changes), encoding="utf-8")


HARM: dict[str, Callable[[Path], object]] = {
    "codec": lambda p: rewrite_array(p, codecs=[{"name": "unheard-of"}]),
    "shape": lambda p: rewrite_array(p, shape=[2, 2, 2]),
    "dtype": lambda p: rewrite_array(p, data_type="float32"),
    "image": lambda p: (p / "labels.zarr/zarr.json").write_text("{}"),
    "image deep": lambda p: (p / "labels.zarr/zarr.json").write_text("[" * 100_000),
    "done no number": lambda p: (p / "done.txt").write_text("zero\n"),
    "pipe": lambda p: os.mkfifo(p / "labels.zarr" / "pipe"),
    "done gone": lambda p: (p / "done.txt").unlink(),
    "places a list": lambda p: (p / "places.json").write_text("[]"),
    "places a number": lambda p: (p / "places.json").write_text("5"),
    "place alone": lambda p: (p / "places.json").write_text('{"labels": ["a"]}'),
    "places deep": lambda p: (p / "places.json").write_text("[" * 100_000),
}


def check_and_write(result: DiskResult, labels: Labels) -> None:
    result.check_new()
    write(result, labels)


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_damaged_unfinished_prediction_is_refused_with_a_sentence(
    harm: Callable[[Path], object], labels: Labels, tmp_path: Path
) -> None:
    begun = DiskResult(labels=tmp_path / "labels.zarr")
    begin(begun, labels)
    harm(begun.partial)

    again = DiskResult(labels=tmp_path / "labels.zarr")
    with pytest.raises(VolumeError, match=r"in .*labels\.zarr\.partial is damaged: .*"):
        check_and_write(again, labels)


@pytest.mark.parametrize("has_confidence", [True, False])
def test_another_prediction_is_begun_anew(
    has_confidence: bool, labels: Labels, tmp_path: Path
) -> None:
    slab = Slab(start=0, stop=4)
    with open_result(DiskResult(labels=tmp_path / "labels.zarr")) as begun:
        begun.write(slab, parts_of(labels, slab))
    confidence = tmp_path / "confidence.zarr" if has_confidence else None

    other = DiskResult(labels=tmp_path / "labels.zarr", confidence=confidence)
    with open_result(other, identity="a" if has_confidence else "b") as sink:
        assert sink.done == set()
        assert not open_volume(other.partial / "labels.zarr").slab(0, 6).any()


@pytest.mark.parametrize(
    "change",
    [
        {"voxel_size": (2.0, 0.5, 0.25)},
        {"unit": "nanometer"},
        {"phases": PhaseTable.named("pore", "carbon", "oxide")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_result_carries_what_was_corrected_before_it_is_continued(
    change: dict[str, Any], labels: Labels, tmp_path: Path
) -> None:
    result = DiskResult(labels=tmp_path / "labels.zarr")
    begin(result, labels)
    corrected = replace(geometry_of(), **change)

    with result.open(corrected, {"checkpoint": "a"}) as sink:
        compute(sink, labels)
        list(sink.publish())

    volume = open_volume(result.labels)
    found = (volume.voxel_size, volume.unit, volume.phases)
    assert found == (corrected.voxel_size, corrected.unit, corrected.phases)


def test_note_that_a_crash_has_torn_does_not_count(
    labels: Labels, tmp_path: Path
) -> None:
    result = DiskResult(labels=tmp_path / "labels.zarr")
    with open_result(result):
        (result.partial / "done.txt").write_text("0\n1", encoding="ascii")

    slab = Slab(start=4, stop=6)
    with open_result(result) as sink:
        assert sink.done == {0}
        sink.write(slab, parts_of(labels, slab))

    with open_result(result) as sink:
        assert sink.done == {0, 4}


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    with open_result(DiskResult(labels=tmp_path / "labels.zarr")):
        assert list(tmp_path.iterdir())

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_result_is_replaced_by_a_complete_one_alone(
    suffix: str, labels: Labels, tmp_path: Path
) -> None:
    path = tmp_path / f"labels{suffix}"
    write(DiskResult(labels=path), labels)
    new = (labels % 3 + 1).astype(np.uint8)

    with open_result(DiskResult(labels=path), identity="new") as sink:
        for slab in geometry_of().slabs(range(6)):
            sink.write(slab, parts_of(new, slab))
            np.testing.assert_array_equal(open_volume(path).slab(0, 6), labels)
        list(sink.publish())

    np.testing.assert_array_equal(open_volume(path).slab(0, 6), new)


# ---- publishing that is cut off ----


class Killed(BaseException):
    """Ends a prediction where it stands; nothing catches it."""


ALL_DONE = {0, 4}


def result_of_all(folder: Path, *, overwrite: bool = True) -> DiskResult:
    return DiskResult(
        labels=folder / "s.zarr",
        confidence=folder / "c.tif",
        probabilities=folder / "p.zarr",
        overwrite=overwrite,
    )


def assert_published(folder: Path, labels: Labels) -> None:
    assert {p.name for p in folder.iterdir()} == {"s.zarr", "c.tif", "p.zarr"}
    assert_holds(folder / "s.zarr", labels)


def assert_holds(path: Path, labels: Labels) -> None:
    np.testing.assert_array_equal(open_volume(path).slab(0, 6), labels)


def kill_at(patch: pytest.MonkeyPatch, n: int) -> None:
    """Kill the process at its n-th rename."""
    replace = Path.replace
    renames = iter(range(1000))

    def rename(self: Path, target: Path) -> Path:
        if next(renames) == n:
            raise Killed
        return replace(self, target)

    patch.setattr(Path, "replace", rename)


@pytest.mark.parametrize("has_former", [False, True])
@pytest.mark.parametrize("min_size", [0, 20])
def test_publishing_killed_at_any_rename_is_continued(
    min_size: int,
    has_former: bool,
    labels: Labels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_renames = 0
    was_killed = True
    while was_killed:
        folder = tmp_path / str(n_renames)
        folder.mkdir()
        if has_former:
            write(result_of_all(folder), np.ones_like(labels))
        result = result_of_all(folder)
        begin(result, labels, min_size=min_size)
        with (
            open_result(result, min_size=min_size) as sink,
            monkeypatch.context() as patch,
        ):
            kill_at(patch, n_renames)
            was_killed = was_killed_publishing(sink)
        if was_killed:
            n_renames += 1

            again = result_of_all(folder, overwrite=has_former)
            again.check_new()
            assert go_on(again, labels, min_size=min_size) == ALL_DONE

        assert_published(folder, remove_specks(labels, min_size=min_size))
    assert n_renames >= 6  # TIFF ready, noted, three moved, ended


def was_killed_publishing(sink: Sink) -> bool:
    try:
        list(sink.publish())
    except Killed:
        return True
    return False


def test_prediction_killed_while_its_folder_is_removed_is_continued(
    labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = DiskResult(labels=tmp_path / "s.tif")

    def remove_half(path: Path) -> None:
        shutil.rmtree(path / "0")
        raise Killed

    with monkeypatch.context() as patch, open_result(result) as sink:
        compute(sink, labels)
        patch.setattr(publishing, "remove", remove_half)
        assert was_killed_publishing(sink)

    again = DiskResult(labels=tmp_path / "s.tif")
    again.check_new()
    assert go_on(again, labels) == ALL_DONE
    assert [path.name for path in tmp_path.iterdir()] == ["s.tif"]
    assert np.array_equal(tifffile.imread(tmp_path / "s.tif"), labels)


def test_what_is_left_at_the_very_end_of_what_cannot_be_continued_is_removed(
    labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_half(path: Path) -> None:
        shutil.rmtree(path / "0")
        raise Killed

    result = DiskResult(labels=tmp_path / "s.tif")
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "remove", remove_half)
        patch.setattr(PartialFolder, "clean_up", lambda *_, **__: None)
        with result.open(geometry_of(), None) as sink:
            compute(sink, labels)
            assert was_killed_publishing(sink)
    assert result.partial.exists()

    again = DiskResult(labels=tmp_path / "s.tif", overwrite=False)
    with pytest.raises(ResultExistsError), again.open(geometry_of(), None):
        pass

    assert [path.name for path in tmp_path.iterdir()] == ["s.tif"]


def test_full_disk_at_the_second_part_is_continued(
    labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = result_of_all(tmp_path, overwrite=False)
    with monkeypatch.context() as patch:

        def no_space(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(tifffile.TiffWriter, "write", no_space)
        with pytest.raises(OSError, match="No space left"):
            write(result, labels)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr.partial"]

    again = result_of_all(tmp_path, overwrite=False)
    again.check_new()
    assert go_on(again, labels) == ALL_DONE

    assert_published(tmp_path, labels)


@pytest.mark.parametrize("n", range(3))
def test_publishing_that_is_closed_is_continued(
    n: int, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "COPY_SLICES", 2)
    n_threads = threading.active_count()
    result = DiskResult(labels=tmp_path / "s.tif")
    with open_result(result, min_size=20) as sink:
        compute(sink, labels)
        with closing(sink.publish()) as shares:  # type: ignore[type-var]
            assert len(list(islice(shares, n + 1))) == n + 1
    assert threading.active_count() == n_threads
    assert not result.labels.exists()
    assert not result.is_complete

    again = DiskResult(labels=tmp_path / "s.tif")
    assert go_on(again, labels, min_size=20) == ALL_DONE
    assert again.is_complete

    assert_holds(again.labels, remove_specks(labels, min_size=20))
    assert [p.name for p in tmp_path.iterdir()] == ["s.tif"]


def test_failing_read_ends_the_writing_thread(labels: Labels, tmp_path: Path) -> None:
    n_threads = threading.active_count()
    result = DiskResult(labels=tmp_path / "s.tif")
    begin(result, labels)
    chunk = next(p for p in result.partial.rglob("c/1/0/0"))
    chunk.write_bytes(b"torn")

    with pytest.raises(VolumeError, match="cannot be read"):
        go_on(result, labels)

    assert threading.active_count() == n_threads
    assert not [p for p in result.partial.iterdir() if p.suffix == ".tif"]


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_other_specks_need_no_computing_while_the_labels_are_not_in_place(
    suffix: str, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, confidence = tmp_path / f"s{suffix}", tmp_path / "c.tif"
    killed = DiskResult(labels=path, confidence=confidence)
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_move", lambda *_: kill())
        with pytest.raises(Killed):
            write(killed, labels, min_size=20)

    again = DiskResult(labels=path, confidence=confidence)
    assert go_on(again, labels, min_size=2) == ALL_DONE

    assert_holds(path, remove_specks(labels, min_size=2))


def kill() -> None:
    raise Killed


def test_another_prediction_does_not_replace_what_was_published(
    labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = result_of_all(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Publication, "_end", lambda _: kill())
        with pytest.raises(Killed):
            write(killed, labels)

    other = result_of_all(tmp_path, overwrite=False)
    with (
        pytest.raises(ResultExistsError, match="exists already"),
        open_result(other, identity="b"),
    ):
        pass

    assert_holds(tmp_path / "s.zarr", labels)


def test_part_that_was_published_and_removed_is_computed_again(
    labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = result_of_all(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Publication, "_end", lambda _: kill())
        with pytest.raises(Killed):
            write(killed, labels)
    shutil.rmtree(tmp_path / "p.zarr")

    with open_result(result_of_all(tmp_path)) as sink:
        assert sink.done == set()


@pytest.mark.parametrize("name", ["s.zarr", "s.tif"])
def test_result_goes_to_another_disk(
    name: str, labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    write(DiskResult(labels=path), np.ones_like(labels))
    replace = Path.replace

    def rename(self: Path, target: Path) -> Path:
        if self.parent.name.endswith(".partial") and target.parent == tmp_path:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", rename)
    write(DiskResult(labels=path), labels)

    assert_holds(path, labels)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["s.zarr", "s.tif"])
def test_a_link_is_followed_however_often(
    name: str, labels: Labels, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "disk" / name)

    for written in (np.ones_like(labels), labels):
        write(DiskResult(labels=tmp_path / name), written)

    assert (tmp_path / name).is_symlink()
    assert_holds(tmp_path / name, labels)
    assert {p.name for p in tmp_path.iterdir()} == {"disk", name}
    assert [p.name for p in (tmp_path / "disk").iterdir()] == [name]


# ---- one writer, and what is not ours ----


@pytest.mark.parametrize("name", ["s.zarr", "s.tif"])
def test_a_second_writer_is_refused_and_takes_nothing(
    name: str, labels: Labels, tmp_path: Path
) -> None:
    with open_result(DiskResult(labels=tmp_path / name)) as first:
        compute(first, labels)

        for second in (
            DiskResult(labels=tmp_path / name),
            DiskResult(labels=tmp_path / "b.tif", confidence=tmp_path / name),
        ):
            for identity in ({"checkpoint": "a"}, None):
                with (
                    pytest.raises(InUseError, match=f"by process {os.getpid()}"),
                    second.open(geometry_of(), identity),
                ):
                    pass
        list(first.publish())

    assert_holds(tmp_path / name, labels)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_result_that_came_first_is_not_replaced_unasked(
    labels: Labels, tmp_path: Path
) -> None:
    late = DiskResult(labels=tmp_path / "s.tif", overwrite=False)
    late.check_new()
    write(DiskResult(labels=tmp_path / "s.tif"), labels)

    with (
        pytest.raises(ResultExistsError, match="exists already"),
        open_result(late),
    ):
        pass

    assert_holds(tmp_path / "s.tif", labels)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("thesis.txt", b"years of work"),
        ("identity.json", b'{"who": "me"}'),
        ("identity.json", b"\xff"),
    ],
)
def test_a_folder_of_that_name_that_is_not_ours_is_left_alone(
    name: str, content: bytes, tmp_path: Path
) -> None:
    mine = tmp_path / "s.tif.partial" / name
    mine.parent.mkdir()
    mine.write_bytes(content)
    result = DiskResult(labels=tmp_path / "s.tif")

    with pytest.raises(ResultExistsError, match=r"s\.tif\.partial is in the way"):
        result.check_new()
    for identity in ({"checkpoint": "a"}, None):
        with (
            pytest.raises(ResultExistsError, match="is in the way"),
            result.open(geometry_of(), identity),
        ):
            pass

    assert mine.read_bytes() == content


# ---- levels for viewers ----


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halve sides of more than two voxels, until all have five at most."""
    monkeypatch.setattr(pyramid, "SMALL", 2)
    monkeypatch.setattr(pyramid, "COARSEST", 5)


@pytest.mark.usefixtures("levels")
@pytest.mark.parametrize("min_size", [0, 20])
def test_labels_and_confidence_come_with_coarser_levels(
    min_size: int, labels: Labels, tmp_path: Path
) -> None:
    result = DiskResult(
        labels=tmp_path / "s.zarr",
        confidence=tmp_path / "c.zarr",
        probabilities=tmp_path / "p.zarr",
    )

    shares = write(result, labels, min_size=min_size)

    cleaned = remove_specks(labels, min_size=min_size)
    for name, finest in (("s.zarr", cleaned), ("c.zarr", labels * 80)):
        assert_holds(tmp_path / name, finest)
        _, half = levels_of(tmp_path / name)
        np.testing.assert_array_equal(half[:], finest[::2, ::2, ::2])
    assert len(levels_of(tmp_path / "p.zarr")) == 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.usefixtures("levels")
@pytest.mark.parametrize("min_size", [0, 20])
def test_levels_that_were_cut_off_are_made_again(
    min_size: int, labels: Labels, tmp_path: Path
) -> None:
    n_shares = len(write(DiskResult(labels=tmp_path / "s.zarr"), labels))
    for n in range(1, n_shares):
        path = tmp_path / f"{n}.zarr"
        with open_result(DiskResult(labels=path), min_size=min_size) as sink:
            compute(sink, labels)
            with closing(sink.publish()) as shares:  # type: ignore[type-var]
                assert len(list(islice(shares, n))) == n
        assert not path.exists()

        again = DiskResult(labels=path)
        assert go_on(again, labels, min_size=min_size) == ALL_DONE

        cleaned = remove_specks(labels, min_size=min_size)
        _, half = levels_of(path)
        np.testing.assert_array_equal(half[:], cleaned[::2, ::2, ::2])
        assert not again.partial.exists()


@pytest.mark.usefixtures("levels")
def test_publishing_with_levels_killed_at_any_rename_is_continued(
    labels: Labels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_publishing_killed_at_any_rename_is_continued(
        min_size=0,
        has_former=True,
        labels=labels,
        tmp_path=tmp_path,
        monkeypatch=monkeypatch,
    )

    assert all(len(levels_of(path)) == 2 for path in tmp_path.glob("*/s.zarr"))


# ---- some slices, and what is interrupted, in memory ----


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_specks_go_from_slices_as_from_a_volume_of_them_alone(
    axis: Axis, labels: Labels
) -> None:
    slices = [0, 1, 2, 5]
    across = "zyx".index(axis)
    alone = np.zeros_like(labels)
    place: list[Any] = [slice(None)] * 3
    place[across] = slices
    alone[tuple(place)] = labels[tuple(place)]
    result = MemoryResult(labels=np.zeros_like(labels))
    geometry = geometry_of(axis=axis)
    moved = np.moveaxis(labels, across, 0)

    with result.open(geometry, {"slices": slices}, min_size=20) as sink:
        for slab in geometry.slabs(slices):
            sink.write(slab, parts_of(moved, slab))
        list(sink.publish())

    expected = remove_specks(alone, min_size=20)
    assert (expected != alone).any()
    np.testing.assert_array_equal(result.labels, expected)


def test_an_interrupted_result_in_memory_is_continued(labels: Labels) -> None:
    result = MemoryResult(labels=np.zeros_like(labels))
    slab = Slab(start=0, stop=4)
    with open_result(result) as sink:
        sink.write(slab, parts_of(labels, slab))

    with open_result(result) as sink:
        assert sink.done == {0}
    with open_result(result, identity="b") as sink:
        assert sink.done == set()
    with open_result(result) as sink:
        assert compute(sink, labels) == set()
    with open_result(result) as sink:
        assert sink.done == {0, 4}


def test_a_result_without_identity_is_never_continued(
    labels: Labels, tmp_path: Path
) -> None:
    for result in (
        MemoryResult(labels=np.zeros_like(labels)),
        DiskResult(labels=tmp_path / "s.tif"),
    ):
        for _ in range(2):
            with result.open(geometry_of(), None) as sink:
                assert compute(sink, labels) == set()

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_a_result_is_seen_while_it_fills_up(
    is_on_disk: bool, labels: Labels, tmp_path: Path
) -> None:
    result: Result = (
        DiskResult(
            labels=tmp_path / "s.tif",
            confidence=tmp_path / "c.tif",
            probabilities=tmp_path / "p.zarr",
        )
        if is_on_disk
        else MemoryResult(
            labels=np.zeros_like(labels), confidence=np.zeros_like(labels)
        )
    )
    slab = Slab(start=0, stop=4)
    assert len(result.arrays()) == (0 if is_on_disk else 2)

    with open_result(result) as sink:
        seen = result.arrays()
        sink.write(slab, parts_of(labels, slab))
        for array, factor in zip(seen, (1, 80), strict=True):
            np.testing.assert_array_equal(array[:4], labels[:4] * np.uint8(factor))
            assert not array[4:].any()
        compute(sink, labels)
        list(sink.publish())

    assert len(result.arrays()) == (0 if is_on_disk else 2)


@pytest.mark.parametrize("moved", [("confidence",), ("confidence", "labels")])
def test_parts_that_were_moved_to_their_places_meanwhile_are_not_opened(
    tmp_path: Path, moved: tuple[str, ...]
) -> None:
    disk = DiskResult(
        labels=tmp_path / "labels.zarr", confidence=tmp_path / "confidence.zarr"
    )
    for output in disk.wanted:
        place = disk.partial / f"{output.name}.zarr" / "0"
        zarr.create_array(place, shape=(1, 2, 2), dtype="u1")
    assert len(disk.arrays()) == 2

    for name in moved:
        (disk.partial / f"{name}.zarr").rename(tmp_path / name)

    assert disk.arrays() == []


def test_labels_in_a_zarr_array_are_cleaned_in_place(labels: Labels) -> None:
    array = zarr.create_array(
        zarr.storage.MemoryStore(), shape=SHAPE, chunks=(1, 8, 10), dtype=np.uint8
    )
    result = MemoryResult(labels=cast(Labels, array))

    write(result, labels, min_size=20)

    expected = remove_specks(labels, min_size=20)
    np.testing.assert_array_equal(np.asarray(array[:]), expected)
