import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import SLICES, TINY, Run, call, printed_object
from napari_lrcs import presets
from napari_lrcs.__main__ import INTERRUPTED
from napari_lrcs.commands.search import SearchDisplay
from napari_lrcs.config import PRESETS, SearchConfig
from napari_lrcs.presets import read_preset
from napari_lrcs.search.events import SearchEvent, TrialEnded
from napari_lrcs.search.folder import SearchFolder
from napari_lrcs.search.space import SearchSpace
from napari_lrcs.search.task import SearchTask

pytestmark = pytest.mark.usefixtures("one_thread")

SEARCH = f"search image.tif labels.tif {SLICES} --out search"


@pytest.fixture(autouse=True)
def _own_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "_folder", lambda: tmp_path / "presets")


@pytest.fixture
def tasks(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[SearchTask]:
    """Gather what is searched for; search for nothing."""
    found: list[SearchTask] = []

    def capture(task: SearchTask, **_: object) -> Iterator[SearchEvent]:
        found.append(task)
        raise ValueError("captured")

    assert Path.cwd() == place
    monkeypatch.setattr("napari_lrcs.search.search.run_search", capture)
    return found


def test_an_interrupted_search_goes_on_and_saves_a_preset(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: SearchDisplay, event: SearchEvent) -> None:
        if isinstance(event, TrialEnded):
            raise KeyboardInterrupt

    wanted = f"{SEARCH} {TINY} --search learning_rate=1e-3:1e-2:log --n-trials 2"
    with monkeypatch.context() as patch:
        patch.setattr(SearchDisplay, "show", interrupt)
        assert call(f"{wanted} --n-repeats 1 --seed 3") == INTERRUPTED

    printed = printed_object(run(f"{SEARCH} --resume --save-preset mine --json"))

    found = SearchFolder(place / "search").read_findings()
    assert set(printed) == {
        *("n_trials", "best", "trials", "importances", "seconds", "preset")
    }
    assert [trial["trial"] for trial in printed["trials"]] == [0, 1]
    assert found.best is not None
    assert printed["best"]["mean_iou"] == found.best.score
    assert printed["best"]["sd"] is None
    mine = read_preset("mine")
    assert mine == found.best_config
    assert mine.network.n_filters == 2
    assert 1e-3 <= mine.optimisation.learning_rate <= 1e-2

    table = run(f"{SEARCH} --resume")

    assert "learning_rate" in table
    caption = "2 of 2 trials have ended; 0 were pruned, 0 failed"
    assert caption in " ".join(table.split())


def test_flags_reach_all_settings_of_a_search(tasks: list[SearchTask]) -> None:
    call(
        f"{SEARCH} --preset paper --search gain=0:0.5 --search batch-size=1,2 --seed 7 "
        "--sampler tpe --n-trials 5 --n-repeats 2 --minutes 3 --no-prune --device cpu"
    )

    (task,) = tasks
    assert task.space == SearchSpace.parse(["gain=0:0.5", "batch_size=1,2"])
    assert task.config == PRESETS["paper"].with_changes(seed=7, device="cpu")
    assert task.search == SearchConfig(
        sampler="tpe", n_trials=5, n_repeats=2, minutes=3.0, prune=False
    )
    assert task.volumes[0].roles == {"train": (1,), "validation": (4,)}


def test_neighbours_are_chosen_as_for_a_training(tasks: list[SearchTask]) -> None:
    shape = tifffile.imread("image.tif").shape
    noise = np.random.default_rng(0).normal(size=(shape[0], 64, 64))
    tifffile.imwrite("noise.tif", noise.astype(np.float32))
    painted = np.ones(noise.shape, np.uint8)
    painted[:, 32:] = 2
    tifffile.imwrite("painted.tif", painted)
    noisy = SEARCH.replace("image.tif labels.tif", "noise.tif painted.tif")

    call(noisy)
    call(f"{noisy} --context-slices 2")
    call(f"{noisy} --search context_slices=1,2")

    fitted, given, searched = tasks
    assert fitted.config.network.context_slices == 0
    assert given.config.network.context_slices == 2
    assert "context_slices" in searched.space.fields


def test_a_setting_that_is_given_is_not_searched(tasks: list[SearchTask]) -> None:
    call(f"{SEARCH} --n-filters 4")

    (task,) = tasks
    assert set(task.space.fields) == {"learning_rate", "batch_size", "kernel_size"}
    assert task.config.network.n_filters == 4


@pytest.mark.usefixtures("place")
def test_a_missing_optuna_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in ("search", "trial_queue"):
        monkeypatch.delitem(sys.modules, f"napari_lrcs.search.{name}", raising=False)

    assert call(SEARCH) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: a search needs Optuna")
    assert 'install it: pip install "napari-lrcs[search]"' in line
    assert not Path("search").exists()
