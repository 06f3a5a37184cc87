import errno
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lrcs.arrays import Labels
from napari_lrcs.errors import InUseError, ResultExistsError, VolumeError
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.writing import check_new, create_in_memory, replacing
from napari_lrcs.phases import ELECTRODE

LABELS = (np.arange(6 * 5 * 4) % 4).astype(np.uint8).reshape(6, 5, 4)


def contents(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@given(
    cuts=st.lists(st.integers(0, 6)).map(sorted),
    unit=st.sampled_from(["nanometer", "micrometer", "angstrom", None]),
)
@settings(deadline=None, max_examples=30)
def test_slabs_of_any_thickness_come_back_as_one_volume(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], unit: str | None
) -> None:
    path = tmp_path_factory.mktemp("written") / "seg.tif"

    write_labels_tiff(
        path,
        np.split(LABELS, cuts),
        shape=LABELS.shape,
        voxel_size=(3.0, 0.5, 0.25),
        unit=unit,
        phases=ELECTRODE,
    )

    labels = open_labels(path)
    np.testing.assert_array_equal(labels.slab(0, 6), LABELS)
    assert (labels.voxel_size, labels.unit) == ((3.0, 0.5, 0.25), unit)
    assert labels.phases == ELECTRODE


@pytest.mark.parametrize(("spelling", "unit"), [("um", "micrometer"), ("pixel", None)])
def test_units_of_any_spelling_are_written_as_they_are_known(
    spelling: str, unit: str | None, tmp_path: Path
) -> None:
    size = (3.0, 0.5, 0.25)
    tif, folder = tmp_path / "seg.tif", tmp_path / "seg.zarr"

    write_labels_tiff(tif, [LABELS], shape=LABELS.shape, voxel_size=size, unit=spelling)
    create_ome_zarr(
        folder,
        shape=LABELS.shape,
        chunks=LABELS.shape,
        voxel_size=size,
        unit=spelling,
    )

    attributes = json.loads((folder / "zarr.json").read_text())["attributes"]
    axes = attributes["ome"]["multiscales"][0]["axes"]
    assert (open_labels(tif).voxel_size, open_labels(tif).unit) == (size, unit)
    assert [axis.get("unit") for axis in axes] == [unit] * 3


def test_labels_are_a_compressed_ome_tiff_that_others_read(tmp_path: Path) -> None:
    labels = np.zeros((20, 100, 100), np.uint8)

    write_labels_tiff(tmp_path / "seg.tif", [labels], shape=labels.shape)

    with tifffile.TiffFile(tmp_path / "seg.tif") as tif:
        assert tif.is_ome
        assert not tif.is_bigtiff
        assert tif.series[0].axes == "ZYX"
        assert len(tif.pages) == 20
    assert (tmp_path / "seg.tif").stat().st_size < labels.size / 10
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "seg.tif"), labels)
    assert contents(tmp_path) == ["seg.tif"]


def test_a_single_slice_is_written_and_read(tmp_path: Path) -> None:
    write_labels_tiff(tmp_path / "a.tif", [LABELS[:1]], shape=(1, 5, 4))

    volume = open_labels(tmp_path / "a.tif")

    np.testing.assert_array_equal(volume.slab(0, 1), LABELS[:1])
    assert (volume.voxel_size, volume.phases) == (None, None)


def test_another_type_is_written_when_asked(tmp_path: Path) -> None:
    counts = LABELS.astype(np.uint16) * 1000

    write_labels_tiff(tmp_path / "a.tif", [counts], shape=(6, 5, 4), dtype=np.uint16)

    np.testing.assert_array_equal(open_volume(tmp_path / "a.tif").slab(0, 6), counts)


def test_more_than_four_gigabytes_are_a_bigtiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_lrcs.io.formats.tiff._CLASSIC_LIMIT", LABELS.size - 1)

    write_labels_tiff(tmp_path / "a.tif", [LABELS], shape=(6, 5, 4))

    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_bigtiff
    np.testing.assert_array_equal(open_labels(tmp_path / "a.tif").slab(0, 6), LABELS)


