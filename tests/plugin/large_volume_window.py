"""Paint, train and predict a volume of 20 GB; `test_large_volume` runs this program.

In a process of its own, the peak of memory is that of napari with this plugin alone.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Image, Labels
from napari.qt.threading import WorkerBase
from numpy.typing import NDArray
from qtpy.QtCore import QEventLoop, QSettings, QTimer
from qtpy.QtWidgets import QPushButton, QWidget

from napari_lrcs.config import TrainConfig
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr

SHAPE = (5008, 2000, 2000)
"""20 GB of uint8."""

CHUNKS = (16, 512, 512)
TRAIN, VALIDATION, PREDICTED = 408, 2008, range(1203, 1205)
"""Slices; only the chunks that they and their neighbours lie in are on disk."""

CONFIG = TrainConfig().with_changes(
    n_filters=2, n_epochs=1, patches_per_epoch=160, patch_size=128, device="cpu"
)
WAIT = 240.0


class Window:
    """The viewer; tells how long it did not react, and what memory it took."""

    def __init__(self) -> None:
        self.viewer = Viewer(show=True)
        self._beat, self._gap = time.monotonic(), 0.0
        self._timer = QTimer()
        self._timer.timeout.connect(self._on_beat)
        self._timer.start(10)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what happens meanwhile."""
        self.wait(lambda: True)
        self._gap, start = 0.0, time.monotonic()
        yield
        self.wait(lambda: True)
        seconds = time.monotonic() - start
        print(  # noqa: T201
            f"{name:28} {seconds:6.1f} s, without reacting {self._gap:.2f} s, "
            f"GiB now {_memory('VmRSS'):.2f}, peak {_memory('VmHWM'):.2f}",
            flush=True,
        )

    def wait(self, is_over: Callable[[], bool]) -> None:
        """Let the window live until something is so, and a little longer."""
        loop, limit = QEventLoop(), time.monotonic() + WAIT
        timer = QTimer()
        timer.timeout.connect(
            lambda: loop.quit() if is_over() or time.monotonic() > limit else None
        )
        timer.start(50)
        loop.exec()
        timer.stop()
        assert is_over(), f"not within {WAIT} s"

    def dock(self, name: str) -> Any:
        """Open a dock."""
        return self.viewer.window.add_plugin_dock_widget("napari-lrcs", name)[1]

    def _on_beat(self) -> None:
        now = time.monotonic()
        self._gap = max(self._gap, now - self._beat)
        self._beat = now


