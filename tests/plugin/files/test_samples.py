from collections.abc import Callable

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels
from napari.utils.color import ColorValue

from napari_lrcs.phases import ELECTRODE, UNPAINTED

pytestmark = pytest.mark.gui


def test_sample_opens_as_a_volume_and_its_phases(
    make_napari_viewer: Callable[..., Viewer],
) -> None:
    viewer = make_napari_viewer(show=True)

    viewer.open_sample("napari-lrcs", "nmc_electrode")

    image, labels = viewer.layers
    assert isinstance(image, Image)
    assert isinstance(labels, Labels)
    _assert_same_place(image, labels)
    _assert_contrast_holds_nearly_all_voxels(image)
    _assert_phases_are_named_and_coloured(labels)


def _assert_same_place(image: Image, labels: Labels) -> None:
    assert image.data.shape == labels.data.shape
    np.testing.assert_array_equal(image.scale, labels.scale)
    assert (image.scale < 1).all()
    assert {str(unit) for unit in (*image.units, *labels.units)} == {"micrometer"}
    assert image.axis_labels == labels.axis_labels == ("z", "y", "x")


def _assert_contrast_holds_nearly_all_voxels(image: Image) -> None:
    low, high = image.contrast_limits
    inside = np.mean((image.data >= low) & (image.data <= high))
    assert 0.99 < inside < 1


def _assert_phases_are_named_and_coloured(labels: Labels) -> None:
    assert labels.get_color(UNPAINTED) is None  # transparent
    for phase in ELECTRODE:
        np.testing.assert_allclose(
            labels.get_color(phase.label), ColorValue(phase.colour)
        )
    names = dict(zip(labels.features["index"], labels.features["phase"], strict=True))
    assert names == {0: "unpainted", 1: "pore", 2: "CBD", 3: "NMC"}
