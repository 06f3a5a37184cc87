import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Labels
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QInputDialog

from napari_lrcs import presets
from napari_lrcs.config import SearchConfig, TrainConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.layers.layers import appearance, workspace_for
from napari_lrcs.plugin.project.docks import open_docks
from napari_lrcs.plugin.search.dock import SearchDock
from napari_lrcs.plugin.search.space_form import SpaceForm
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.search.folder import SearchFolder

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("one_thread")]

SHAPE = (8, 24, 24)
N_TRIALS = 8


@pytest.fixture
def viewer(
    make_napari_viewer: Callable[..., Viewer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Viewer:
    """Open a window with a volume of two phases, all of it painted."""
    monkeypatch.setattr(presets, "_folder", lambda: tmp_path / "presets")
    viewer: Viewer = make_napari_viewer(show=True)
    labels = np.broadcast_to(np.arange(24) // 12 + 1, SHAPE).astype(np.uint8)
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    np.save(tmp_path / "scan.npy", (labels + 0.1 * noise).astype(np.float32))
    viewer.open(tmp_path / "scan.npy", plugin="napari")
    look = appearance(PhaseTable.named("pore", "NMC"))
    viewer.add_layer(Labels(labels, name="painted", **look))
    return viewer


def _open(viewer: Viewer, config: TrainConfig) -> SearchDock:
    dock = SearchDock(viewer)
    viewer.window.add_dock_widget(dock, name="Search for settings")
    dock.setup.training.config = config
    dock.setup.search.config = SearchConfig(n_trials=N_TRIALS, n_repeats=1)
    dock.setup.space.restore([("learning_rate", ""), ("batch_size", "2,4")])
    _name_slices(dock)
    return dock


def _name_slices(dock: SearchDock) -> None:
    dock.setup.roles.fields["train"].setText("1")
    dock.setup.roles.fields["validation"].setText("6")


def _n_found(dock: SearchDock) -> int:
    return 0 if dock.results.found is None else len(dock.results.found.trials)


def _finish(dock: SearchDock, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not dock.is_busy)


@pytest.mark.slow
def test_a_search_is_watched_stopped_continued_and_its_best_setting_used(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    pytest.importorskip("optuna")
    dock = _open(viewer, tiny_config)
    dock.estimate()
    _finish(dock, qtbot)
    assert "take about" in dock.setup.plan

    dock.work.run_button.click()
    qtbot.waitUntil(lambda: _n_found(dock) >= 2)
    viewer.layers["painted"].data[1] = 0  # the search has a copy
    dock.work.stop_button.click()
    _finish(dock, qtbot)

    out = workspace_for(viewer.layers["scan"]).path / "search-1"
    n_kept = len(SearchFolder(out).read_results())
    assert 2 <= n_kept < N_TRIALS
    assert f"{n_kept} of {N_TRIALS} settings have been tried" in dock.message

    viewer.layers["painted"].data[1] = viewer.layers["painted"].data[2]
    later = _close_while_it_runs(dock, qtbot)
    qtbot.waitUntil(lambda: later.work.continue_button.text() == "Continue search-1")
    later.work.continue_button.click()
    _finish(later, qtbot)

    assert later.message.startswith("Done in ")
    trials = SearchFolder(out).read_results()
    assert [trial.number for trial in trials] == list(range(N_TRIALS))
    qtbot.waitUntil(lambda: later.results.table.rowCount() == N_TRIALS)
    found = later.results.found
    assert found is not None
    _assert_used(later, found.best_config, qtbot)


@pytest.mark.slow
def test_a_search_on_a_cluster_tries_more_settings_here(
    viewer: Viewer,
    tiny_config: TrainConfig,
    scheduler: str,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    pytest.importorskip("optuna")
    # Shorter than a trial, which is then told of while it runs.
    monkeypatch.setattr("napari_lrcs.search.search._POLL_SECONDS", 0.01)
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: (1, True))
    dock = _open(viewer, tiny_config)
    dock.setup.search.config = SearchConfig(n_trials=2, n_repeats=1)
    dock.setup.compute_on.where.setCurrentText("A dask cluster")
    dock.setup.compute_on.address.setText(scheduler)
    dock.work.run_button.click()
    texts = _watch(dock, qtbot)
    assert any("in another process" in text for text in texts)
    dock.setup.compute_on.where.setCurrentText("This computer")
    qtbot.waitUntil(lambda: [s.n_done for s in dock.searches.items] == [2])
    assert not dock.searches.continue_button.isEnabled()
    folder = SearchFolder(dock.searches.items[0].path)
    before = folder.read_results()

    dock.searches.more_button.click()
    _finish(dock, qtbot)

    *first, new = folder.read_results()
    assert first == before
    assert (new.number, new.state) == (2, "complete")
    assert dock.message.startswith("Done in ")
    qtbot.waitUntil(lambda: [s.n_planned for s in dock.searches.items] == [3])


def _watch(dock: SearchDock, qtbot: QtBot) -> set[str]:
    """Collect what the bars say until the job is over."""
    texts: set[str] = set()

    def is_over() -> bool:
        texts.update((dock.progress.text, dock.steps.own.text.partition(": ")[2]))
        return not dock.is_busy

    qtbot.waitUntil(is_over)
    return texts


def _close_while_it_runs(dock: SearchDock, qtbot: QtBot) -> SearchDock:
    """Continue a search, close its dock, and open another one."""
    qtbot.waitUntil(dock.work.continue_button.isVisible)
    dock.work.continue_button.click()
    qtbot.waitUntil(lambda: _n_found(dock) > 2)
    dock.viewer.window.remove_dock_widget(dock)
    _finish(dock, qtbot)

    later = SearchDock(dock.viewer)
    dock.viewer.window.add_dock_widget(later, name="Search for settings")
    assert later.setup.search.config.n_trials == N_TRIALS
    assert later.setup.space.space.to_list()[1:] == ["batch_size=2,4"]
    _name_slices(later)
    return later


def _assert_used(dock: SearchDock, best: TrainConfig, qtbot: QtBot) -> None:
    for place in range(dock.results.tabs.count()):
        dock.results.tabs.setCurrentIndex(place)
        assert dock.results.plot.axes
    dock.results.use_button.click()

    train = open_docks(dock.viewer)["Train LRCS-Net"]
    assert isinstance(train, TrainDock)
    form = train.setup.form
    assert form.config == best.with_changes(device=form["device"].value)

    dock.save_best("quick")
    assert "cannot be replaced" in dock.message
    dock.save_best("mine")
    train.setup.preset.refresh()
    train.setup.preset.choose("mine")
    assert train.setup.preset.currentText() == "mine"
    qtbot.wait(50)


def test_what_cannot_be_searched_is_refused_and_leaves_nothing(
    viewer: Viewer,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "napari_lrcs.search.trial_queue", raising=False)
    monkeypatch.delitem(sys.modules, "napari_lrcs.search.search", raising=False)
    dock = _open(viewer, tiny_config)
    advice = 'pip install "napari-lrcs[search]"'
    assert advice in dock.message
    refused = {}

    dock.work.run_button.click()
    _finish(dock, qtbot)
    refused[advice] = dock.message
    tick, text = dock.setup.space["batch_size"]
    text.setText("2:x")
    dock.work.run_button.click()
    refused["Batch size must be an integer, got 'x'"] = dock.message
    text.setText("2,4")
    dock.setup.roles.fields["train"].setText("1:x")
    dock.work.run_button.click()
    refused["slices must look like"] = dock.message
    dock.setup.roles.fields["train"].setText("1")
    tick.setChecked(False)
    dock.setup.space["learning_rate"][0].setChecked(False)
    dock.work.run_button.click()
    refused["tick at least one"] = dock.message
    viewer.layers.clear()
    dock.work.run_button.click()
    refused["choose an image"] = dock.message

    for words, message in refused.items():
        assert words in message
    assert not list(Path(presets._folder().parent).rglob("search-*"))


def test_values_follow_the_preset_until_they_are_typed(
    qtbot: QtBot, tiny_config: TrainConfig
) -> None:
    form = SpaceForm(tiny_config)
    qtbot.addWidget(form)
    form["n_filters"][1].setText("3,5")
    others = [form.others.itemData(i) for i in range(form.others.count())]
    assert {"n_epochs", "loss"} < set(others)
    assert not {"seed", "device", "n_filters"} & set(others)
    form.others.setCurrentIndex(others.index("loss"))
    form.others.activated.emit(others.index("loss"))

    form.follow(tiny_config.with_changes(batch_size=16))

    assert form["batch_size"][1].text() == "4,8,16,32"
    assert form["n_filters"][1].text() == "3,5"
    assert set(form.space.fields) == {
        *("learning_rate", "batch_size", "n_filters", "kernel_size", "loss")
    }
    again = SpaceForm(tiny_config)
    qtbot.addWidget(again)
    form["kernel_size"][0].setChecked(False)
    again.restore([*form.to_list(), ["unknown", ""]])
    assert set(again.space.fields) == set(form.space.fields)
    assert again["n_filters"][1].text() == "3,5"