def write_volume(path: Path) -> None:
    """Write a sparse volume of three phases with noise."""
    array = create_ome_zarr(
        path, shape=SHAPE, chunks=CHUNKS, voxel_size=(0.05,) * 3, unit="um", name="scan"
    )
    rng = np.random.default_rng(0)
    noise = rng.integers(-30, 31, (SHAPE[1] + 96, SHAPE[2]), np.int16)
    flat = 60 * truth().astype(np.int16)
    depth = CHUNKS[0]
    for first in sorted({z // depth * depth for z in (TRAIN, VALIDATION, *PREDICTED)}):
        slab = np.empty((depth, *SHAPE[1:]), np.uint8)
        for i in range(depth):
            slab[i] = flat + noise[6 * i : 6 * i + SHAPE[1]]
        array[first : first + depth] = slab


def truth() -> NDArray[np.uint8]:
    """Return the phases of every slice that holds any."""
    coarse = np.random.default_rng(1).integers(1, 4, (26, 26)).astype(np.uint8)
    return np.kron(coarse, np.ones((79, 79), np.uint8))[: SHAPE[1], : SHAPE[2]]


def paint(window: Window, layer: Labels, index: int) -> None:
    """Paint some strokes of each phase, as the brush does."""
    target = truth()
    layer.brush_size = 40
    for phase in (1, 2, 3):
        layer.selected_label = phase
        # In the middle of the squares.
        inner = np.argwhere(target[39::79, 39::79] == phase)[:12] * 79 + 39
        for place in inner:
            layer.paint((index, *place), phase)
            window.wait(lambda: True)


def press(dock: QWidget, text: str) -> None:
    """Click a button."""
    (found,) = [b for b in dock.findChildren(QPushButton) if b.text() == text]
    assert found.isEnabled(), f"{text} cannot be pressed"
    found.click()


def label(window: Window) -> Labels:
    """Paint two slices, and give them roles."""
    viewer = window.viewer
    with window.step("open Label phases"):
        dock = window.dock("Label phases")
    with window.step("New labels layer"):
        press(dock, "New labels layer")
    layer = viewer.layers.selection.active
    assert isinstance(layer, Labels)
    for index, role in ((TRAIN, "Train"), (VALIDATION, "Validation")):
        with window.step(f"go to slice {index}"):
            viewer.dims.set_current_step(0, index)
        with window.step(f"paint slice {index}"):
            paint(window, layer, index)
        with window.step(f"mark {role}"):
            press(dock, role)
    return layer


def train(window: Window, painting: Labels) -> None:
    """Train until the end, the preview in view."""
    viewer = window.viewer
    with window.step("open Train LRCS-Net"):
        dock = window.dock("Train LRCS-Net")
        dock.setup.form.config = CONFIG
    known = set(viewer.layers)
    viewer.dims.set_current_step(0, TRAIN)
    with window.step("train to the first preview"):
        press(dock, "Train")
        window.wait(lambda: len(viewer.layers) > len(known) or not dock.is_busy)
    (preview,) = set(viewer.layers) - known or {None}
    assert preview is not None, dock.message
    assert np.asarray(preview.data[TRAIN]).all()
    with window.step("train on"):
        window.wait(lambda: not dock.is_busy)
    assert dock.message.startswith("Done"), dock.message
    for index in (TRAIN, VALIDATION):
        painted = np.asarray(painting.data[index])
        assert set(np.unique(painted)) == {0, 1, 2, 3}
        assert (painted == truth())[painted > 0].all()


def predict(window: Window, where: str) -> None:
    """Predict some slices, and look at what was predicted."""
    viewer = window.viewer
    with window.step("open Predict volume"):
        dock = window.dock("Predict volume")
        window.wait(lambda: dock.setup.model_choice.model is not None)
    dock.setup.region.setCurrentText("Some slices")
    dock.setup.range.setText(f"{PREDICTED.start}:{PREDICTED.stop}")
    dock.setup.where.setCurrentText(where)
    dock.setup.form["device"].value = "cpu"
    known = set(viewer.layers)
    viewer.dims.set_current_step(0, PREDICTED.start)
    with window.step(f"predict, {where}"):
        press(dock, "Predict")
        window.wait(lambda: not dock.is_busy)
    assert dock.message.startswith("Done"), dock.message
    (layer,) = set(viewer.layers) - known
    assert isinstance(layer, Labels)
    array = layer.data[0] if layer.multiscale else layer.data
    for index in PREDICTED:
        right = np.asarray(array[index]) == truth()
        assert right.mean() > 0.5, (index, right.mean())
    for index in (0, TRAIN, PREDICTED.start - 1, PREDICTED.stop, VALIDATION):
        assert not np.asarray(array[index]).any()


def look_in_3d(window: Window) -> None:
    """Let the viewer show 3D: what is too large for it is not read."""
    dock = window.dock("Label phases")
    layers = window.viewer.layers
    large = [x for x in layers if x.visible and not x.multiscale]
    with window.step("look in 3D, and back"):
        window.viewer.dims.ndisplay = 3
        window.wait(lambda: True)
        assert not any(layer.visible for layer in large)
        assert "would have to load all of" in dock.message
        window.viewer.dims.ndisplay = 2
    assert all(layer.visible for layer in large)


def main(folder: Path) -> None:
    """Go the whole way; prints what it cost."""
    QSettings.setPath(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder / "config")
    )
    path = folder / "scan.zarr"
    write_volume(path)
    window = Window()
    with window.step("open the volume"):
        (image,) = window.viewer.open(path, plugin="napari-lrcs")
    assert isinstance(image, Image)
    painting = label(window)
    train(window, painting)
    for where in ("In memory", "OME-Zarr file"):
        predict(window, where)
    look_in_3d(window)
    window.viewer.close()
    WorkerBase.await_workers()  # as `napari.run` does
    print(f"peak GiB: {_memory('VmHWM')}")  # noqa: T201


def _memory(name: str) -> float:
    """Read an amount of memory of this process, in GiB."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(name):
            return round(int(line.split()[1]) / 2**20, 3)
    raise AssertionError(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
