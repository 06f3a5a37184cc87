"""Files that the version at f39a554 wrote must open for ever."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_lrcs.annotation.painting.folder import ImageIdentity, PaintingFolder
from napari_lrcs.config import AlsoMeasureConfig, StudyConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.inference.task import fingerprint
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.models.header import read_header
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.uncertainty.study.folder import StudyFolder

FILES = Path(__file__).parent / "fixtures" / "f39a554"


def test_a_run_opens() -> None:
    summary = RunFolder(FILES / "run").summarise()
    checkpoint = load_checkpoint(FILES / "run")

    assert (summary.n_done, summary.n_epochs, summary.best_epoch) == (1, 2, 1)
    assert read_header(FILES / "run" / "best.safetensors").phases == checkpoint.phases
    assert checkpoint.phases == PhaseTable.numbered(2)
    assert checkpoint.normalisation.mean == pytest.approx(750, abs=10)
    assert checkpoint.config == RunFolder(FILES / "run").read_config()
    assert checkpoint.history[0]["epoch"] == 1
    assert checkpoint.temperature == 1
    checkpoint.build()


def test_a_state_to_resume_from_opens(tmp_path: Path) -> None:
    shutil.copytree(FILES / "run", tmp_path / "run")
    packed = (FILES / "run" / "resume.pt.gz").read_bytes()
    (tmp_path / "run" / "resume.pt").write_bytes(gzip.decompress(packed))
    run = RunFolder(tmp_path / "run")

    saved = run.read_resume()

    config = run.read_config()
    saved.check_tensors(load_checkpoint(run.best).build())
    saved.state.check(
        n_phases=2, n_epochs=config.optimisation.n_epochs, steps_per_epoch=2
    )
    assert (saved.state.step, len(saved.state.history)) == (2, 1)


def test_a_study_opens() -> None:
    folder = StudyFolder(FILES / "study")
    found, settings = folder.read_findings(), folder.read_settings()

    assert [m.name for m in found.members] == ["perturbed-000", "perturbed-001"]
    assert found.members[0].accuracy == 0.5
    assert settings.phases == found.phases == PhaseTable.numbered(2)
    assert settings.study == StudyConfig(n_members=2, n_repeats=0)
    assert settings.config.network.n_filters == 1
    assert settings.also_measure == AlsoMeasureConfig()
    assert found.ensemble is None


def test_a_painting_opens(tmp_path: Path) -> None:
    shutil.copytree(FILES / "painting", tmp_path / "painting")
    painting = PaintingFolder(tmp_path / "painting")

    state = painting.read()

    assert (state.axis, state.phases, state.mask) == ("z", ELECTRODE, "cylinder")
    assert state.roles == {2: "train", 0: "validation"}
    assert state.image == ImageIdentity(name="scan", path="scan.tif", shape=(4, 16, 16))
    assert list(painting.labels.painted_slices()) == [0, 2]
    assert np.unique(painting.labels.array[2]).tolist() == [1, 2]


def test_what_was_begun_without_balance_goes_on() -> None:
    folder = StudyFolder(FILES / "study")
    task = folder.record.read()["task"]
    config = folder.read_settings().config.with_changes(device="cpu")
    now = config.identity()
    del now["device"]

    assert config.optimisation.balance == 0
    folder.record.check_same({**task, "config": json.loads(json.dumps(now))})
    with pytest.raises(VolumeError, match=r"balance: None, now 0\.5"):
        folder.record.check_same({**task, "config": {**task["config"], "balance": 0.5}})


def test_a_prediction_by_an_old_network_goes_on() -> None:
    assert fingerprint(load_checkpoint(FILES / "run")) == (
        "c0223c0bed5bae5bc11a3c39228cc2d489e96e5e87d0ebe1548248d49d115ee3"
    )


def test_a_balanced_study_does_not_go_on_without_balance(tmp_path: Path) -> None:
    shutil.copytree(FILES / "study", tmp_path / "study")
    folder = StudyFolder(tmp_path / "study")
    record = json.loads((folder.path / "study.json").read_text("utf-8"))
    task = json.loads(json.dumps(record["task"]))
    record["task"]["config"]["balance"] = 0.5
    (folder.path / "study.json").write_text(json.dumps(record), "utf-8")

    with pytest.raises(VolumeError, match=r"balance: 0\.5, now None"):
        folder.record.check_same(task)
