"""Neighbours that the command line chooses, by whether they resemble a slice."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from command_line import call

N_SLICES = 12
NOISE = np.random.default_rng(0).standard_normal((N_SLICES, 64, 64))
FLAGS = "--train-z 1 --validation-z 9 --out run"
STUDY = "--train-z 1,2 --test-z 9 --out run"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Write volumes to train on, and gather the configs that trainings get."""
    monkeypatch.chdir(tmp_path)
    labels = np.ones(NOISE.shape, np.uint8)
    labels[:, :, 32:] = 2
    tifffile.imwrite("labels.tif", labels)
    _write("alike.tif", ndimage.gaussian_filter(NOISE, 3))
    _write("single.tif", ndimage.gaussian_filter(NOISE, (0, 3, 3)))
    configs: list[Any] = []

    def capture(*task: Any, **settings: Any) -> Iterator[Any]:
        configs.append(settings.get("config") or task[0].config)
        raise ValueError("captured")

    monkeypatch.setattr("napari_lrcs.training.loop.train", capture)
    monkeypatch.setattr("napari_lrcs.uncertainty.study.ensemble.run_study", capture)
    return configs


@pytest.fixture
def told(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Run a command, and give what it says on standard error."""

    def run(command: str) -> str:
        call(command)
        assert len(asked) == 1
        return capsys.readouterr().err

    return run


def _write(name: str, image: NDArray[np.float64]) -> None:
    tifffile.imwrite(name, (image / image.std()).astype(np.float32))


@pytest.mark.parametrize(
    ("command", "context_slices"),
    [
        (f"train alike.tif labels.tif {FLAGS}", 2),
        (f"train single.tif labels.tif {FLAGS}", 0),
        (f"train single.tif labels.tif {FLAGS} --context-slices 1", 1),
        (f"train single.tif labels.tif {FLAGS} --preset best", 0),
        (f"train alike.tif labels.tif {FLAGS} --preset paper", 0),
        ("train both.toml --out run", 0),
        (f"uncertainty alike.tif labels.tif {STUDY}", 2),
        (f"uncertainty single.tif labels.tif {STUDY}", 0),
        (f"uncertainty single.tif labels.tif {STUDY} --context-slices 2", 2),
    ],
)
def test_neighbours_are_given_where_they_resemble_the_slice(
    command: str, context_slices: int, asked: list[Any]
) -> None:
    volume = '[[volume]]\nimage = "{}.tif"\nlabels = "labels.tif"\ntrain = "1"\n'
    Path("both.toml").write_text(volume.format("alike") + volume.format("single"))

    call(command)

    assert [config.network.context_slices for config in asked] == [context_slices]


def test_the_reason_is_told(told: Callable[[str], str]) -> None:
    text = told(f"train single.tif labels.tif {FLAGS}")

    assert "no neighbours: neighbouring slices of single.tif resemble" in text


@pytest.mark.parametrize("flags", ["--context-slices 1", "--preset paper"])
def test_what_is_set_needs_no_reason(flags: str, told: Callable[[str], str]) -> None:
    assert "resemble" not in told(f"train single.tif labels.tif {FLAGS} {flags}")
