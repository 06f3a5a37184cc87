from pathlib import Path

import numpy as np
import pytest

from napari_lrcs.annotation.annotation import read_annotation
from napari_lrcs.annotation.project import open_annotated, read_project
from napari_lrcs.config import TrainConfig
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.phases import ELECTRODE

SHAPE = (40, 24, 32)
PLAIN = TrainConfig().with_changes(context_slices=0)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write two volumes and their labels, stripes of three phases."""
    grey = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    stripes = np.arange(SHAPE[-1]) // 2 % 3 + 1
    labels = np.broadcast_to(stripes, SHAPE).astype(np.uint8)
    for name in ("first", "second"):
        np.save(tmp_path / f"{name}.npy", grey)
        write_labels_tiff(
            tmp_path / f"{name}-labels.tif", [labels], shape=SHAPE, phases=ELECTRODE
        )
    return tmp_path


def test_annotated_files_are_opened(files: Path) -> None:
    volume = open_annotated(
        files / "first.npy",
        files / "first-labels.tif",
        slices={"train": "10,12", "validation": "30:32"},
        mask="cylinder",
    )

    assert volume.roles == {"train": (10, 12), "validation": (30, 31)}
    assert volume.mask is not None
    assert read_annotation([volume], config=PLAIN).phases == ELECTRODE


def project(folder: Path, text: str) -> Path:
    path = folder / "project.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_project_names_volumes_relative_to_itself(files: Path) -> None:
    np.save(files / "mask.npy", np.ones(SHAPE, np.uint8))
    text = """
        [[volume]]
        image = "first.npy"
        labels = "first-labels.tif"
        train = "10,12"
        mask = "cylinder"

        [[volume]]
        image = "second.npy"
        labels = "second-labels.tif"
        validation = "30"
        test = "2:4"
        mask = "mask.npy"
    """

    first, second = read_project(project(files, text))

    assert (first.image.name, second.labels.name) == ("first.npy", "second-labels.tif")
    assert first.roles == {"train": (10, 12)}
    assert second.roles == {"validation": (30,), "test": (2, 3)}
    assert first.mask is not None
    assert second.mask is not None
    annotation = read_annotation([first, second], config=PLAIN)
    assert [s.volume for s in annotation.slices] == ["first.npy"] * 2 + [
        "second.npy"
    ] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 100_000, "is not a valid TOML file: it is nested too deeply"),
        ("[[volume", r"project\.toml is not a valid TOML file"),
        ("", r"project\.toml names no volume; expected \[\[volume\]\] tables"),
        ("volume = 3", "names no volume"),
        ("volume = [1]", r"names no volume; expected \[\[volume\]\] tables"),
        ("volume = ['image']", "names no volume"),
        ("[[volume]]\nimage = 'a'", r"unknown: none, missing: \['labels'\]"),
        (
            "[[volume]]\nimage = 'a'\nlabels = 'b'\ntrian = '10'",
            r"unknown: \['trian'\], missing: none",
        ),
        (
            "[[volume]]\nimage = 'first.npy'\nlabels = 'first-labels.tif'\ntrain = 'x'",
            "x",
        ),
        ("[[volume]]\nimage = 'absent.npy'\nlabels = 'b'", "there is no file"),
    ],
)
def test_project_that_does_not_fit_is_refused(
    text: str, message: str, files: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read_project(project(files, text))


def test_project_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "project.toml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ValueError, match="is not a valid TOML file"):
        read_project(path)
