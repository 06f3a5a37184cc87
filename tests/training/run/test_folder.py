import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError, ResultExistsError
from napari_lrcs.io.locks import only_writer
from napari_lrcs.models.checkpoint import Checkpoint, cpu_copy, load_checkpoint
from napari_lrcs.training.run.folder import RunFolder, transfer_epochs
from napari_lrcs.training.run.resume import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (os._exit, ("opening a run ran code",))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def begun(
    run: RunFolder,
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
) -> RunFolder:
    run.begin()
    run.write_task(striped_annotation(), tiny_config)
    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("n_epochs", "expected"),
    [(1, [1]), (2, [1, 2]), (4, [1, 2, 3, 4]), (5, [1, 2, 3, 5]), (12, [3, 6, 9, 12])],
)
def test_four_moments_are_kept_for_transfer(n_epochs: int, expected: list[int]) -> None:
    assert transfer_epochs(n_epochs) == expected


def test_config_survives_the_way_to_disk_and_back(
    begun: RunFolder, tiny_config: TrainConfig
) -> None:
    assert begun.is_run
    assert begun.read_config() == tiny_config


def test_labels_are_kept_with_their_places_and_roles(
    run: RunFolder,
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
) -> None:
    annotation = striped_annotation(("train", "validation", "test"))

    run.begin()
    run.write_task(annotation, tiny_config)

    with tifffile.TiffFile(run.path / "labels.tif") as tiff:
        pages = [(json.loads(p.aspage().description), p.asarray()) for p in tiff.pages]
    assert [place["role"] for place, _ in pages] == ["train", "validation", "test"]
    assert [place["index"] for place, _ in pages] == [0, 1, 2]
    for (_, labels), annotated in zip(pages, annotation.slices, strict=True):
        np.testing.assert_array_equal(labels, annotated.labels)


def test_roles_are_read_again(
    run: RunFolder,
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
) -> None:
    run.begin()
    run.write_task(striped_annotation(("train", "test", "train")), tiny_config)

    assert run.read_roles() == {"train": (0, 2), "validation": (), "test": (1,)}


def test_slice_of_which_a_part_is_held_out_is_for_training(
    run: RunFolder,
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
) -> None:
    annotation = striped_annotation(("train", "validation"))
    whole, part = annotation.slices
    run.begin()
    run.write_task(
        replace(annotation, slices=(whole, replace(part, index=whole.index))),
        tiny_config,
    )

    assert run.read_roles() == {"train": (0,), "validation": (), "test": ()}


@pytest.mark.parametrize("content", [None, b"", b"no TIFF"])
def test_damaged_labels_are_refused(begun: RunFolder, content: bytes | None) -> None:
    labels = begun.path / "labels.tif"
    if content is None:
        labels.unlink()
    else:
        labels.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"labels\.tif is damaged"):
        begun.read_roles()


def test_labels_of_something_else_are_refused(begun: RunFolder) -> None:
    tifffile.imwrite(begun.path / "labels.tif", np.zeros((2, 3), np.uint8))

    with pytest.raises(CheckpointError, match=r"labels\.tif is damaged"):
        begun.read_roles()


def test_folder_without_a_run_does_not_resume(run: RunFolder) -> None:
    assert not run.is_run
    with pytest.raises(CheckpointError, match=r"there is no run in .*; choose"):
        run.read_config()


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"n_layers": 3}', '{"n_epochs": 0}'])
def test_damaged_config_is_refused(begun: RunFolder, text: str) -> None:
    (begun.path / "config.json").write_text(text, encoding="utf-8")

    with pytest.raises(CheckpointError, match=r"config\.json in .* is damaged"):
        begun.read_config()


def test_state_survives_the_way_to_disk_and_back(begun: RunFolder) -> None:
    moments = {name: torch.ones(()) for name in ("step", "exp_avg", "exp_avg_sq")}
    state = {
        "model": {"weight": torch.ones(2)},
        "state": {"step": 3, "history": [{"epoch": 1, "loss": None}]},
        "optimiser": {"state": {0: moments}, "param_groups": [{"lr": 0.1}]},
        "precision": "float32",
        "labels_hash": "ab12",
        "n_threads": 300,
    }

    begun.write_resume(state)

    loaded = begun.read_resume()
    assert loaded.state == TrainingState(step=3, history=[{"epoch": 1, "loss": None}])
    assert torch.equal(loaded.model["weight"], torch.ones(2))
    assert loaded.n_threads == 300


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"PK\x03\x04garbage", b"\x80\x02"]
)
def test_damaged_state_is_refused(begun: RunFolder, content: bytes) -> None:
    (begun.path / "resume.pt").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged"):
        begun.read_resume()


def test_missing_state_is_refused(begun: RunFolder) -> None:
    with pytest.raises(CheckpointError, match=r"resume\.pt"):
        begun.read_resume()


def test_state_that_would_run_code_is_refused_and_not_run(begun: RunFolder) -> None:
    torch.save({"state": Trap()}, begun.path / "resume.pt")

    with pytest.raises(CheckpointError, match=r"resume\.pt is damaged"):
        begun.read_resume()