def test_slabs_are_taken_one_at_a_time(tmp_path: Path) -> None:
    sizes_seen: list[int] = []

    def slabs() -> Iterator[Labels]:
        rng = np.random.default_rng(0)  # does not compress
        for _ in range(24):
            sizes_seen.append(sum(f.stat().st_size for f in tmp_path.iterdir()))
            yield rng.integers(0, 256, (2, 1024, 1024), np.uint8)

    write_labels_tiff(tmp_path / "a.tif", slabs(), shape=(48, 1024, 1024))

    # Before the last of 24 slabs of 2 MiB is asked for, more than 20 MiB are on disk.
    assert sizes_seen[-1] > 20 * 2**20


def full_disk() -> Iterator[Labels]:
    yield LABELS[:3]
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("slabs", "message"),
    [
        pytest.param(full_disk, "No space left", id="full disk"),
        pytest.param(lambda: [LABELS[:4]], "got 4 slices, expected 6", id="too few"),
        pytest.param(list, "got 0 slices, expected 6", id="none"),
        pytest.param(
            lambda: [LABELS, LABELS[:1]], "more than the expected 6", id="too many"
        ),
        pytest.param(
            lambda: [LABELS[:3], LABELS], "more than the expected 6", id="too thick"
        ),
        pytest.param(
            lambda: [LABELS[:, :3]], r"a slab is \(6, 3, 4\) uint8", id="shape"
        ),
        pytest.param(
            lambda: [LABELS.astype(np.int64)], r"\(6, 5, 4\) int64; exp", id="dtype"
        ),
    ],
)
@pytest.mark.parametrize("before", [b"earlier result", None], ids=["over", "new"])
def test_a_failure_leaves_the_folder_as_it_was(
    slabs: Callable[[], Iterable[Labels]],
    message: str,
    before: bytes | None,
    tmp_path: Path,
) -> None:
    path = tmp_path / "seg.tif"
    if before is not None:
        path.write_bytes(before)

    with pytest.raises((ValueError, OSError), match=message):
        write_labels_tiff(path, slabs(), shape=(6, 5, 4))

    assert contents(tmp_path) == ([] if before is None else ["seg.tif"])
    assert before is None or path.read_bytes() == before


def test_a_disk_that_fills_at_the_last_moment_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seg.tif").write_bytes(b"earlier result")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fail)

    with pytest.raises(OSError, match="No space left"):
        write_labels_tiff(tmp_path / "seg.tif", [LABELS], shape=(6, 5, 4))

    assert contents(tmp_path) == ["seg.tif"]
    assert (tmp_path / "seg.tif").read_bytes() == b"earlier result"


def test_a_write_that_fails_half_way_loses_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    (tmp_path / "seg.tif").write_bytes(b"earlier result")
    noise = np.random.default_rng(0).integers(0, 256, (64, 1024, 1024), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**24, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_labels_tiff(tmp_path / "seg.tif", [noise], shape=noise.shape)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert contents(tmp_path) == ["seg.tif"]
    assert (tmp_path / "seg.tif").read_bytes() == b"earlier result"


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as temporary:
        raise KeyboardInterrupt
    temporary.write_text("left over")

    with replacing(tmp_path / "a.txt") as again:
        assert not again.exists()
        again.write_text("new")

    assert contents(tmp_path) == ["a.txt"]


def test_the_temporary_is_hidden_beside_its_target_with_the_same_suffix(
    tmp_path: Path,
) -> None:
    with replacing(tmp_path / "a.safetensors") as temporary:
        temporary.write_text("new")

    assert temporary.parent == tmp_path
    assert temporary.name.startswith(".")
    assert temporary.suffix == ".safetensors"


def write_file(path: Path) -> None:
    path.write_text("file")


def write_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("folder")


@pytest.mark.parametrize("former", [None, write_file, write_folder])
@pytest.mark.parametrize("new", [write_file, write_folder])
def test_files_and_folders_replace_one_another(
    former: Callable[[Path], None] | None,
    new: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    if former is not None:
        former(tmp_path / "result")
        if (tmp_path / "result").is_dir():
            (tmp_path / "result" / "stale").write_text("stale")

    with replacing(tmp_path / "result") as temporary:
        new(temporary)

    assert contents(tmp_path) == ["result"]
    if new is write_file:
        assert (tmp_path / "result").read_text() == "file"
    else:
        assert contents(tmp_path / "result") == ["inside"]


def test_a_folder_that_fails_leaves_the_former_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "run")

    def fail_half_way() -> None:
        with replacing(tmp_path / "run") as temporary:
            write_folder(temporary)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()

    assert contents(tmp_path) == ["run"]
    assert contents(tmp_path / "run") == ["inside"]


def test_a_folder_that_cannot_be_renamed_leaves_the_former_one(
    tmp_path: Path,
) -> None:
    write_folder(tmp_path / "run")

    with pytest.raises(FileNotFoundError), replacing(tmp_path / "run"):
        pass  # the block has created nothing

    assert contents(tmp_path) == ["run"]
    assert contents(tmp_path / "run") == ["inside"]


def test_a_file_of_the_users_beside_a_result_is_not_ours(tmp_path: Path) -> None:
    for name in (".a.part.txt", ".a.old.txt", "a.txt.partial"):
        (tmp_path / name).write_text("mine")

    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")

    assert contents(tmp_path) == [".a.old.txt", ".a.part.txt", "a.txt", "a.txt.partial"]


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_link_is_kept_and_what_it_points_to_replaced(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    write(tmp_path / "disk" / "result")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "result")

    for _ in range(2):
        with replacing(tmp_path / "link") as temporary:
            write(temporary)

    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path) == ["disk", "link"]
    assert contents(tmp_path / "disk") == ["result"]


