"""Take the tutorial's pictures: every dock, in both themes and two sizes.

xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py [FOLDER]
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import napari
import numpy as np
from napari import Viewer
from napari.layers import Labels
from PIL import Image as Picture
from qtpy.QtCore import QSettings
from qtpy.QtWidgets import QApplication, QPushButton

from napari_lrcs.plugin.train.preview import PREVIEW_NAME

SIZES = ((1400, 900), (1100, 700))
TRAIN, VALIDATION, SHOWN = 8, 24, 40
NMC = 3


def main(folder: Path) -> None:
    with sample_in_napari() as viewer:
        for name, show in (
            ("label", show_labelling),
            ("train", show_training),
            ("predict", show_prediction),
            ("measure", show_measures),
            ("segment", show_all_steps),
            ("compare", show_comparison),
            ("perturb", show_perturbation),
            ("study", show_study),
            ("live", show_live_training),
            ("check", show_check),
        ):
            dock, widget = show(viewer)
            photograph(viewer, folder / name)
            close_dock(viewer, dock, widget)


@contextmanager
def sample_in_napari() -> Iterator[Viewer]:
    """Open the sample in a viewer with nobody's settings, its truth hidden."""
    with TemporaryDirectory() as home:
        ini, user = QSettings.Format.IniFormat, QSettings.Scope.UserScope
        QSettings.setPath(ini, user, home)
        os.environ["XDG_DATA_HOME"] = home
        viewer = napari.Viewer()
        viewer.open_sample("napari-lrcs", "nmc_electrode")
        viewer.layers[1].visible = False
        yield viewer
        viewer.close()


def show_labelling(viewer: Viewer) -> tuple[Any, Any]:
    dock, widget = open_dock(viewer, "Label phases")
    press(widget, "New labels layer")
    truth, painting = viewer.layers[1], viewer.layers[-1]
    assert isinstance(painting, Labels)
    for index, role in ((TRAIN, "Train"), (VALIDATION, "Validation")):
        viewer.dims.set_current_step(0, index)
        wait(0.2)
        scribble(painting, np.asarray(truth.data[index]), index)
        press(widget, role)
    viewer.dims.set_current_step(0, TRAIN)
    return dock, widget


def show_training(viewer: Viewer) -> tuple[Any, Any]:
    dock, widget = open_dock(viewer, "Train LRCS-Net")
    photograph(viewer, FOLDER / "setup")
    press(widget, "Train")
    wait_until(lambda: "Epoch 10" in widget.progress.text, seconds=900)
    return dock, widget


def show_prediction(viewer: Viewer) -> tuple[Any, Any]:
    for layer in list(viewer.layers)[1:]:
        layer.visible = False
    viewer.dims.set_current_step(0, SHOWN)
    dock, widget = open_dock(viewer, "Predict volume")
    wait_until(lambda: button(widget, "Predict").isEnabled())
    wait(3)
    press(widget, "Predict")
    wait_until(lambda: not widget.is_busy, seconds=900)
    return dock, widget


def show_measures(viewer: Viewer) -> tuple[Any, Any]:
    dock, widget = open_dock(viewer, "Measure phases")
    widget.form.layers.check(viewer.layers[1], viewer.layers[-1])
    widget.form.particles.setCurrentText("NMC")
    press(widget, "Measure")
    wait_until(lambda: not widget.is_busy, seconds=900)
    return dock, widget


def show_all_steps(viewer: Viewer) -> tuple[Any, Any]:
    dock, widget = open_dock(viewer, "Segment volume")
    wait(3)
    for step in ("Predict", "Measure"):
        widget.show_step(step)
        wait(1)
    page = widget.pages["Measure"]
    press(page, "Measure")
    wait_until(lambda: not page.is_busy, seconds=900)
    return dock, widget


def show_comparison(viewer: Viewer) -> tuple[Any, Any]:
    dock, widget = open_dock(viewer, "Compare segmentations")
    widget.form.target.layer = viewer.layers[1]
    widget.form.predicted.layer = viewer.layers[-1]
    viewer.layers[-1].visible = False
    press(widget, "Compare")
    wait_until(lambda: not widget.is_busy)
    press(widget, "Show differences")
    return dock, widget


def show_perturbation(viewer: Viewer) -> tuple[Any, Any]:
    for layer in list(viewer.layers)[1:]:
        layer.visible = False
    viewer.dims.set_current_step(0, SHOWN)
    dock, widget = open_dock(viewer, "Perturb labels")
    widget.setup.labels.layer = viewer.layers[1]
    press(widget, "Suggest")
    wait_until(lambda: not widget.is_busy)
    wait_until(lambda: not widget.preview.previewer.is_busy)
    press(widget, "▸ Interface histogram")
    press(widget, "Count interfaces")
    wait_until(lambda: not widget.is_busy, seconds=900)
    viewer.layers.selection.active = viewer.layers[-1]
    viewer.layers["Perturbed preview"].visible = False
    return dock, widget


