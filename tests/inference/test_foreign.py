"""Volumes that are foreign to a network; what it was trained on is written by hand."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_lrcs.config import PredictConfig, TrainConfig
from napari_lrcs.inference.foreign import (
    PredictedPhases,
    warn_of_grey_levels,
    warn_of_voxel_size,
)
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from napari_lrcs.models.header import NetworkInfo
from napari_lrcs.models.trained_on import TrainedOn, grey_quantiles
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.preprocessing.mask import open_mask
from napari_lrcs.preprocessing.normalisation import fit_normalisation
from napari_lrcs.progress import Notice, PredictionEnded

DATA = Path(__file__).parents[3] / "shared" / "data"
GREY = np.random.default_rng(0).normal(1000, 50, (9, 24, 32)).astype(np.float32)


def network(
    trained: NDArray[np.generic] = GREY[:1], *, fractions: tuple[float, ...] = ()
) -> NetworkInfo:
    """Describe a network that was trained on some slices."""
    slices = [plane.ravel().astype(np.float32) for plane in trained]
    normalisation = fit_normalisation(slices)
    return NetworkInfo(
        config=TrainConfig(),
        phases=ELECTRODE,
        normalisation=normalisation,
        trained_on=TrainedOn(
            grey_levels=grey_quantiles(slices, normalisation), fractions=fractions
        ),
    )


def warned(array: NDArray[np.generic], known: NetworkInfo) -> list[str]:
    volume = as_volume(array, name="scan.tif")
    return [notice.text for notice in warn_of_grey_levels(volume, known)]


def test_the_distance_is_in_standard_deviations_of_the_training() -> None:
    known = network()
    assert known.trained_on is not None
    shifted = [GREY[0].ravel() + 25]

    distance = known.trained_on.distance_to(
        grey_quantiles(shifted, known.normalisation)
    )

    assert distance == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(
    ("offset", "factor", "is_foreign"),
    [(0, 1, False), (25, 1, False), (50, 1, True), (-50, 1, True), (0, 0.5, True)],
)
def test_grey_levels_that_lie_elsewhere_are_foreign(
    offset: float, factor: float, *, is_foreign: bool
) -> None:
    assert bool(warned(GREY * factor + offset, network())) == is_foreign


def test_the_warning_names_what_was_found_and_expected_and_what_to_do() -> None:
    (text,) = warned(GREY / 1000, network())

    assert text.startswith("the grey levels of scan.tif (0.8")
    assert "far from those that the network was trained on (8" in text
    assert "paint a slice of it, and start a training from this network" in text


def test_only_what_is_to_be_predicted_counts() -> None:
    volume, known = (
        as_volume(np.where(np.arange(9) < 5, 1, 9)[:, None, None] * GREY),
        (network()),
    )
    mask = np.zeros(GREY.shape, bool)
    mask[:5] = True
    inside = open_mask(None, shape=GREY.shape) or as_volume(mask)

    assert warn_of_grey_levels(volume, known)
    assert not warn_of_grey_levels(volume, known, slices=range(5))
    assert not warn_of_grey_levels(volume, known, mask=inside)


def test_a_network_that_does_not_know_its_training_does_not_warn() -> None:
    old = replace(network(), trained_on=None)
    found = PredictedPhases(old)
    found.count(np.ones((2, 4, 4), np.uint8), None)

    assert warned(GREY / 1000, old) == []
    assert found.warn_after("scan.tif") == []


def test_another_voxel_size_is_foreign() -> None:
    known = replace(network(), voxel_size=(1.0, 1.0, 1.0), unit="micrometer")
    volume = Volume(array=GREY, name="scan", voxel_size=(3, 3, 3), unit="micrometer")

    (notice,) = warn_of_voxel_size(volume, known)

    assert notice.text.startswith(
        "the network was trained at 1 µm voxels, but this image has 3 µm voxels"
    )
    assert not warn_of_voxel_size(replace(volume, voxel_size=(1, 1, 1)), known)


def test_phases_whose_share_is_another_are_named() -> None:
    phases = PredictedPhases(network(fractions=(0.4, 0.12, 0.48)))
    labels = np.full((2, 10, 10), 2, np.uint8)
    labels[:, 0] = 1
    labels[:, 1, 0] = 3

    phases.count(labels, None)

    (notice,) = phases.warn_after("scan.tif")
    assert notice.text.startswith(
        "pore covers 10% of scan.tif (40% where the network was trained), "
        "CBD 89% (12%), NMC 1% (48%): check the result; if it is wrong, "
    )


def test_shares_scatter_from_slice_to_slice() -> None:
    phases = PredictedPhases(network(fractions=(0.4, 0.12, 0.48)))
    labels = np.repeat(np.array([1, 2, 3], np.uint8), [50, 20, 30]).reshape(1, 10, 10)

    phases.count(labels, None)

    assert phases.warn_after("scan.tif") == []


def test_outside_the_field_of_view_no_phase_counts() -> None:
    phases = PredictedPhases(network(fractions=(0.5, 0.0, 0.5)))
    labels = np.full((1, 10, 10), 2, np.uint8)
    labels[:, :4] = [1, 3] * 5
    inside = np.zeros(labels.shape, bool)
    inside[:, :4] = True

    phases.count(labels, inside)

    assert phases.warn_after("scan.tif") == []


def test_a_prediction_warns_before_and_after(
    make_checkpoint: Callable[..., Checkpoint],
) -> None:
    known = network(fractions=(0.0, 0.0, 1.0))
    checkpoint = replace(
        make_checkpoint(),
        normalisation=known.normalisation,
        trained_on=known.trained_on,
    )
    volume = as_volume(GREY / 3, name="scan.tif")
    result = MemoryResult(labels=np.zeros(GREY.shape, np.uint8))

    events = list(
        predict_volume(
            volume, checkpoint, result=result, config=PredictConfig(device="cpu")
        )
    )

    ended = events[-1]
    assert isinstance(ended, PredictionEnded)
    told = [event.text for event in events if isinstance(event, Notice)]
    assert tuple(told) == ended.foreign
    assert "grey levels of scan.tif" in told[0]
    # The share itself depends on how a processor rounds.
    assert re.search(r"phase 3 2\d% \(100%\)", told[-1])
    assert isinstance(events[1], Notice)


def test_a_checkpoint_keeps_what_it_was_trained_on(
    make_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    known = network(fractions=(0.4, 0.12, 0.48)).trained_on
    file = tmp_path / "network.safetensors"

    save_checkpoint(file, replace(make_checkpoint(), trained_on=known))

    assert load_checkpoint(file).trained_on == known


def test_fractions_of_other_phases_are_refused(
    make_checkpoint: Callable[..., Checkpoint],
) -> None:
    with pytest.raises(ValueError, match="expected fractions of 3 phases, got 2"):
        replace(make_checkpoint(), trained_on=network(fractions=(0.5, 0.5)).trained_on)


@pytest.mark.parametrize(
    ("trained", "predicted", "is_foreign"),
    [
        ("nmc-electrode", "nmc-electrode", False),
        ("soc-nickel-ysz", "soc-nickel-ysz", False),
        ("isbi-membrane", "isbi-membrane", False),
        ("nmc-electrode", "nmc-real-a", True),
        ("nmc-real-a", "nmc-electrode", True),
        ("nmc-electrode", "soc-nickel-ysz", True),
    ],
)
def test_real_volumes(trained: str, predicted: str, *, is_foreign: bool) -> None:
    if not DATA.is_dir():
        pytest.skip("needs the real data")
    known, other = (
        tifffile.imread(DATA / f"{name}-raw.tif") for name in (trained, predicted)
    )

    found = [warned(other[-9:], network(known[z][None])) for z in (0, 2, 4)]

    assert [bool(texts) for texts in found] == [is_foreign] * 3
