"""The list of labels layers to check, without a window."""

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import Qt

from napari_lrcs.plugin.painting.layer_checks import LayerChecks
from napari_lrcs.plugin.parts.layers.kinds import Kind, marked

pytestmark = pytest.mark.gui


def test_checking_an_image_of_labels_makes_it_labels_that_are_checked(
    qtbot: Any,
) -> None:
    stripes = (np.arange(216) % 3).reshape(3, 8, 9).astype(np.uint8)
    viewer = ViewerModel()
    own = viewer.add_layer(Labels(stripes, name="own"))
    viewer.add_layer(Image(stripes, name="truth"))
    previews: tuple[Kind, ...] = ("training preview", "perturbed preview")
    for kind in previews:  # not offered
        viewer.add_layer(Labels(stripes, name=kind, metadata=marked(kind)))
    checks = LayerChecks(viewer.layers, one_shape=False, propose=lambda _: own)
    qtbot.addWidget(checks)
    rows = [item.text() for row in range(checks.count()) if (item := checks.item(row))]

    row = checks.item(1)
    assert row is not None
    with qtbot.waitSignal(checks.changed):
        row.setCheckState(Qt.CheckState.Checked)

    assert rows == ["own", "truth (an image: use as labels)"]
    assert [layer.name for layer in checks.layers] == ["own", "truth"]
    assert all(isinstance(layer, Labels) for layer in viewer.layers)
    checks.connections.disconnect_events()
