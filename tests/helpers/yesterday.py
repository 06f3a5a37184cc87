"""A day of work on an image, to be restored the next day; run as a script, it lasts.

As a script it opens the image that is named, works on it, and goes on painting.
"""

import sys
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_lrcs.phases import ELECTRODE
from napari_lrcs.plugin.label.dock import LabelDock
from napari_lrcs.plugin.parts.layers.layers import RUN_KEY
from napari_lrcs.plugin.parts.layers.predicted import PredictedLayers, Region
from napari_lrcs.plugin.project.docks import open_dock
from napari_lrcs.plugin.segment.dock import SegmentDock


def work(viewer: napari.Viewer, image: Path) -> LabelDock:
    """Paint, choose run-1 though run-2 is offered, show a result, and look at a page.

    The runs and the result are expected in the workspace of the image.
    """
    folder = image.with_suffix(".lrcs")
    (layer,) = viewer.open(image, plugin="napari")
    dock = open_dock(viewer, "Segment volume")
    assert isinstance(dock, SegmentDock)
    page = dock.pages["Label"]
    assert isinstance(page, LabelDock)
    page.new_labels()
    page.slices.go_to(2)
    page.slices.mark("train")
    assert page.painting is not None
    painted = page.painting.layer
    painted.fill((2, 0, 0), 3)
    painted.paint((2, 20, 25), 1)
    painted.paint((3, 10, 10), 2)
    painted.undo()
    result = PredictedLayers(
        viewer,
        layer,
        phases=ELECTRODE,
        region=Region(axis="z"),
        path=folder / "segmentation-1.tif",
    )
    result.show(np.ones(painted.data.shape, np.uint8))
    layer.metadata[RUN_KEY] = folder / "run-1"
    layer.events.metadata()
    open_dock(viewer, "Compare segmentations")
    dock.show_step("Predict")
    return page


def _work_on(image: Path) -> None:
    page = work(napari.Viewer(show=True), image)
    assert page.painting is not None
    painted = page.painting.layer
    np.save(image.with_suffix(".npy"), np.asarray(painted.data[:4]))
    while '"Predict"' not in _read(image.with_suffix(".lrcs") / "project.json"):
        QApplication.processEvents()
    sys.stdout.write("saved\n")
    sys.stdout.flush()
    page.slices.go_to(4)
    for column in range(10**6):
        painted.paint((4, 5, column % 50), 1)
        QApplication.processEvents()
        time.sleep(0.01)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    _work_on(Path(sys.argv[1]))
