import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from clusters import in_threads
from command_line import Run, call
from napari_lrcs.errors import InUseError
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.partial import PartialFolder
from napari_lrcs.inference.series import places_of_series, unfinished
from napari_lrcs.io.writing import move_aside

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_glob_of_images_goes_into_a_folder(place: Path, run: Run) -> None:
    Path("scans").mkdir()
    for i in (9, 10):
        shutil.copy("image.tif", f"scans/hour-{i}.tif")

    run("predict scans/*.tif run --out segs --device cpu --z 0")

    assert sorted(file.name for file in (place / "segs").iterdir()) == [
        *("hour-10.tif", "hour-9.tif")
    ]
    assert np.all(tifffile.imread("segs/hour-9.tif")[0] > 0)


def test_a_cluster_predicts_a_series_as_this_process_does(
    place: Path, run: Run
) -> None:
    for i in range(2):
        tifffile.imwrite(f"t{i}.tif", tifffile.imread("image.tif")[::-1] + i)
    command = "predict t*.tif run --device cpu --z 0:3 --json --out"
    run(f"{command} here")

    with in_threads() as cluster:
        printed = run(f"{command} there --cluster {cluster.scheduler_address}")

    results = json.loads(printed)["results"]
    assert [result["out"] for result in results] == ["there/t0.tif", "there/t1.tif"]
    for name in ("t0.tif", "t1.tif"):
        here, there = (tifffile.imread(place / f / name) for f in ("here", "there"))
        np.testing.assert_array_equal(there, here)
        assert there[:3].all()
        assert not there[3:].any()
    assert len(list((place / "there").iterdir())) == 2


def test_a_series_goes_into_the_folder_one_is_in(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("info")
    Path("segs").mkdir()
    for i in range(2):
        shutil.copy("image.tif", f"t{i}.tif")
    monkeypatch.chdir("segs")

    code = call("predict ../t?.tif ../run --out . --device cpu --z 0")

    assert code == 0
    assert {file.name for file in (place / "segs").iterdir()} == {"t0.tif", "t1.tif"}


def test_a_series_needs_no_more_than_its_folder_to_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "segs"
    folder.mkdir()
    results = {"t0.tif": DiskResult(labels=folder / "t0.tif")}
    open_file = os.open

    def refuse(path: str | Path, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_CREAT and Path(path).parent == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_file(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)

    with unfinished(folder, results, identity={}) as left:
        assert left == results

    assert list(tmp_path.rglob("*")) == [folder]


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "there"])
def test_a_second_series_into_a_folder_is_refused(
    is_there: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "segs"
    if is_there:
        folder.mkdir()
    results = {"t0.tif": DiskResult(labels=folder / "t0.tif")}
    refusal = f"segs is being written by process {os.getpid()}; wait"

    with unfinished(folder, results, identity={}) as left:
        assert left == results
        with (
            pytest.raises(InUseError, match=refusal),
            unfinished(folder, results, identity={}),
        ):
            pass

    assert folder.exists() == is_there
    assert list(tmp_path.rglob("*")) == [folder] * is_there


def test_results_of_folders_keep_what_follows_a_dot() -> None:
    images = ["cell_1.2V", "cell_1.4V/", "t0.5.TIF", "t1.zarr", "t2.h5:/data"]

    places = places_of_series(images, Path("segs"))

    assert [place.name for place in places.values()] == [
        *("cell_1.2V.tif", "cell_1.4V.tif", "t0.5.tif", "t1.tif", "t2.tif")
    ]


@pytest.fixture
def failed_series(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Predict three images, of which the second finds the disk full."""
    Path("scans").mkdir()
    for i in range(3):
        shutil.copy("image.tif", f"scans/t{i}.tif")
    command = "predict scans/*.tif run --out segs --device cpu --z 0"
    run("info")
    write = tifffile.TiffWriter.write
    writes = iter(range(9))

    def fill(*arguments: Any, **options: Any) -> Any:
        if next(writes) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tifffile.TiffWriter, "write", fill)
        assert call(command) == 2
    assert "run the same command again to continue" in capsys.readouterr().err
    assert Path("segs/t0.tif").is_file()
    return command


@pytest.mark.parametrize("is_renamed", [False, True])
def test_a_series_killed_at_the_very_end_of_a_result_leaves_nothing(
    is_renamed: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("scans").mkdir()
    for i in range(2):
        shutil.copy("image.tif", f"scans/t{i}.tif")
    command = "predict scans/*.tif run --out segs --device cpu --z 0"
    run("info")

    def killed(folder: PartialFolder) -> None:
        if not folder.path.exists():
            return  # before it begins
        if is_renamed:
            move_aside(folder.path)
        raise OSError(errno.EIO, "as if it were killed")

    with monkeypatch.context() as patch:
        patch.setattr(PartialFolder, "discard", killed)
        assert call(command) == 2
    assert Path("segs/t0.tif").is_file()
    Path("segs/.t0.tif.lrcs-lock").touch()  # what was killed leaves one

    assert call(command) == 0

    assert {p.name for p in Path("segs").iterdir()} == {"t0.tif", "t1.tif"}


@pytest.mark.parametrize("flag", ["", " --overwrite"])
def test_a_series_goes_on_with_what_is_not_finished(
    flag: str, failed_series: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = Path("segs/t0.tif").stat().st_mtime_ns

    code = call(failed_series + flag)

    error = capsys.readouterr().err
    assert code == 0, error
    assert f"{Path('segs/t0.tif')} is finished already" in error
    assert "1 were finished before" in error
    assert Path("segs/t0.tif").stat().st_mtime_ns == finished
    assert {p.name for p in Path("segs").iterdir()} == {"t0.tif", "t1.tif", "t2.tif"}


@pytest.mark.parametrize(
    "change",
    [" --min-size 3", " --mask cylinder", " --z 1", " --average-turns"],
)
def test_another_series_is_refused(
    change: str, failed_series: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(failed_series + change) == 2

    assert "t0.tif exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["[]", '{"identity": "a", "former": 5}', "[" * 100_000],
    ids=["list", "number", "deep"],
)
def test_a_series_with_a_damaged_note_is_refused(
    text: str, failed_series: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("segs/.series.json").write_text(text, encoding="utf-8")

    assert call(failed_series) == 2

    assert ".series.json is damaged: " in capsys.readouterr().err


def test_a_series_with_an_image_that_changed_is_refused(
    failed_series: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime("scans/t0.tif", ns=(0, 0))

    assert call(failed_series) == 2

    assert "t0.tif exists already" in capsys.readouterr().err


def test_an_interrupted_overwriting_replaces_all(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("scans").mkdir()
    for i in range(2):
        shutil.copy("image.tif", f"scans/t{i}.tif")
    command = "predict scans/*.tif run --out segs --device cpu"
    run(f"{command} --z 0")
    with monkeypatch.context() as patch:

        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("napari_lrcs.commands.parts.progress.follow", interrupt)
        assert call(f"{command} --z 1 --overwrite") == 130

    run(f"{command} --z 1 --overwrite")

    for i in range(2):
        assert np.all(tifffile.imread(f"segs/t{i}.tif")[1] > 0)
    assert "finished already" not in capsys.readouterr().err