def test_history_has_a_row_an_epoch_and_empty_cells(begun: RunFolder) -> None:
    begun.write_history([{"epoch": 1, "iou": 0.25}, {"epoch": 2, "iou": None}])

    text = (begun.path / "history.csv").read_text(encoding="utf-8")
    assert list(csv.reader(text.splitlines())) == [
        ["epoch", "iou"],
        ["1", "0.25"],
        ["2", ""],
    ]


def test_epoch_leaves_last_best_and_transfer_checkpoints(
    begun: RunFolder,
    make_checkpoint: Callable[..., Checkpoint],
    tiny_config: TrainConfig,
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(n_epochs=8))
    for epoch in range(1, 9):
        at_epoch = replace(checkpoint, labels_hash=str(epoch))
        begun.write_epoch(at_epoch, epoch=epoch, is_best=epoch == 5)

    transfer = sorted(begun.path.glob("epoch-*.safetensors"))
    assert [path.name[:10] for path in transfer] == [
        "epoch-0002",
        "epoch-0004",
        "epoch-0006",
        "epoch-0008",
    ]
    assert load_checkpoint(begun.best).labels_hash == "5"
    assert load_checkpoint(begun.last).labels_hash == "8"
    assert load_checkpoint(transfer[0]).labels_hash == "2"


def test_run_is_removed_and_nothing_else(
    begun: RunFolder, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    begun.write_epoch(make_checkpoint(), epoch=1, is_best=True)
    begun.write_resume({})
    begun.write_history([{"epoch": 1}])
    assert "epoch-0001.safetensors" in names(begun.path)
    mine = {"notes.txt", *(f"{n}.safetensors" for n in ("a", "epoch-a", "epoch-0007"))}
    for name in mine:
        (begun.path / name).touch()

    begun.remove()

    assert names(begun.path) == mine


@pytest.mark.parametrize(
    ("has_learnt", "keep", "is_kept"),
    [
        (True, True, True),
        (True, False, False),
        (False, True, False),
        (False, False, False),
    ],
)
def test_run_that_was_stopped_is_kept_if_it_is_wanted_and_has_a_network(
    has_learnt: bool,
    keep: bool,
    is_kept: bool,
    begun: RunFolder,
    make_checkpoint: Callable[..., Checkpoint],
) -> None:
    begun.write_resume({})
    if has_learnt:
        begun.write_epoch(make_checkpoint(), epoch=1, is_best=True)

    begun.clean_up(keep=keep)

    assert begun.is_run == begun.path.exists() == is_kept


def test_run_that_another_window_trains_is_not_cleaned_up(begun: RunFolder) -> None:
    begun.write_resume({})
    before = names(begun.path)

    with only_writer(begun.path):
        begun.clean_up(keep=False)

    assert names(begun.path) == before


def test_what_is_not_of_a_run_is_not_cleaned_up(run: RunFolder) -> None:
    run.path.mkdir()
    (run.path / "notes.txt").touch()

    run.clean_up(keep=False)

    assert names(run.path) == {"notes.txt"}


def test_folder_whose_config_is_not_of_a_run_is_not_overwritten(run: RunFolder) -> None:
    run.path.mkdir()
    for name in ("config.json", "labels.tif"):
        (run.path / name).write_text('{"colour": "red"}')

    with pytest.raises(CheckpointError, match=r"config\.json"):
        run.check_place(overwrite=True)


def test_new_run_takes_the_place_of_the_earlier_one(
    begun: RunFolder, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    begun.write_epoch(make_checkpoint(), epoch=1, is_best=True)

    begun.begin()

    assert names(begun.path) == set()


def test_start_that_was_killed_leaves_room_for_a_run(run: RunFolder) -> None:
    run.begin()
    run.write_resume({})

    run.check_place(overwrite=False)

    assert run.is_vacant


@pytest.mark.parametrize("name", ["labels.tif", "notes.txt"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_folder_of_something_else_is_refused(
    run: RunFolder, name: str, overwrite: bool
) -> None:
    run.path.mkdir()
    (run.path / name).touch()

    with pytest.raises(ResultExistsError, match="is not a run folder"):
        run.check_place(overwrite=overwrite)


def test_run_is_replaced_only_when_that_is_asked_for(begun: RunFolder) -> None:
    begun.check_place(overwrite=True)

    with pytest.raises(ResultExistsError, match="holds a run already"):
        begun.check_place(overwrite=False)


def test_copy_of_a_state_does_not_follow_further_steps() -> None:
    weight = torch.zeros(2)

    copy = cpu_copy({"weight": weight})
    weight += 1

    assert copy["weight"].tolist() == [0, 0]


def test_labels_come_back_slice_by_slice(
    run: RunFolder,
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
) -> None:
    annotation = striped_annotation(("train", "test"))
    run.begin()
    run.write_task(annotation, tiny_config)

    labels = run.read_labels()

    assert [*labels] == [*run.read_slices()]
    assert [(s.volume, s.index, s.role) for s in labels] == [
        ("volume", 0, "train"),
        ("volume", 1, "test"),
    ]
    for written, read in zip(annotation.slices, labels.values(), strict=True):
        np.testing.assert_array_equal(read, written.labels)
