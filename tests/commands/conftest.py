"""A trained network, and commands that must succeed."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from command_line import SLICES, TINY, Run, call, write_sample


@pytest.fixture(scope="session")
def train_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Give a folder with image.tif, labels.tif and a trained network in run."""

    @cache
    def train() -> Path:
        folder = tmp_path_factory.mktemp("trained")
        write_sample(folder)
        image, labels = folder / "image.tif", folder / "labels.tif"
        command = f"train {image} {labels} {SLICES} {TINY} --n-filters 4 --n-epochs 2"
        budget = "--patches-per-epoch 200 --batch-size 4 --learning-rate 0.02"
        assert call(f"{command} {budget} --out {folder / 'run'}") == 0
        return folder

    return train


@pytest.fixture
def place(
    train_once: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Work in a copy of the folder with a trained network."""
    folder = tmp_path / "place"
    shutil.copytree(train_once(), folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must succeed, and give what it prints."""

    def succeed(arguments: str) -> str:
        assert Path.cwd() == place
        capsys.readouterr()
        code = call(arguments)
        printed = capsys.readouterr()
        assert code == 0, printed.err
        assert "error" not in printed.err
        return printed.out

    return succeed