def test_a_folder_killed_between_its_two_renames_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "run")
    rename = Path.replace

    def kill_after_first(self: Path, target: Path) -> Path:
        rename(self, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill_after_first)
        with (
            pytest.raises(KeyboardInterrupt),
            replacing(tmp_path / "run") as temporary,
        ):
            write_folder(temporary)
    assert not (tmp_path / "run").exists()

    with pytest.raises(ResultExistsError), replacing(tmp_path / "run", overwrite=False):
        pass

    assert contents(tmp_path) == ["run"]
    assert contents(tmp_path / "run") == ["inside"]


def test_a_result_that_came_first_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first")

    with (
        pytest.raises(ResultExistsError),
        replacing(tmp_path / "a.txt", overwrite=False),
    ):
        pass

    assert (tmp_path / "a.txt").read_text() == "first"


def test_a_place_that_is_being_written_is_refused(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("first")
        with pytest.raises(InUseError), replacing(tmp_path / "a.txt"):
            pass

    assert (tmp_path / "a.txt").read_text() == "first"


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="No space") as told,
        replacing(tmp_path / "a.txt"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert told.value.filename == str(tmp_path / "a.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_only_files_and_folders_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(VolumeError, match="pipe is not a regular file"):
        check_new(tmp_path / "pipe", overwrite=True)
    with (
        pytest.raises(VolumeError, match="not a regular"),
        replacing(tmp_path / "pipe"),
    ):
        pass


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="is not valid UTF-8"):
        check_new(tmp_path / "\udcff", overwrite=False)


def test_ctrl_c_waits_until_a_result_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def interrupt(self: Path, target: Path) -> Path:
        signal.raise_signal(signal.SIGINT)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", interrupt)
    # A shell that started us in the background made us ignore the signal.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "run") as temporary:
        write_folder(temporary)
    signal.signal(signal.SIGINT, former)

    assert contents(tmp_path / "run") == ["inside"]
    assert contents(tmp_path) == ["run"]


def test_an_ome_zarr_comes_back_with_all_that_it_carries(tmp_path: Path) -> None:
    array = create_ome_zarr(
        tmp_path / "seg.zarr",
        shape=(6, 5, 4),
        chunks=(2, 5, 4),
        voxel_size=(3.0, 0.5, 0.25),
        unit="nanometer",
        phases=ELECTRODE,
    )
    array[:4] = LABELS[:4]

    labels = open_labels(tmp_path / "seg.zarr")

    np.testing.assert_array_equal(labels.slab(0, 4), LABELS[:4])
    assert not labels.slab(4, 6).any()
    assert (labels.voxel_size, labels.unit) == ((3.0, 0.5, 0.25), "nanometer")
    assert labels.phases == ELECTRODE
    assert contents(tmp_path) == ["seg.zarr"]


def test_an_ome_zarr_follows_version_0_5(tmp_path: Path) -> None:
    create_ome_zarr(
        tmp_path / "a.zarr",
        shape=(3, 6, 5, 4),
        chunks=(3, 2, 5, 4),
        dtype=np.float16,
        voxel_size=(3.0, 0.5, 0.25),
        unit="micrometer",
        name="probabilities",
    )

    group = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    array = zarr.open_array(tmp_path / "a.zarr" / "0", mode="r")

    assert group["zarr_format"] == 3
    assert group["attributes"] == {
        "ome": {
            "version": "0.5",
            "multiscales": [
                {
                    "name": "probabilities",
                    "axes": [
                        {"name": "c", "type": "channel"},
                        {"name": "z", "type": "space", "unit": "micrometer"},
                        {"name": "y", "type": "space", "unit": "micrometer"},
                        {"name": "x", "type": "space", "unit": "micrometer"},
                    ],
                    "datasets": [
                        {
                            "path": "0",
                            "coordinateTransformations": [
                                {"type": "scale", "scale": [1.0, 3.0, 0.5, 0.25]}
                            ],
                        }
                    ],
                }
            ],
        }
    }
    assert array.metadata.to_dict()["dimension_names"] == ("c", "z", "y", "x")
    assert array.shape == (3, 6, 5, 4)
    assert array.dtype == np.dtype(np.float16)


def test_a_zarr_replaces_an_earlier_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    create_ome_zarr(path, shape=(6, 5, 4), chunks=(2, 5, 4))[:] = LABELS

    create_ome_zarr(path, shape=(3, 5, 4), chunks=(1, 5, 4))

    assert open_labels(path).shape == (3, 5, 4)
    assert not open_labels(path).slab(0, 3).any()


def test_neither_writer_replaces_a_folder_of_something_else(tmp_path: Path) -> None:
    write_folder(tmp_path / "home")

    with pytest.raises(VolumeError, match="exists and is not a Zarr"):
        create_ome_zarr(tmp_path / "home", shape=(6, 5, 4), chunks=(2, 5, 4))
    with pytest.raises(VolumeError, match="is a folder; expected the name of a TIFF"):
        write_labels_tiff(tmp_path / "home", [LABELS], shape=(6, 5, 4))

    assert contents(tmp_path / "home") == ["inside"]


def test_an_existing_result_is_refused_unless_it_may_be_overwritten(
    tmp_path: Path,
) -> None:
    (tmp_path / "seg.tif").write_bytes(b"earlier result")

    check_new(tmp_path / "seg.tif", overwrite=True)
    check_new(tmp_path / "other.tif", overwrite=False)
    with pytest.raises(ResultExistsError, match=r"seg\.tif exists already; choose"):
        check_new(tmp_path / "seg.tif", overwrite=False)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"there is no folder .*missing"):
        check_new(tmp_path / "missing" / "seg.tif", overwrite=False)