def show_study(viewer: Viewer) -> tuple[Any, Any]:
    for layer in list(viewer.layers)[1:]:
        layer.visible = False
    dock, widget = open_dock(viewer, "Uncertainty study")
    widget.setup.labels_choice.layer = viewer.layers[1]
    widget.setup.slices.train.setText("8:18")
    widget.setup.slices.test.setText(str(SHOWN))
    widget.setup.study["n_members"].value = 4
    widget.setup.study["n_repeats"].value = 2
    widget.setup.training.form["n_epochs"].value = 2
    press(widget, "Suggest 10%")
    wait_until(lambda: not widget.is_busy)
    press(widget, "Run")
    wait_until(lambda: not widget.is_busy, seconds=1800)
    return dock, widget


def show_live_training(viewer: Viewer) -> tuple[Any, Any]:
    """Paint a stroke while the network learns; of those open, the painting is first."""
    truth, painting = viewer.layers[1:3]
    for layer in list(viewer.layers)[1:]:
        layer.visible = layer is painting
    viewer.dims.set_current_step(0, TRAIN)
    dock, widget = open_dock(viewer, "Train LRCS-Net")
    press(widget, "Train as I paint")
    wait_until(lambda: PREVIEW_NAME in viewer.layers, seconds=300)
    wait(20)
    scribble(painting, np.asarray(truth.data[TRAIN]), TRAIN + 1, strokes=slice(3))
    wait(20)
    return dock, widget


def show_check(viewer: Viewer) -> tuple[Any, Any]:
    """Paint five patches of twenty, and a part of the next."""
    truth = np.asarray(viewer.layers[1].data)
    for layer in list(viewer.layers)[1:]:
        layer.visible = False
    dock, widget = open_dock(viewer, "Check segmentation")
    press(widget, "Draw patches")
    wait_until(lambda: widget.session is not None and not widget.is_busy)
    for _ in range(5):
        fill_patch(widget.session.patches, truth)
        widget.tools.done_button.click()
        wait_until(lambda: not widget.is_busy)
    fill_patch(widget.session.patches, truth, only=NMC)
    wait(2)
    return dock, widget


def fill_patch(patches: Any, truth: Any, *, only: int | None = None) -> None:
    """Paint a check patch with the truth, or one phase of it."""
    labels = truth[patches.region]
    painted = labels == only if only else labels > 0
    patches.layer.data_setitem(np.nonzero(painted), labels[painted])


def scribble(
    painting: Labels, target: Any, index: int, *, strokes: slice = slice(None)
) -> None:
    """Paint strips across all phases, as a person with a steady hand would."""
    rng = np.random.default_rng(index)
    inside = np.zeros(target.shape, bool)
    places = rng.integers(0, np.subtract(target.shape, 24), (24, 2))
    for row, column in places[strokes]:
        inside[row : row + 6, column : column + 24] = True
    rows, columns = np.nonzero(inside)
    slices = np.full(len(rows), index)
    painting.data_setitem((slices, rows, columns), target[inside])


def photograph(viewer: Viewer, place: Path) -> None:
    for theme in ("dark", "light"):
        viewer.theme = theme
        for width, height in SIZES:
            viewer.window.resize(width, height)
            wait(1.5)
            viewer.reset_view()
            wait(0.5)
            shot = viewer.screenshot(canvas_only=False, flash=False)
            picture = Picture.fromarray(shot[..., :3]).quantize(
                256, method=Picture.Quantize.MAXCOVERAGE, dither=Picture.Dither.NONE
            )
            name = f"{place.name}-{theme}-{width}.png"
            picture.save(place.with_name(name), optimize=True)
    viewer.theme = "dark"
    viewer.window.resize(*SIZES[0])
    wait(0.5)


def open_dock(viewer: Viewer, name: str) -> tuple[Any, Any]:
    return viewer.window.add_plugin_dock_widget("napari-lrcs", name)


def close_dock(viewer: Viewer, dock: Any, widget: Any) -> None:
    for page in getattr(widget, "pages", {"": widget}).values():
        page.stop()
        wait_until(lambda page=page: not page.is_busy)
    viewer.window.remove_dock_widget(dock)


def button(widget: Any, text: str) -> Any:
    return next(b for b in widget.findChildren(QPushButton) if b.text() == text)


def press(widget: Any, text: str) -> None:
    button(widget, text).click()
    wait(0.5)


def wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def wait_until(is_so: Callable[[], bool], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError("what was to be pictured did not come")
        wait(0.1)


if __name__ == "__main__":
    FOLDER = Path(
        sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images"
    )
    FOLDER.mkdir(exist_ok=True)
    main(FOLDER)
