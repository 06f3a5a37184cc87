"""The warning of slices that are no neighbours, without a window."""

from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from scipy import ndimage

from napari_lrcs.plugin.painting.distant_slices import DistantSlicesLine

pytestmark = pytest.mark.gui


def test_slices_that_are_no_neighbours_are_told(qtbot: Any) -> None:
    noise = np.random.default_rng(0).standard_normal((12, 40, 40))
    alike = Image(ndimage.gaussian_filter(noise, 2), name="alike")
    line = DistantSlicesLine("measure slices one by one.")
    qtbot.addWidget(line)

    with qtbot.waitSignal(line.compared):
        line.follow(Image(noise, name="noise"))
    told = line.text()
    with qtbot.waitSignal(line.compared):
        line.follow(alike)

    assert told == (
        "Neighbouring slices of noise resemble each other hardly more than distant "
        "ones: measure slices one by one."
    )
    assert line.isHidden()
    line.follow(Image(noise[0], name="flat"))
    assert line.isHidden()
    line.disconnect_events()
