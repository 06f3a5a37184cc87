import os
import re
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_lrcs.annotation.painting.folder import (
    ImageIdentity,
    PaintingFolder,
    PaintingState,
)
from napari_lrcs.annotation.project_file import ProjectFile, ProjectState
from napari_lrcs.annotation.workspace import Workspace, rename_folder, workspace_of
from napari_lrcs.errors import InUseError, ResultExistsError, VolumeError
from napari_lrcs.io.locks import only_writer
from napari_lrcs.phases import ELECTRODE


def begin_painting(path: Path, *, image: Path | None = None) -> PaintingFolder:
    place = None if image is None else str(image)
    identity = ImageIdentity(name="scan", path=place, shape=(3, 4, 5))
    return PaintingFolder.create(
        path,
        PaintingState(axis="z", phases=ELECTRODE, roles={}, mask=None, image=identity),
    )


def test_asking_makes_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "scan.lrcs")

    assert workspace.paintings() == []
    assert workspace.new_painting() == tmp_path / "scan.lrcs" / "painting-1"
    assert workspace.new_run() == tmp_path / "scan.lrcs" / "run-1"
    assert workspace.new_result(".tif").name == "segmentation-1.tif"
    assert list(tmp_path.iterdir()) == []


def test_workspace_is_made_once_and_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "new" / "scan.lrcs")

    workspace.make()
    workspace.make()

    assert workspace.path.is_dir()


def test_painting_saved_last_comes_first(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = begin_painting(workspace.new_painting())
    second = begin_painting(workspace.new_painting())
    before = workspace.paintings()
    first.labels.array[0] = 1
    (workspace.new_painting() / "labels.zarr").mkdir(parents=True)  # killed at once

    assert before == [second, first]
    assert workspace.paintings() == [first, second]
    assert workspace.new_painting().name == "painting-4"


def test_damaged_painting_hides_no_other(tmp_path: Path) -> None:
    whole, damaged = (begin_painting(tmp_path / f"painting-{i}") for i in (1, 2))
    for file in (damaged.path / "painting.json", damaged.labels.path / "zarr.json"):
        file.write_text("{")

    assert Workspace(tmp_path).paintings() == [damaged, whole]


@pytest.mark.parametrize("kind", ["run", "study"])
def test_next_run_or_study_has_a_number_of_its_own(kind: str, tmp_path: Path) -> None:
    for name in (f"{kind}-9", f"{kind}-10", f"{kind}-of-mine", f"{kind}-11"):
        (tmp_path / name).mkdir()
    workspace = Workspace(tmp_path)

    new = {"run": workspace.new_run, "study": workspace.new_study}[kind]()

    assert new == tmp_path / f"{kind}-12"


@pytest.mark.parametrize(
    ("there", "free"),
    [
        ("segmentation-1.zarr", "segmentation-2.tif"),
        ("segmentation-9-confidence.tif", "segmentation-10.tif"),
        (".segmentation-3.part.tif", "segmentation-4.tif"),
        ("segmentation-12", "segmentation-13.tif"),
        ("segmentation-.tif", "segmentation-1.tif"),
        ("my-segmentation-7.tif", "segmentation-1.tif"),
        ("painting-7", "segmentation-1.tif"),
    ],
)
def test_number_of_anything_that_is_there_is_not_taken(
    there: str, free: str, tmp_path: Path
) -> None:
    (tmp_path / there).touch()

    assert Workspace(tmp_path).new_result(".tif").name == free


# ---- where it lies ----


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("volume.tif", "volume.lrcs"),
        ("volume.1.tif", "volume.1.lrcs"),
        ("volume.ome.tif", "volume.lrcs"),
        ("volume.OME.TIFF", "volume.lrcs"),
        ("scan.h5", "scan.lrcs"),
        ("volume", "volume.lrcs"),
        (".tif", ".tif.lrcs"),
    ],
)
def test_workspace_of_a_file_lies_beside_it(
    source: str, folder: str, tmp_path: Path
) -> None:
    (tmp_path / source).touch()

    workspace = workspace_of(tmp_path / source, name="", fallback=tmp_path / "other")

    assert workspace.path == tmp_path / folder


