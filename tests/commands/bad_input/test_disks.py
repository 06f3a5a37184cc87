import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
import zarr

from command_line import call
from mistakes import contents, only_error, predict, train
from napari_lrcs.commands.parts.terminal import BAD_INPUT

pytestmark = pytest.mark.usefixtures("one_thread")


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def leave_no_room_for_tiff(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tifffile.TiffWriter, "write", no_space)


def leave_no_room_for_zarr(patch: pytest.MonkeyPatch) -> None:
    """Metadata, and the chunks of two slabs, still find room."""
    local_set = zarr.storage.LocalStore.set
    n_chunks = 0

    async def store(self: zarr.storage.LocalStore, key: str, value: Any) -> None:
        nonlocal n_chunks
        n_chunks += "/c/" in key or key.startswith("c/")
        if n_chunks > 2:
            no_space()
        await local_set(self, key, value)

    patch.setattr(zarr.storage.LocalStore, "set", store)


@pytest.mark.parametrize(
    ("fill", "out"),
    [
        (leave_no_room_for_tiff, "new.tif"),
        (leave_no_room_for_tiff, "done.tif"),
        (leave_no_room_for_zarr, "new.zarr"),
        (leave_no_room_for_zarr, "done.zarr"),
    ],
)
def test_prediction_on_a_full_disk_is_continued_when_there_is_room(
    fill: Callable[[pytest.MonkeyPatch], None],
    out: str,
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_lrcs.inference.geometry._SLAB_SLICES", 1)
    before = contents(copy)
    command = predict(out=out, flags="--overwrite")

    with monkeypatch.context() as patch:
        fill(patch)
        code = call(command)

    error = only_error(capsys.readouterr().err)
    assert code == BAD_INPUT
    assert os.strerror(errno.ENOSPC) in error
    assert f"kept in {out}.partial: run the same command again" in error
    partial = f"{out}.partial"
    after = contents(copy)
    assert {n: b for n, b in after.items() if not n.startswith(partial)} == before

    assert call(command) == 0

    assert "were finished before" in capsys.readouterr().err
    assert not (copy / partial).exists()


@pytest.mark.parametrize("flag", ["", "--overwrite"])
def test_prediction_without_room_for_its_second_file_is_continued(
    flag: str,
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = set(contents(copy))
    command = predict(out="new.zarr", flags=f"--confidence c.tif {flag}")

    with monkeypatch.context() as patch:
        leave_no_room_for_tiff(patch)
        assert call(command) == BAD_INPUT
    assert "run the same command again to continue" in capsys.readouterr().err
    assert not Path("new.zarr").exists()

    assert call(command) == 0

    assert "; 6 were finished before" in capsys.readouterr().err
    left = set(contents(copy)) - before
    assert {name.split("/")[0] for name in left} == {"new.zarr", "c.tif"}


def test_prediction_without_room_for_a_slab_leaves_nothing(
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = contents(copy)
    monkeypatch.setattr(zarr.storage.LocalStore, "set", no_space)

    code = call(predict(out="new.zarr"))

    assert code == BAD_INPUT
    assert only_error(capsys.readouterr().err).endswith(os.strerror(errno.ENOSPC))
    assert contents(copy) == before


def test_training_on_a_full_disk_is_resumed_when_there_is_room(
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = contents(copy)
    write_bytes = Path.write_bytes

    def write(self: Path, data: bytes) -> int:
        if "best" in self.name:
            no_space()
        return write_bytes(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        code = call(train(flags="--json"))

    printed = capsys.readouterr()
    error = only_error(printed.err)
    assert (code, printed.out) == (BAD_INPUT, "")
    assert os.strerror(errno.ENOSPC) in error
    assert "the run in new is kept: continue with --resume" in error
    after = contents(copy)
    assert {n: b for n, b in after.items() if not n.startswith("new")} == before

    assert call(train(flags="--resume")) == 0


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system in memory with some options, or skip."""
    place = tmp_path / "mounted"
    place.mkdir()

    def mount(options: str) -> Path:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if not shutil.which("mount") or subprocess.run(words, check=False).returncode:
            pytest.skip("mounting a file system is not permitted here")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "size"),
    [
        (predict(out="{}/new.tif"), "16k"),
        (predict(out="{}/new.zarr", flags="--probabilities {}/p.zarr"), "32k"),
        (train(out="{}/new"), "64k"),
    ],
)
def test_a_disk_that_is_really_full_is_one_line(
    command: str,
    size: str,
    place: Path,
    before: dict[str, bytes | None],
    mounted: Callable[[str], Path],
) -> None:
    disk = mounted(f"size={size}")
    words = command.replace("{}", str(disk)).split()

    # In a process of its own: threads may fail as late as at its end.
    run = subprocess.run(
        [sys.executable, "-m", "napari_lrcs", *words],
        capture_output=True,
        check=False,
        text=True,
    )

    assert (run.returncode, run.stdout) == (BAD_INPUT, "")
    assert os.strerror(errno.ENOSPC) in only_error(run.stderr)
    assert not (disk / "new.tif").exists()
    assert not (disk / "new.zarr").exists()
    assert contents(place) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [predict(out="{}/new.tif"), train(out="{}/new"), "demo --out {}/new"],
)
def test_a_read_only_place_is_one_line(
    command: str,
    place: Path,
    before: dict[str, bytes | None],
    mounted: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = mounted("ro")

    code = call(command.replace("{}", str(disk)))

    printed = capsys.readouterr()
    assert (code, printed.out) == (BAD_INPUT, "")
    assert "read-only for you" in printed.err
    assert printed.err == only_error(printed.err) + "\n"
    assert contents(place) == before
    assert not contents(disk)
