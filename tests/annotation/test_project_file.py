import json
from dataclasses import replace
from pathlib import Path

import pytest

from napari_lrcs.annotation.painting.folder import (
    ImageIdentity,
    PaintingFolder,
    PaintingState,
)
from napari_lrcs.annotation.project_file import ProjectFile, ProjectState
from napari_lrcs.errors import VolumeError
from napari_lrcs.phases import ELECTRODE

SHAPE = (3, 4, 5)


def identity(path: Path | None) -> ImageIdentity:
    text = None if path is None else str(path)
    return ImageIdentity(name="scan", path=text, shape=SHAPE)


@pytest.fixture
def project(tmp_path: Path) -> ProjectFile:
    """Make the workspace of an image."""
    (tmp_path / "scan.tif").touch()
    (tmp_path / "scan.lrcs").mkdir()
    return ProjectFile(tmp_path / "scan.lrcs")


@pytest.fixture
def state(project: ProjectFile) -> ProjectState:
    """Describe work of which all is there."""
    for name in ("painting-1", "run-2", "segmentation-1.zarr"):
        (project.folder / name).mkdir()
    return ProjectState(
        image=identity(project.folder.with_name("scan.tif")),
        dataset="/raw",
        reader="napari",
        painting=str(project.folder / "painting-1"),
        network=str(project.folder / "run-2"),
        result=str(project.folder / "segmentation-1.zarr"),
        page="Predict",
        docks=("Segment volume", "Measure phases"),
    )


def begin_painting(project: ProjectFile, image: Path | None) -> None:
    PaintingFolder.create(
        project.folder / "painting-7",
        PaintingState(
            axis="z", phases=ELECTRODE, roles={}, mask=None, image=identity(image)
        ),
    )


def test_what_is_saved_is_read_again(project: ProjectFile, state: ProjectState) -> None:
    assert project.read() is None

    project.write(state)

    assert project.read() == state


def test_folder_and_image_can_be_moved_together(
    project: ProjectFile, state: ProjectState, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "net.safetensors"
    outside = tmp_path.parent / "other.tif"
    project.write(replace(state, network=str(elsewhere), result=str(outside)))
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("scan.tif", "scan.lrcs"):
        (tmp_path / name).rename(moved / name)

    found = ProjectFile(moved / "scan.lrcs").read()

    assert found is not None
    assert found.image.path == str(moved / "scan.tif")
    assert found.painting == str(moved / "scan.lrcs" / "painting-1")
    assert found.network == str(moved / "net.safetensors")  # it was beside the folder
    assert found.result == str(outside)


def test_what_is_closed_stays_while_it_is_there(
    project: ProjectFile, state: ProjectState
) -> None:
    project.write(state)
    (project.folder / "run-2").rmdir()

    project.write(ProjectState(image=state.image, page="Label"))

    assert project.read() == ProjectState(
        image=state.image, painting=state.painting, result=state.result, page="Label"
    )


def test_network_that_is_renamed_is_followed(
    project: ProjectFile, state: ProjectState
) -> None:
    project.write(state)
    former, place = project.folder / "run-2", project.folder / "best"
    former.rename(place)

    project.follow_network(project.folder / "run-1", None)  # of which nothing is known
    project.follow_network(former, place)
    followed = project.read()
    place.rmdir()
    project.follow_network(place, None)

    assert followed == replace(state, network=str(place))
    assert project.read() == replace(state, network=None)


def test_work_on_another_image_of_the_name_is_replaced(
    project: ProjectFile, state: ProjectState
) -> None:
    project.write(state)
    other = ProjectState(image=replace(state.image, shape=(9, 9, 9)))

    project.write(other)

    assert project.read() == other


def test_newer_format_is_refused_and_kept(
    project: ProjectFile, state: ProjectState
) -> None:
    file = project.folder / "project.json"
    file.write_text('{"format_version": 2, "windows": []}')

    with pytest.raises(VolumeError, match="has format 2, but this version reads 1: up"):
        project.read()
    with pytest.raises(VolumeError, match="update napari-lrcs"):
        project.write(state)
    assert json.loads(file.read_text()) == {"format_version": 2, "windows": []}


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"format_version": 1, "image": {"name": "scan"}}']
)
def test_damaged_file_is_told_and_set_aside(
    project: ProjectFile, state: ProjectState, text: str
) -> None:
    file = project.folder / "project.json"
    file.write_text(text)

    with pytest.raises(VolumeError, match=r"project.json in .*scan.lrcs is damaged"):
        project.read()
    project.write(state)

    assert project.read() == state
    assert (project.folder / "project-damaged.json").read_text() == text


def test_unknown_keys_of_a_later_program_are_ignored(
    project: ProjectFile, state: ProjectState
) -> None:
    project.write(state)
    file = project.folder / "project.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"mood": "good"}))

    assert project.read() == state


def test_image_is_found_by_the_file_then_by_paintings_then_by_name(
    project: ProjectFile, state: ProjectState
) -> None:
    beside = project.folder.with_name
    by_name = project.find_image()
    beside("scan.npy").touch()
    begin_painting(project, beside("scan.tif"))
    by_painting = project.find_image()
    project.write(replace(state, image=identity(beside("scan.npy"))))
    by_file = project.find_image()

    assert by_name == beside("scan.tif")
    assert by_painting == beside("scan.tif")
    assert by_file == beside("scan.npy")


def test_image_that_is_gone_is_told_with_where_it_was_searched(
    project: ProjectFile, state: ProjectState, tmp_path: Path
) -> None:
    (tmp_path / "scan.tif").unlink()
    (tmp_path / "scan.txt").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "scan.tif").touch()  # its work is in a folder beside it
    project.write(replace(state, image=identity(elsewhere / "scan.tif")))

    with pytest.raises(VolumeError) as error:
        project.find_image()

    assert str(error.value) == (
        f"the image of scan.lrcs was not found; searched for {elsewhere / 'scan.tif'}, "
        f"{tmp_path / 'scan.tif'}, a volume named scan in {tmp_path}. Move it there, "
        "or open it from where it is"
    )