def test_a_read_only_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere, so the system's answer is stood in for.
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(VolumeError, match="is read-only for you"):
        check_new(tmp_path / "seg.tif", overwrite=False)


def test_folder_that_is_still_written_to_is_removed_without_hiding_the_error(
    tmp_path: Path,
) -> None:
    stop = Event()

    def write_on(folder: Path) -> None:
        for i in count():
            if stop.is_set() or i > 100:
                return
            with suppress(FileNotFoundError):
                (folder / str(i)).touch()

    def fail(writer: ThreadPoolExecutor) -> None:
        with replacing(tmp_path / "result.zarr") as temporary:
            temporary.mkdir()
            writer.submit(write_on, temporary)
            raise RuntimeError("the disk is gone")

    with ThreadPoolExecutor(1) as writer:
        with pytest.raises(RuntimeError, match="the disk is gone"):
            fail(writer)
        stop.set()

    assert not list(tmp_path.iterdir())


def test_labels_in_memory_have_one_slice_a_chunk_and_hold_what_is_written() -> None:
    labels = create_in_memory((4, 5, 6), across=1)

    labels[:, 3] = 2

    assert labels.chunks == (4, 1, 6)
    assert np.asarray(labels[:]).sum() == 2 * 4 * 6
    assert create_in_memory((5, 6), across=-1).chunks == (5, 6)
