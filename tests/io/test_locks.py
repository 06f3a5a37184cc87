import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from napari_lrcs.errors import InUseError
from napari_lrcs.io.locks import (
    FileLock,
    one_at_a_time,
    only_writer,
    remove_left_locks,
)

HOLD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from napari_lrcs.io.locks import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def lock(folder: Path) -> FileLock:
    return FileLock(folder / "lock", refusal="held by {process}")


def test_a_file_is_locked_once(tmp_path: Path) -> None:
    first = lock(tmp_path)

    with pytest.raises(InUseError, match=f"held by {os.getpid()}"):
        lock(tmp_path)
    first.release()
    first.release()

    lock(tmp_path)


def test_others_wait_for_one_at_a_time(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count(_: int) -> None:
        with one_at_a_time(tmp_path / "lock"):
            counter.write_text(str(int(counter.read_text()) + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(40)))

    assert counter.read_text() == "40"
    assert not (tmp_path / "lock").exists()


def test_a_lock_ends_with_what_holds_it(tmp_path: Path) -> None:
    lock(tmp_path)

    held = lock(tmp_path)  # raises if the first one still holds it

    with pytest.raises(InUseError):
        lock(tmp_path)
    held.release()


def test_one_process_at_a_time_writes_to_a_place(tmp_path: Path) -> None:
    place = tmp_path / "seg.tif"
    command = [sys.executable, "-c", HOLD, str(place)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        says = f"seg.tif is being written by process {process.pid}; wait"
        with pytest.raises(InUseError, match=says), only_writer(place):
            pass
        process.send_signal(signal.SIGKILL)

    with only_writer(place):  # what the killed one has left locks nothing
        pass

    assert not list(tmp_path.iterdir())


def test_of_several_places_none_stays_locked_if_one_is_refused(tmp_path: Path) -> None:
    a, b = tmp_path / "a.tif", tmp_path / "b.tif"

    with only_writer(b), pytest.raises(InUseError, match=r"b\.tif"), only_writer(a, b):
        pass

    with only_writer(a, b):
        pass


def test_a_link_is_locked_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "link.tif").symlink_to(tmp_path / "seg.tif")

    with (
        only_writer(tmp_path / "link.tif"),
        pytest.raises(InUseError, match=r"seg\.tif"),
        only_writer(tmp_path / "seg.tif"),
    ):
        pass


def test_a_lock_on_a_file_that_its_last_holder_removes_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between opening and locking, the file is removed and made again by others.
    opened = os.open

    def open_too_early(path: Path, flags: int) -> int:
        monkeypatch.undo()
        file = opened(path, flags)
        path.unlink()
        return file

    monkeypatch.setattr(os, "open", open_too_early)
    held = lock(tmp_path)

    with pytest.raises(InUseError):
        lock(tmp_path)
    held.remove()


def test_locks_that_are_held_are_not_removed_as_left_ones(tmp_path: Path) -> None:
    (tmp_path / ".config.json.lrcs-lock").write_text("1")  # nobody holds it
    place = tmp_path / "seg.tif"

    with only_writer(place):
        remove_left_locks(tmp_path)
        assert [lock.name for lock in tmp_path.iterdir()] == [".seg.tif.lrcs-lock"]
        with pytest.raises(InUseError), only_writer(place):
            pass