def test_workspace_of_slices_lies_beside_their_folder(tmp_path: Path) -> None:
    (tmp_path / "slices.v2").mkdir()

    workspace = workspace_of(
        tmp_path / "slices.v2", name="", fallback=tmp_path / "other"
    )

    assert workspace.path == tmp_path / "slices.v2.lrcs"


@pytest.mark.parametrize("inside", [".", "0"])
def test_workspace_of_a_zarr_lies_beside_it(inside: str, tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "vol.ome.zarr")
    group.create_array("0", shape=(1, 2, 3), dtype=np.uint8)

    workspace = workspace_of(
        tmp_path / "vol.ome.zarr" / inside, name="", fallback=tmp_path / "other"
    )

    assert workspace.path == tmp_path / "vol.lrcs"


def test_relative_path_does_not_depend_on_where_one_goes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    workspace = workspace_of(Path("volume.tif"), name="", fallback=Path("other"))

    assert workspace.path == tmp_path / "volume.lrcs"


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Return folders that may only be read; whoever runs the tests may write to all."""
    folders: set[Path] = set()

    def access(path: Path, mode: int) -> bool:
        return not (mode & os.W_OK and path in folders)

    monkeypatch.setattr("os.access", access)
    return folders


def image_in(folder: Path, read_only: set[Path]) -> Path:
    """Make a read-only folder with an image."""
    folder.mkdir()
    (folder / "recon.tif").touch()
    read_only.add(folder)
    return folder / "recon.tif"


def test_workspaces_of_read_only_data_lie_elsewhere_each_in_its_own_folder(
    tmp_path: Path, read_only: set[Path]
) -> None:
    images = [image_in(tmp_path / f"sample{i}", read_only) for i in (1, 2)]

    first, second = (
        workspace_of(image, name="", fallback=tmp_path / "other").path
        for image in images
    )

    assert first != second
    assert first.parent == second.parent == tmp_path / "other"
    assert re.fullmatch(r"recon-[0-9a-f]{8}\.lrcs", first.name)
    assert workspace_of(images[0], name="", fallback=tmp_path / "other").path == first


def test_workspace_of_data_that_is_gone_lies_elsewhere(tmp_path: Path) -> None:
    workspace = workspace_of(
        tmp_path / "gone" / "volume.tif", name="", fallback=tmp_path / "other"
    )

    assert workspace.path.parent == tmp_path / "other"


@pytest.mark.parametrize("is_inside", [False, True], ids=["beside", "in a folder"])
def test_earlier_versions_folder_elsewhere_is_that_of_the_image_painted_in_it(
    is_inside: bool, tmp_path: Path, read_only: set[Path]
) -> None:
    own, other = (image_in(tmp_path / f"sample{i}", read_only) for i in (1, 2))
    fallback = tmp_path / "other" if is_inside else tmp_path
    former = fallback / "recon.lrcs"
    begin_painting(former / "painting-1", image=own)
    identity = ImageIdentity(name="recon", path=str(other), shape=(3, 4, 5))
    ProjectFile(former).write(ProjectState(image=identity))  # the one opened last

    assert workspace_of(own, name="", fallback=fallback).path == former
    assert workspace_of(other, name="", fallback=fallback).path != former


def test_earlier_versions_folder_without_painting_is_that_of_its_project(
    tmp_path: Path, read_only: set[Path]
) -> None:
    own, other = (image_in(tmp_path / f"sample{i}", read_only) for i in (1, 2))
    former = tmp_path / "recon.lrcs"
    former.mkdir()
    identity = ImageIdentity(name="recon", path=str(own), shape=(3, 4, 5))
    ProjectFile(former).write(ProjectState(image=identity))

    assert workspace_of(own, name="", fallback=tmp_path).path == former
    assert workspace_of(other, name="", fallback=tmp_path).path != former
    (former / "project.json").write_text("{")
    assert workspace_of(own, name="", fallback=tmp_path).path != former


def test_work_beside_data_that_became_read_only_is_shown_and_not_begun_again(
    tmp_path: Path, read_only: set[Path]
) -> None:
    image = image_in(tmp_path / "sample", read_only)
    beside = tmp_path / "sample" / "recon.lrcs"
    begin_painting(beside / "painting-1").lock().release()
    read_only |= {beside, beside / "painting-1"}

    workspace = workspace_of(image, name="", fallback=tmp_path / "other")

    assert workspace.path == beside
    with pytest.raises(VolumeError, match=r"recon\.lrcs is read-only for you"):
        begin_painting(workspace.new_painting())
    with pytest.raises(VolumeError, match="painting-1 is read-only for you"):
        workspace.paintings()[0].lock()


def test_own_work_elsewhere_goes_on_beside_work_of_somebody_else(
    tmp_path: Path, read_only: set[Path]
) -> None:
    image = image_in(tmp_path / "sample", read_only)
    elsewhere = workspace_of(image, name="", fallback=tmp_path / "other")
    elsewhere.make()
    beside = tmp_path / "sample" / "recon.lrcs"
    beside.mkdir()
    read_only.add(beside)

    assert workspace_of(image, name="", fallback=tmp_path / "other") == elsewhere


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("NMC électrode 3", "NMC électrode 3.lrcs"),
        ("a/b\\c:d", "a_b_c_d.lrcs"),
        ("../../etc", "_.._etc.lrcs"),
        ("", "volume.lrcs"),
        ("..", "volume.lrcs"),
        (" . ", "volume.lrcs"),
        ("体" * 300, "体" * 60 + ".lrcs"),
    ],
    ids=["kept", "separators", "parents", "empty", "dots", "blank", "long"],
)
def test_name_without_a_file_becomes_a_safe_one(
    name: str, folder: str, tmp_path: Path
) -> None:
    workspace = workspace_of(None, name=name, fallback=tmp_path)

    assert workspace.path == tmp_path / folder
    workspace.make()


# ---- renaming ----


def test_renamed_painting_is_found_with_all_it_holds(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    painting = begin_painting(workspace.new_painting())
    painting.labels.array[0] = 1
    state = painting.read()

    place = rename_folder(painting.path, "first day")

    assert place == tmp_path / "first day"
    assert workspace.paintings() == [PaintingFolder(place)]
    assert PaintingFolder(place).read() == state
    assert PaintingFolder(place).labels.painted_slices().keys() == {0}


@pytest.mark.parametrize(
    "name", ["", " a", "a.", ".a", "a/b", "a\\b", "..", "a" * 61, "a:"]
)
def test_name_that_no_folder_can_have_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "run-1").mkdir()

    with pytest.raises(ValueError, match="is not a valid name; use at most 60 letters"):
        rename_folder(tmp_path / "run-1", name)

    assert [path.name for path in tmp_path.iterdir()] == ["run-1"]


def test_name_that_something_has_is_refused(tmp_path: Path) -> None:
    for name in ("run-1", "run-2"):
        (tmp_path / name).mkdir()

    with pytest.raises(ResultExistsError, match="run-2 exists already"):
        rename_folder(tmp_path / "run-1", "run-2")


def test_folder_in_use_keeps_its_name(tmp_path: Path) -> None:
    run = tmp_path / "run-1"
    run.mkdir()
    painting = begin_painting(tmp_path / "painting-1")
    lock = painting.lock()

    with only_writer(run), pytest.raises(InUseError, match="run-1 is being written to"):
        rename_folder(run, "best")
    with pytest.raises(InUseError, match="painting-1 is open in another window"):
        rename_folder(painting.path, "best")
    lock.release()

    assert rename_folder(run, "best").is_dir()
    assert rename_folder(painting.path, "mine").is_dir()
