import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from command_line import PROGRAM, SCORES, SLICES, TINY, Run, call, printed_object
from napari_lrcs.__main__ import INTERRUPTED
from napari_lrcs.commands.parts.progress import RunDisplay
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.progress import EpochEnded, TrainEvent
from napari_lrcs.training.run.folder import RunFolder
from scripts import Script

pytestmark = pytest.mark.usefixtures("one_thread")


PHASE_SCORES = {"label", "name", "iou", "dice", "precision", "recall"}


def test_train_prints_its_last_event(place: Path, run: Run) -> None:
    command = "train image.tif labels.tif --train-z 1 --validation-z 3 --test-z 5"

    ended = printed_object(run(f"{command} --out new {TINY} --json"))

    assert set(ended) == {
        *("best", "epochs", "seconds", "device", "validation", "test", "not_learnt"),
        "context_slices",
    }
    assert ended["best"] == str(Path("new") / "best.safetensors")
    assert (ended["epochs"], ended["device"]) == (1, "cpu")
    assert ended["seconds"] > 0
    for role in ("validation", "test"):
        assert set(ended[role]) == SCORES
        assert np.sum(ended[role]["confusion"]) == 24 * 24
        assert all(set(phase) == PHASE_SCORES for phase in ended[role]["phases"])
    assert {file.name for file in (place / "new").iterdir()} == {
        *("best.safetensors", "config.json", "epoch-0001.safetensors", "history.csv"),
        *("labels.tif", "last.safetensors", "resume.pt"),
    }


def test_without_test_slices_their_scores_are_null(run: Run) -> None:
    command = f"train image.tif labels.tif {SLICES} --out new {TINY} --json"

    assert printed_object(run(command))["test"] is None


@pytest.mark.usefixtures("place")
def test_without_validation_slices_a_part_is_held_out_and_this_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = f"train image.tif labels.tif --train-z 1 --out new {TINY} --json"

    assert call(command) == 0

    printed = capsys.readouterr()
    held_out = np.sum(json.loads(printed.out)["validation"]["confusion"])
    assert 0 < held_out < 24 * 24 / 2
    assert "held out" in printed.err


@pytest.mark.usefixtures("place")
def test_another_training_is_not_validated_on_what_its_start_has_learnt() -> None:
    train = f"train image.tif labels.tif --train-z 1 {TINY} --patches-per-epoch 40"

    assert call(f"{train} --out first") == 0
    tifffile.imwrite("labels.tif", _more_of(tifffile.imread("labels.tif")))
    assert call(f"{train} --out second --initial-weights first") == 0
    assert call(f"{train} --out second --resume") == 0

    (first,), (second,) = (
        RunFolder(Path(name)).read_splits("z").values() for name in ("first", "second")
    )
    assert second.held_out.any()
    assert not (second.held_out & first.trained).any()


def _more_of(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    labels[1, -1] = 0  # another number of voxels: other blocks would be chosen
    labels[1, :, :5] = 0
    return labels


def test_train_prints_a_table_with_the_names_of_the_phases(run: Run) -> None:
    command = f"train image.tif labels.tif {SLICES} --out new {TINY}"

    printed = run(f"{command} --phases pore solid")

    assert "Validation of the best model" in printed
    assert re.search(r"pore .*%", printed)
    assert re.search(r"solid .*%", printed)
    assert "mean" in printed


def test_a_project_trains_on_two_volumes(run: Run) -> None:
    shutil.copytree("run", "data")
    for name in ("image.tif", "labels.tif"):
        shutil.copy(name, f"data/{name}")
    entries = [
        'image = "image.tif"\nlabels = "labels.tif"\ntrain = "1"\n',
        'image = "data/image.tif"\nlabels = "data/labels.tif"\ntrain = "0,2"\n'
        'validation = "5"\nmask = "cylinder"\n',
    ]
    text = "".join(f"[[volume]]\n{entry}" for entry in entries)
    Path("project.toml").write_text(text, encoding="utf-8")

    run(f"train project.toml --out new {TINY}")

    with tifffile.TiffFile("new/labels.tif") as tif:
        places = [page.aspage().tags["ImageDescription"].value for page in tif.pages]
    roles = [json.loads(place)["role"] for place in places]
    assert roles == ["train", "train", "train", "validation"]


def test_overwrite_replaces_a_run(place: Path, run: Run) -> None:
    (place / "run" / "notes.txt").write_text("mine")
    command = f"train image.tif labels.tif {SLICES} --out run {TINY}"

    run(f"{command} --overwrite")

    assert RunFolder(place / "run").read_config().optimisation.n_epochs == 1
    assert len(load_checkpoint(place / "run").history) == 1
    assert not (place / "run" / "epoch-0002.safetensors").exists()
    assert (place / "run" / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_a_place_for_a_run(place: Path, run: Run) -> None:
    (place / "new").mkdir()

    run(f"train image.tif labels.tif {SLICES} --out new {TINY}")

    assert (place / "new" / "best.safetensors").is_file()


def test_an_interrupted_run_is_resumed(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = f"train image.tif labels.tif {SLICES} --out new {TINY} --n-epochs 3"

    def interrupt(_: RunDisplay, event: TrainEvent) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDisplay, "show", interrupt)
        assert call(command) == INTERRUPTED
    assert "kept" in capsys.readouterr().err
    assert (place / "new" / "best.safetensors").is_file()

    assert call(f"{command} --resume") == 0

    assert "resumed after step" in capsys.readouterr().err
    history = (place / "new" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "1", "2", "3"]


def test_resume_takes_the_settings_from_the_run(run: Run) -> None:
    printed = run(f"train image.tif labels.tif {SLICES} --out run --resume --json")

    assert printed_object(printed)["epochs"] == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_ctrl_c_keeps_the_best_model(place: Path) -> None:
    command = f"train image.tif labels.tif {SLICES} --out new {TINY} --n-epochs 9999"

    with Script(PROGRAM, *command.split()) as process:
        for line in process.stderr:
            if line.startswith("epoch   2/"):
                break
        process.interrupt()
        code = process.wait(60)
        process.kill()
        printed, told = process.stdout.read(), process.stderr.read()

    assert code == 130
    assert printed == ""
    assert told.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in told
    load_checkpoint(place / "new").build()
