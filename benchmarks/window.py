"""How long napari's window makes its user wait while its docks work.

A timer asks for a tick every 10 ms on the GUI thread; what is late is the wait.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/window.py
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QEventLoop, QSettings, Qt, QTimer
from qtpy.QtWidgets import QPushButton

from napari_lrcs.plugin.parts.layers.layers import place_of, workspace_for
from napari_lrcs.training.run.folder import list_runs

SETTLING, WATCHED = 10, 60
"""Seconds."""

PAUSE_MS = 10


@dataclass
class Watch:
    """Gaps between the ticks of a timer on the GUI thread, in milliseconds."""

    gaps: list[float] = field(default_factory=list)
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        self._last = time.perf_counter()
        self._timer.start(PAUSE_MS)

    def stop(self) -> None:
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(1000 * (now - self._last))
        self._last = now


def main() -> None:
    with own_settings():
        viewer = napari.Viewer()
        viewer.window.resize(1400, 900)
        viewer.open_sample("napari-lrcs", "nmc_electrode")
        paint(viewer)
        train = open_dock(viewer, "Train LRCS-Net")
        print(f"| what | gaps | median | 99th percentile | longest |\n|{'---|' * 5}")
        report("idle", watch(lambda: True))
        watch_training(train)
        watch_comparison(train, viewer)
        watch_search(viewer)
        watch_looking(viewer)
        watch_prediction(viewer)
        viewer.close()


@contextmanager
def own_settings() -> Iterator[None]:
    """Leave the settings and the data of the user alone."""
    with TemporaryDirectory() as home:
        ini, user = QSettings.Format.IniFormat, QSettings.Scope.UserScope
        QSettings.setPath(ini, user, home)
        os.environ["XDG_DATA_HOME"] = home
        yield


def paint(viewer: napari.Viewer) -> None:
    truth = viewer.layers[1]
    press(open_dock(viewer, "Label phases"), "New labels layer")
    painting = viewer.layers.selection.active
    assert isinstance(painting, Labels)
    for index in (8, 24):
        rows, columns = np.indices(truth.data.shape[1:]).reshape(2, -1)
        painting.data_setitem(
            (np.full(len(rows), index), rows, columns), truth.data[index].ravel()
        )


def watch_training(dock: Any) -> None:
    dock.setup.form["n_epochs"].value = 100
    press(dock, "Train")
    report("training", watch(lambda: dock.is_busy))
    press(dock, "Stop and keep the best")
    wait_until(lambda: not dock.is_busy)


def watch_comparison(dock: Any, viewer: napari.Viewer) -> None:
    """Start from a run that has ended: one that was stopped has saved no moments."""
    dock.setup.form["n_epochs"].value = 1
    dock.setup.form["patches_per_epoch"].value = 40
    press(dock, "Train")
    wait_until(lambda: not dock.is_busy)
    dock.setup.form["n_epochs"].value = 100
    dock.start_from(newest_run(viewer))
    dock.tabs.setCurrentWidget(dock.transfer)
    press(dock, "Compare starts")
    report("comparing starts", watch(lambda: dock.is_busy))
    press(dock, "Stop and keep all")
    wait_until(lambda: not dock.is_busy)


def watch_search(viewer: napari.Viewer) -> None:
    dock = open_dock(viewer, "Search for settings")
    press(dock, "Search")
    report("searching", watch(lambda: dock.is_busy))
    press(dock, "Stop")
    wait_until(lambda: not dock.is_busy)


def watch_looking(viewer: napari.Viewer) -> None:
    """Compute the maps of the first layer again and again, for slice after slice."""
    dock = open_dock(viewer, "Look inside the network")
    dock.setup.model_choice.choose(newest_run(viewer))
    wait_until(dock.show_button.isEnabled)
    slices = count()

    def look() -> None:
        if not dock.is_busy:
            viewer.dims.set_current_step(0, next(slices) % 64)
            press(dock, "Show maps")

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(2000)
    report("looking inside", watch(lambda: True))
    timer.stop()
    wait_until(lambda: not dock.is_busy)


def newest_run(viewer: napari.Viewer) -> Path:
    return list_runs(workspace_for(viewer.layers[0]).path)[0].path


def watch_prediction(viewer: napari.Viewer) -> None:
    image, run = viewer.layers[0], newest_run(viewer)
    large = viewer.add_image(
        np.tile(image.data, (12, 2, 2)), name="large", **place_of(image)
    )
    viewer.layers.move(len(viewer.layers) - 1, 1)
    dock = open_dock(viewer, "Predict volume")
    dock.setup.image_choice.layer = large
    dock.setup.model_choice.choose(run)
    press(dock, "Predict")
    report("predicting", watch(lambda: dock.is_busy))
    press(dock, "Cancel")
    wait_until(lambda: not dock.is_busy)


def watch(goes_on: Callable[[], bool], *, settling: float = SETTLING) -> list[float]:
    """Gather gaps once the window has settled, while something goes on."""
    wait_until(lambda: False, seconds=settling)
    seen = Watch()
    seen.start()
    wait_until(lambda: not goes_on(), seconds=WATCHED)
    seen.stop()
    return seen.gaps


def report(what: str, gaps: list[float]) -> None:
    median, high = np.percentile(gaps, (50, 99))
    print(
        f"| {what} | {len(gaps)} | {median:.0f} ms | {high:.0f} ms | "
        f"{max(gaps):.0f} ms |",
        flush=True,
    )


def open_dock(viewer: napari.Viewer, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-lrcs", name, tabify=True)[1]


def press(dock: Any, text: str) -> None:
    next(b for b in dock.findChildren(QPushButton) if b.text() == text).click()


def wait_until(is_so: Callable[[], bool], *, seconds: float = 60) -> None:
    """Run Qt's own loop, as napari does, until something is so or time is up."""
    end = time.monotonic() + seconds
    loop = QEventLoop()
    check = QTimer()
    check.timeout.connect(
        lambda: loop.quit() if is_so() or time.monotonic() > end else None
    )
    check.start(100)
    loop.exec()
    check.stop()


if __name__ == "__main__":
    main()
