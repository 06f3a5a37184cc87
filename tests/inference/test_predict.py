import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import tifffile
import torch
import zarr
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_lrcs.arrays import Labels
from napari_lrcs.classical.specks import remove_specks
from napari_lrcs.config import Axis, PredictConfig, TrainConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.inference import geometry, predictor
from napari_lrcs.inference.predict import predict_slice, predict_volume
from napari_lrcs.inference.results import cleaning
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.inference.task import PredictTask, fingerprint
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.metrics.calibration import ConfidenceCurve
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.models.lrcsnet import LRCSNet
from napari_lrcs.models.registry import MODELS
from napari_lrcs.models.tiles import TiledNetwork
from napari_lrcs.preprocessing.mask import open_mask
from napari_lrcs.progress import (
    Notice,
    PredictEvent,
    PredictionEnded,
    PredictionStarted,
    Publishing,
    SlabPredicted,
    TilePredicted,
)
from scripts import Script

pytestmark = pytest.mark.usefixtures("one_thread")

MakeCheckpoint = Callable[..., Checkpoint]
Event = TypeVar("Event")

FLOAT32 = PredictConfig(device="cpu", precision="float32")
SHAPE = (11, 40, 56)
SLAB = 4


@pytest.fixture(autouse=True)
def _short_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "_SLAB_SLICES", SLAB)


def textured_volume(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.float32]:
    """Make particles with noise; mean 0, sd 1."""
    noise = np.random.default_rng(0).standard_normal(shape)
    volume = np.sign(ndimage.gaussian_filter(noise, (1, 4, 4))) + 0.3 * noise
    normalised: NDArray[np.float32] = (volume / volume.std()).astype(np.float32)
    return normalised


GREY = textured_volume()


@dataclass
class CountingArray:
    """A lazy array that counts how often each slice is read, or fails at one."""

    data: NDArray[Any] = field(default_factory=lambda: GREY)
    fails_at: int | None = None
    error: Exception = field(default_factory=lambda: MemoryError("no room"))

    def __post_init__(self) -> None:
        self.shape, self.dtype = self.data.shape, self.data.dtype
        self.n_reads = np.zeros(self.shape[0], np.int64)
        self.largest = 0

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        places = np.arange(self.shape[0])[key[0]]
        if self.fails_at in places:
            raise self.error
        self.n_reads[places] += 1
        self.largest = max(self.largest, len(places))
        return self.data[key]


def labels_of(
    grey: NDArray[Any] | Volume,
    checkpoint: Checkpoint,
    *,
    config: PredictConfig = FLOAT32,
    **options: Any,
) -> Labels:
    volume = grey if isinstance(grey, Volume) else as_volume(grey)
    result = MemoryResult(labels=np.zeros(volume.shape, np.uint8))
    list(predict_volume(volume, checkpoint, result=result, config=config, **options))
    return result.labels


def probabilities_by_hand(
    grey: NDArray[np.float32], checkpoint: Checkpoint
) -> NDArray[np.float64]:
    """Apply the network to one slice after the other, shape (K, z, y, x)."""
    n_context = checkpoint.config.network.context_slices
    padded = np.pad(grey, [(n_context, n_context), (0, 0), (0, 0)], mode="reflect")
    model = checkpoint.build()
    slices = []
    with torch.no_grad():
        for z in range(len(grey)):
            window = checkpoint.normalisation(padded[z : z + 2 * n_context + 1])
            slices.append(model(torch.from_numpy(window)[None]).softmax(dim=1)[0])
    return torch.stack(slices, dim=1).double().numpy()


def by_hand(grey: NDArray[np.float32], checkpoint: Checkpoint) -> Labels:
    most_probable = probabilities_by_hand(grey, checkpoint).argmax(axis=0)
    assert len(np.unique(most_probable)) == 3  # else any mistake would pass
    labels: Labels = (most_probable + 1).astype(np.uint8)
    return labels


def slice_of(
    work: Generator[PredictEvent, None, Labels],
    events: list[PredictEvent] | None = None,
) -> Labels:
    """Draw all events of a slice's prediction; return its labels."""
    while True:
        try:
            event = next(work)
        except StopIteration as ended:
            labels: Labels = ended.value
            return labels
        if events is not None:
            events.append(event)


def of_kind(events: list[PredictEvent], kind: type[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def test_a_zarr_that_is_removed_ends_the_prediction(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    grey = np.concatenate([GREY] * 3)  # more than is read ahead
    zarr.create_array(tmp_path / "scan.zarr", data=grey, chunks=(1, *SHAPE[1:]))
    result = MemoryResult(labels=np.zeros(grey.shape, np.uint8))
    events = predict_volume(
        open_volume(tmp_path / "scan.zarr"),
        make_checkpoint(),
        result=result,
        config=FLOAT32,
    )
    next(event for event in events if isinstance(event, SlabPredicted))

    shutil.rmtree(tmp_path / "scan.zarr")

    with pytest.raises(VolumeError, match=r"scan\.zarr was changed or removed"):
        list(events)


def stop_after(events: Iterator[PredictEvent], kind: type[Event], n: int = 1) -> None:
    with closing(events):  # type: ignore[type-var]  # generators close
        matching = (event for event in events if isinstance(event, kind))
        assert len(list(islice(matching, n))) == n


def read(path: Path) -> Labels:
    volume = open_volume(path)
    labels: Labels = volume.slab(0, volume.shape[0])
    return labels


# ---- the same labels, however they are computed ----


@pytest.mark.parametrize("model", sorted(MODELS))
def test_volume_is_predicted_as_slice_by_slice(
    model: str, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(model=model))

    np.testing.assert_array_equal(
        labels_of(GREY, checkpoint), by_hand(GREY, checkpoint)
    )


def test_context_at_the_ends_is_reflected(
    make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(context_slices=2))

    labels = labels_of(GREY, checkpoint)

    np.testing.assert_array_equal(labels, by_hand(GREY, checkpoint))


@pytest.mark.parametrize("n_slices", [1, 2, 3])
def test_volume_thinner_than_the_context_is_predicted(
    n_slices: int, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(context_slices=2))
    thin = GREY[:n_slices]

    labels = labels_of(thin, checkpoint)

    np.testing.assert_array_equal(labels, by_hand(thin, checkpoint))


@pytest.mark.parametrize("tile_size", [8, 24, 40])
def test_tiles_give_the_labels_of_whole_slices(
    tile_size: int, make_checkpoint: MakeCheckpoint
) -> None:
    grey = textured_volume((2, 150, 131))
    checkpoint = make_checkpoint()

    tiled = labels_of(
        grey, checkpoint, config=FLOAT32.with_changes(tile_size=tile_size)
    )

    np.testing.assert_array_equal(tiled, by_hand(grey, checkpoint))


def test_averaged_turns_follow_the_image_in_tiles_too(
    make_checkpoint: MakeCheckpoint,
) -> None:
    grey = textured_volume((2, 64, 96))
    checkpoint = make_checkpoint()
    config = FLOAT32.with_changes(average_turns=True)

    plain = labels_of(grey, checkpoint)
    labels = labels_of(grey, checkpoint, config=config)
    turned = labels_of(np.rot90(grey, axes=(1, 2)).copy(), checkpoint, config=config)
    tiled = labels_of(grey, checkpoint, config=config.with_changes(tile_size=24))

    def share_of_others(found: Labels) -> float:
        return float((found != labels).mean())

    assert share_of_others(np.rot90(turned, -1, axes=(1, 2))) < 1e-3
    assert share_of_others(tiled) < 1e-3
    assert share_of_others(plain) > 1e-2


def test_prediction_of_other_turns_is_not_continued(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    out, config = tmp_path / "out.zarr", FLOAT32.with_changes(average_turns=True)
    begun(make_checkpoint(), out)

    assert n_found_done(GREY, make_checkpoint(), out, config=config) == 0


@pytest.mark.parametrize("memory", [1, 2, 1000])
def test_memory_changes_batches_and_no_label(
    memory: int, make_checkpoint: MakeCheckpoint
) -> None:
    checkpoint = make_checkpoint()

    labels = labels_of(GREY, checkpoint, config=FLOAT32.with_changes(memory=memory))

    np.testing.assert_array_equal(labels, by_hand(GREY, checkpoint))


@pytest.mark.parametrize("slab", [1, 3, 100])
def test_slabs_change_no_label(
    slab: int, make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geometry, "_SLAB_SLICES", slab)
    checkpoint = make_checkpoint()

    labels = labels_of(GREY, checkpoint)

    np.testing.assert_array_equal(labels, by_hand(GREY, checkpoint))


@pytest.mark.parametrize(("axis", "place"), [("y", 1), ("x", 2)])
def test_other_axes_are_the_turned_volume(
    axis: Axis, place: int, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    config = tiny_config.with_changes(context_slices=1)
    along_z = make_checkpoint(config)
    across = replace(along_z, config=config.with_changes(axis=axis))
    turned = np.moveaxis(GREY, 0, place)

    labels = labels_of(turned, across)

    np.testing.assert_array_equal(
        np.moveaxis(labels, place, 0), labels_of(GREY, along_z)
    )


@pytest.mark.parametrize("changes", [{"median_size": 3}, {"unsharp_radius": 2.0}])
def test_filters_travel_with_the_model(
    changes: dict[str, Any], make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    plain = make_checkpoint(tiny_config)
    filtering = replace(plain, config=tiny_config.with_changes(**changes))

    labels = labels_of(GREY, filtering)

    filtered: NDArray[Any]
    if "median_size" in changes:
        filtered = ndimage.median_filter(GREY, 3, mode="mirror")
    else:
        blurred = ndimage.gaussian_filter(GREY, (0, 2, 2), mode="mirror")
        filtered = (GREY - np.float32(0.6) * blurred) / np.float32(0.4)
    expected = by_hand(filtered.astype(np.float32), plain)
    assert (labels != expected).mean() < 1e-3  # float32 rounds here and there
    assert (labels != labels_of(GREY, plain)).mean() > 0.01


def test_segmentpy_fault_7_grey_levels_are_normalised_as_in_training(
    make_checkpoint: MakeCheckpoint,
) -> None:
    checkpoint = make_checkpoint()
    scaled = replace(
        checkpoint,
        normalisation=replace(
            checkpoint.normalisation, low=97.0, high=103.0, mean=100.0
        ),
    )

    labels = labels_of(GREY + 100, scaled)

    assert (labels != labels_of(GREY, checkpoint)).mean() < 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64, ">f4"])
def test_grey_levels_of_any_type_give_the_same_labels(
    dtype: Any, make_checkpoint: MakeCheckpoint
) -> None:
    checkpoint = make_checkpoint()
    levels = np.clip(GREY * 30 + 100, 0, 255).astype(np.uint8)
    normalisation = replace(
        checkpoint.normalisation, low=0.0, high=255.0, mean=100.0, sd=30.0
    )
    checkpoint = replace(checkpoint, normalisation=normalisation)

    labels = labels_of(levels.astype(dtype), checkpoint)

    expected = by_hand(levels.astype(np.float32), checkpoint)
    np.testing.assert_array_equal(labels, expected)


def test_bf16_gives_nearly_the_same_labels(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = make_checkpoint()

    labels = labels_of(GREY, checkpoint, config=FLOAT32.with_changes(precision="bf16"))

    assert (labels == by_hand(GREY, checkpoint)).mean() > 0.9


# ---- parts of a volume ----


def test_chosen_slices_are_predicted_and_the_others_stay_zero(
    make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(context_slices=1))
    chosen = [9, 2, 3, 4, 2]

    labels = labels_of(GREY, checkpoint, slices=chosen)

    expected = by_hand(GREY, checkpoint)
    expected[np.setdiff1d(np.arange(len(GREY)), chosen)] = 0
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("slices", [[], [-1, 3], [0, 11]])
def test_slices_that_are_not_there_are_refused(
    slices: list[int], make_checkpoint: MakeCheckpoint
) -> None:
    with pytest.raises(ValueError, match="slices must lie between 0 and 10 along z"):
        labels_of(GREY, make_checkpoint(), slices=slices)


def test_outside_the_mask_stays_zero(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = make_checkpoint()
    mask = open_mask("cylinder", shape=SHAPE)
    assert mask is not None
    inside = mask.slab(0, len(GREY))
    # What lies outside may be anything, and must not spoil what lies inside.
    grey = np.where(inside, GREY, np.nan).astype(np.float32)

    labels = labels_of(grey, checkpoint, mask=mask)

    assert not labels[~inside].any()
    assert (labels[inside] > 0).all()


def test_mask_of_true_changes_nothing(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = make_checkpoint()
    mask = Volume(array=np.ones(SHAPE, np.bool_), name="mask")

    labels = labels_of(GREY, checkpoint, mask=mask)

    np.testing.assert_array_equal(labels, by_hand(GREY, checkpoint))


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_one_slice_is_predicted_as_within_the_volume(
    axis: Axis, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    config = tiny_config.with_changes(axis=axis, context_slices=1)
    checkpoint = make_checkpoint(config)
    mask = open_mask("cylinder", shape=SHAPE)
    events: list[PredictEvent] = []

    labels = slice_of(
        predict_slice(as_volume(GREY), checkpoint, 5, config=FLOAT32, mask=mask),
        events,
    )

    whole = labels_of(GREY, checkpoint, mask=mask)
    expected = np.take(whole, 5, axis="zyx".index(axis))
    np.testing.assert_array_equal(labels, expected)
    assert isinstance(events[0], PredictionStarted)
    assert of_kind(events, TilePredicted)[-1].n_done == 1


def test_specks_go_from_one_slice_as_from_a_volume_of_it_alone(
    make_checkpoint: MakeCheckpoint,
) -> None:
    checkpoint = make_checkpoint()

    labels = slice_of(
        predict_slice(
            as_volume(GREY), checkpoint, 2, config=FLOAT32.with_changes(min_size=8)
        )
    )

    raw = by_hand(GREY, checkpoint)[2:3]
    expected = remove_specks(raw, min_size=8)
    assert (expected != raw).any()
    np.testing.assert_array_equal(labels, expected[0])


def test_a_slice_that_is_not_there_is_refused(make_checkpoint: MakeCheckpoint) -> None:
    with pytest.raises(ValueError, match="slices must lie between 0 and 10 along z"):
        slice_of(predict_slice(as_volume(GREY), make_checkpoint(), 11))


# ---- confidence, probabilities and files ----


def test_confidence_and_probabilities_agree_with_the_labels(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint()
    result = DiskResult(
        labels=tmp_path / "labels.tif",
        confidence=tmp_path / "confidence.tif",
        probabilities=tmp_path / "probabilities.zarr",
    )

    list(predict_volume(as_volume(GREY), checkpoint, result=result, config=FLOAT32))

    expected = probabilities_by_hand(GREY, checkpoint)
    probabilities = np.asarray(
        zarr.open_array(tmp_path / "probabilities.zarr" / "0", mode="r")[:]
    )
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)
    np.testing.assert_array_equal(
        read(tmp_path / "labels.tif"), expected.argmax(axis=0) + 1
    )
    confidence = read(tmp_path / "confidence.tif").astype(np.float64)
    np.testing.assert_allclose(confidence, 255 * expected.max(axis=0), atol=0.51)


@pytest.mark.parametrize("axis", ["z", "y", "x"])
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_files_hold_what_memory_does(
    suffix: str,
    axis: Axis,
    make_checkpoint: MakeCheckpoint,
    tiny_config: TrainConfig,
    tmp_path: Path,
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(axis=axis))
    volume = as_volume(GREY, voxel_size=(2.0, 0.5, 0.5), unit="micrometer")
    result = DiskResult(labels=tmp_path / f"out{suffix}")

    events = list(predict_volume(volume, checkpoint, result=result, config=FLOAT32))

    written = open_volume(result.labels)
    np.testing.assert_array_equal(
        written.slab(0, len(GREY)), labels_of(GREY, checkpoint)
    )
    assert (written.voxel_size, written.unit) == ((2.0, 0.5, 0.5), "micrometer")
    assert written.phases == checkpoint.phases
    ended = events[-1]
    assert isinstance(ended, PredictionEnded)
    assert (ended.out, ended.shape, ended.n_voxels) == (
        result.labels,
        SHAPE,
        GREY.size,
    )


def test_confidence_into_memory(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = make_checkpoint()
    result = MemoryResult(
        labels=np.zeros(SHAPE, np.uint8), confidence=np.zeros(SHAPE, np.uint8)
    )

    list(predict_volume(as_volume(GREY), checkpoint, result=result, config=FLOAT32))

    assert result.confidence is not None
    expected = 255 * probabilities_by_hand(GREY, checkpoint).max(axis=0)
    np.testing.assert_allclose(result.confidence, expected, atol=0.51)


@pytest.mark.parametrize("temperature", [0.3, 3.0])
@pytest.mark.parametrize(
    "config",
    [
        FLOAT32,
        FLOAT32.with_changes(tile_size=24),
        FLOAT32.with_changes(precision="bf16"),
    ],
    ids=["whole", "tiled", "bf16"],
)
def test_temperature_changes_the_confidence_and_no_label(
    config: PredictConfig, temperature: float, make_checkpoint: MakeCheckpoint
) -> None:
    checkpoint = make_checkpoint()
    calibrated = replace(checkpoint, temperature=temperature)
    result = MemoryResult(
        labels=np.zeros(SHAPE, np.uint8), confidence=np.zeros(SHAPE, np.uint8)
    )

    list(predict_volume(as_volume(GREY), calibrated, result=result, config=config))

    assert result.confidence is not None
    plain = labels_of(GREY, checkpoint, config=config)
    np.testing.assert_array_equal(result.labels, plain)
    powers = probabilities_by_hand(GREY, checkpoint) ** (1 / temperature)
    expected = 255 * (powers / powers.sum(axis=0)).max(axis=0)
    if config.precision == "float32":
        np.testing.assert_allclose(result.confidence, expected, atol=0.51)


def test_curve_changes_the_confidence_alone(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = make_checkpoint()
    curve = ConfidenceCurve(rising=0.5, falling=2.0, shift=-0.25)
    curved = replace(checkpoint, confidence_curve=curve)
    result = MemoryResult(
        labels=np.zeros(SHAPE, np.uint8), confidence=np.zeros(SHAPE, np.uint8)
    )

    list(predict_volume(as_volume(GREY), curved, result=result, config=FLOAT32))

    p = probabilities_by_hand(GREY, checkpoint).max(axis=0)
    odds = p**0.5 / (1 - p) ** 2 * np.exp(-0.25)
    np.testing.assert_array_equal(result.labels, labels_of(GREY, checkpoint))
    assert result.confidence is not None
    np.testing.assert_allclose(result.confidence, 255 * odds / (1 + odds), atol=0.52)
    assert fingerprint(curved) != fingerprint(checkpoint)


def test_temperature_calibrates_all_probabilities(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint()
    result = DiskResult(
        labels=tmp_path / "labels.tif", probabilities=tmp_path / "probabilities.zarr"
    )

    list(
        predict_volume(
            as_volume(GREY),
            replace(checkpoint, temperature=2.0),
            result=result,
            config=FLOAT32,
        )
    )

    powers = np.sqrt(probabilities_by_hand(GREY, checkpoint))
    written = np.asarray(
        zarr.open_array(tmp_path / "probabilities.zarr" / "0", mode="r")[:]
    )
    np.testing.assert_allclose(written, powers / powers.sum(axis=0), atol=1e-3)


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_specks_are_removed_as_from_the_whole(
    suffix: str, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint()
    out = tmp_path / f"out{suffix}"

    list(
        predict_volume(
            as_volume(GREY),
            checkpoint,
            result=DiskResult(labels=out),
            config=FLOAT32.with_changes(min_size=8),
        )
    )

    expected = remove_specks(by_hand(GREY, checkpoint), min_size=8)
    np.testing.assert_array_equal(read(out), expected)


def test_specks_are_removed_in_memory(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = make_checkpoint()

    labels = labels_of(GREY, checkpoint, config=FLOAT32.with_changes(min_size=8))

    expected = remove_specks(by_hand(GREY, checkpoint), min_size=8)
    np.testing.assert_array_equal(labels, expected)


# ---- events, and what the consumer may rely on ----


def test_events_come_in_order(make_checkpoint: MakeCheckpoint) -> None:
    result = MemoryResult(labels=np.zeros(SHAPE, np.uint8))

    events = list(
        predict_volume(
            as_volume(GREY), make_checkpoint(), result=result, config=FLOAT32
        )
    )

    started, *middle, ended = events
    assert isinstance(started, PredictionStarted)
    assert (started.n_slices, started.n_done, started.n_tiles) == (11, 0, 1)
    assert (started.device, started.precision) == ("cpu", "float32")
    assert isinstance(ended, PredictionEnded)
    assert ended.out is None
    slabs = of_kind(middle, SlabPredicted)
    assert [(s.start, s.stop, s.n_done) for s in slabs] == [
        (0, 4, 4), (4, 8, 8), (8, 11, 11),
    ]  # fmt: skip
    progress = [t.n_done for t in of_kind(middle, TilePredicted)]
    assert progress == sorted(progress)
    assert progress[-1] == 11


def test_arithmetic_of_the_consumer_is_untouched_between_events(
    make_checkpoint: MakeCheckpoint,
) -> None:
    result = MemoryResult(labels=np.zeros(SHAPE, np.uint8))
    config = FLOAT32.with_changes(precision="bf16")

    for _ in predict_volume(
        as_volume(GREY), make_checkpoint(), result=result, config=config
    ):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_global_random_numbers_are_untouched(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = make_checkpoint()
    before = torch.get_rng_state()

    labels_of(GREY, checkpoint)

    assert torch.equal(torch.get_rng_state(), before)


def test_lazy_array_is_read_slab_by_slab_each_once(
    make_checkpoint: MakeCheckpoint,
) -> None:
    array = CountingArray()

    labels = labels_of(as_volume(array), make_checkpoint())

    np.testing.assert_array_equal(labels, labels_of(GREY, make_checkpoint()))
    assert array.largest <= SLAB
    # Five slices also tell this volume from another one; the middle one goes with the
    # result, too.
    assert array.n_reads.tolist() == [2, 1, 2, 1, 1, 3, 1, 2, 1, 1, 2]


def test_context_and_filters_read_a_margin_more(
    make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    array = CountingArray()
    config = tiny_config.with_changes(context_slices=1, median_size=3)

    labels_of(as_volume(array), make_checkpoint(config))

    assert array.largest <= SLAB + 2 * 2
    middle = len(array.n_reads) // 2
    assert np.delete(array.n_reads, middle).max() <= 3
    assert array.n_reads[middle] <= 4


def test_no_thread_is_left(make_checkpoint: MakeCheckpoint) -> None:
    before = threading.active_count()

    stop_after(
        predict_volume(
            as_volume(GREY),
            make_checkpoint(),
            result=MemoryResult(labels=np.zeros(SHAPE, np.uint8)),
            config=FLOAT32,
        ),
        TilePredicted,
    )

    assert threading.active_count() == before


# ---- interrupted ----


@pytest.mark.parametrize("suffix", [".zarr", ".tif"])
@pytest.mark.parametrize(("kind", "n"), [(SlabPredicted, 1), (TilePredicted, 3)])
def test_stopped_prediction_is_continued(
    suffix: str,
    kind: type[PredictEvent],
    n: int,
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
) -> None:
    checkpoint = make_checkpoint()
    out = tmp_path / f"out{suffix}"
    stop_after(
        predict_volume(
            as_volume(GREY),
            checkpoint,
            result=DiskResult(labels=out),
            config=FLOAT32.with_changes(tile_size=40),
        ),
        kind,
        n,
    )
    assert not out.exists()
    array = CountingArray()

    events = list(
        predict_volume(
            as_volume(array),
            checkpoint,
            result=DiskResult(labels=out),
            config=FLOAT32,
        )
    )

    started, ended = events[0], events[-1]
    assert isinstance(started, PredictionStarted)
    assert isinstance(ended, PredictionEnded)
    assert started.n_done in (4, 8)
    assert ended.n_voxels == (11 - started.n_done) * 40 * 56
    assert array.n_reads[: started.n_done].sum() <= 4  # of the five samples
    np.testing.assert_array_equal(read(out), by_hand(GREY, checkpoint))
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def begun(checkpoint: Checkpoint, out: Path) -> None:
    events = predict_volume(
        as_volume(GREY), checkpoint, result=DiskResult(labels=out), config=FLOAT32
    )
    stop_after(events, SlabPredicted)


def n_found_done(
    grey: NDArray[np.float32], checkpoint: Checkpoint, out: Path, **options: Any
) -> int:
    events = predict_volume(
        as_volume(grey),
        checkpoint,
        result=DiskResult(labels=out),
        **{"config": FLOAT32, **options},
    )
    with closing(events):  # type: ignore[type-var]  # generators close
        started = next(events)
    assert isinstance(started, PredictionStarted)
    return started.n_done


def test_prediction_of_another_model_is_not_continued(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    begun(make_checkpoint(seed=0), out)

    assert n_found_done(GREY, make_checkpoint(seed=1), out) == 0


def test_prediction_with_another_normalisation_is_not_continued(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    begun(make_checkpoint(), out)
    normalisation = replace(make_checkpoint().normalisation, mean=1.0)

    other = replace(make_checkpoint(), normalisation=normalisation)

    assert n_found_done(GREY, other, out) == 0


def test_prediction_of_another_volume_is_not_continued(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    begun(make_checkpoint(), out)

    assert n_found_done(GREY + 1, make_checkpoint(), out) == 0


def test_prediction_of_other_slices_or_another_mask_is_not_continued(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    for options in ({"slices": [0, 1]}, {"mask": open_mask("cylinder", shape=SHAPE)}):
        begun(make_checkpoint(), out)

        assert n_found_done(GREY, make_checkpoint(), out, **options) == 0


@pytest.mark.parametrize("z", [0, 5, 10])
def test_volume_or_mask_that_was_edited_is_not_continued(
    z: int, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    inside = np.ones(SHAPE, np.bool_)
    checkpoint = make_checkpoint()
    grey, edited = GREY.copy(), inside.copy()
    grey[z, 0, 0] += 1
    edited[z, 0, 0] = False
    mask, other_mask = (Volume(array=m, name="mask") for m in (inside, edited))
    stop_after(
        predict_volume(
            as_volume(GREY),
            checkpoint,
            result=DiskResult(labels=out),
            config=FLOAT32,
            mask=mask,
        ),
        SlabPredicted,
    )

    assert n_found_done(GREY, checkpoint, out, mask=mask) == 4
    assert n_found_done(grey, checkpoint, out, mask=mask) == 0
    begun(checkpoint, out)
    assert n_found_done(GREY, checkpoint, out, mask=other_mask) == 0


@pytest.mark.parametrize("axis", ["z", "y"])
@pytest.mark.parametrize("z", range(11))
def test_mask_that_was_edited_anywhere_is_another(
    z: int, axis: Axis, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(axis=axis))
    inside = np.ones(SHAPE, np.bool_)
    edited = inside.copy()
    edited[z, 0, 0] = False

    one, other = (
        PredictTask(
            volume=as_volume(GREY),
            checkpoint=checkpoint,
            mask=Volume(array=mask, name="mask"),
        ).identity()
        for mask in (inside, edited)
    )

    assert one != other


def test_file_that_was_written_anew_is_not_continued(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    scan = tmp_path / "scan.npy"
    np.save(scan, GREY)
    edited = GREY.copy()
    edited[1] += 1  # in none of the sampled slices
    begun_with = PredictTask(volume=open_volume(scan), checkpoint=make_checkpoint())

    identity = begun_with.identity()
    same = replace(begun_with, volume=open_volume(scan)).identity()
    np.save(scan, edited)
    os.utime(scan, ns=(0, 0))  # a coarse clock may not have moved on
    other = replace(begun_with, volume=open_volume(scan)).identity()

    assert same == identity
    assert other != identity
    json.dumps(identity)


@pytest.mark.parametrize("kind", ["zarr", "tiff"])
def test_folder_that_was_written_anew_is_not_continued(
    kind: str, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    edited = GREY.copy()
    edited[1] += 1  # in none of the sampled slices
    scan = tmp_path / "scan"
    scan.mkdir()
    if kind == "zarr":
        chunks = (1, *GREY.shape[1:])
        array = zarr.create_array(scan, shape=SHAPE, chunks=chunks, dtype=GREY.dtype)
        array[:] = GREY
    else:
        for z, plane in enumerate(GREY):
            tifffile.imwrite(scan / f"{z:02}.tif", plane)
    begun_with = PredictTask(volume=open_volume(scan), checkpoint=make_checkpoint())

    identity = begun_with.identity()
    (scan / ".DS_Store").touch()
    same = replace(begun_with, volume=open_volume(scan)).identity()
    slice_1 = scan / ("c/1/0/0" if kind == "zarr" else "01.tif")
    if kind == "zarr":
        array[1] = edited[1]
    else:
        tifffile.imwrite(slice_1, edited[1])
    os.utime(slice_1, ns=(0, 0))  # a coarse clock may not have moved on
    other = replace(begun_with, volume=open_volume(scan)).identity()

    assert same == identity
    assert other != identity
    json.dumps(identity)


def test_samples_lie_within_the_slices_that_are_asked_for(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    grey = GREY.copy()
    grey[7] += 1
    events = predict_volume(
        as_volume(GREY),
        make_checkpoint(),
        result=DiskResult(labels=tmp_path / "out.zarr"),
        config=FLOAT32,
        slices=[3, 7],
    )
    stop_after(events, SlabPredicted)

    assert (
        n_found_done(grey, make_checkpoint(), tmp_path / "out.zarr", slices=[3, 7]) == 0
    )


def test_publishing_is_told_of_and_can_be_stopped(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "COPY_SLICES", 3)
    checkpoint = make_checkpoint()

    def events() -> Iterator[PredictEvent]:
        return predict_volume(
            as_volume(GREY),
            checkpoint,
            result=DiskResult(labels=tmp_path / "out.tif"),
            config=FLOAT32.with_changes(min_size=8),
        )

    stop_after(events(), Publishing, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["out.tif.partial"]
    told = list(events())

    assert of_kind(told, PredictionStarted)[0].n_done == 11
    shares = [event.share for event in of_kind(told, Publishing)]
    assert shares == [3 / 11, 6 / 11, 9 / 11, 1]
    expected = remove_specks(by_hand(GREY, checkpoint), min_size=8)
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), expected)


_CHILD = """
import sys
from pathlib import Path

import torch

from napari_lrcs.config import PredictConfig
from napari_lrcs.io.opening import open_volume
from napari_lrcs.inference import geometry, predictor
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results import cleaning
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.models.checkpoint import load_checkpoint

torch.set_num_threads(1)
geometry._SLAB_SLICES = 4
folder = Path(sys.argv[1])
for event in predict_volume(
    open_volume(folder / "grey.npy"),
    load_checkpoint(folder / "model.safetensors"),
    result=DiskResult(labels=folder / "out.zarr"),
    config=PredictConfig(device="cpu", precision="float32"),
):
    print(type(event).__name__, flush=True)
"""


@pytest.mark.slow
def test_killed_prediction_is_continued(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint()
    grey = textured_volume((80, 256, 256))
    np.save(tmp_path / "grey.npy", grey)
    save_checkpoint(tmp_path / "model.safetensors", checkpoint)
    out = tmp_path / "out.zarr"
    with Script(_CHILD, tmp_path) as child:
        slabs = (line for line in child.stdout if line.startswith("SlabPredicted"))
        assert len(list(islice(slabs, 5))) == 5
        child.kill()
        rest = child.stdout.read()
        code = child.wait()
    assert code != 0
    assert "PredictionEnded" not in rest
    assert not out.exists()
    array = CountingArray(grey)
    # Where the grey levels come from counts, the array that holds them does not.
    volume = replace(open_volume(tmp_path / "grey.npy"), array=array)

    events = list(
        predict_volume(
            volume, checkpoint, result=DiskResult(labels=out), config=FLOAT32
        )
    )

    started = events[0]
    assert isinstance(started, PredictionStarted)
    assert started.n_done >= 20
    assert array.n_reads[: started.n_done].sum() <= 5  # the samples
    np.testing.assert_array_equal(read(out), labels_of(grey, checkpoint))


# ---- out of memory ----


def limit_pixels(monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    logits = LRCSNet.logits

    def limited(self: LRCSNet, x: Tensor) -> Tensor:
        if x.shape[0] * x.shape[2] * x.shape[3] > largest:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return logits(self, x)

    monkeypatch.setattr(LRCSNet, "logits", limited)


@pytest.mark.parametrize("largest", [2 * 152 * 136, 152 * 136, 150 * 136])
def test_lack_of_memory_is_met_by_smaller_parts_and_this_is_said(
    largest: int, make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = textured_volume((5, 150, 131))
    checkpoint = make_checkpoint()
    expected = by_hand(grey, checkpoint)
    limit_pixels(monkeypatch, largest)
    result = MemoryResult(labels=np.zeros(grey.shape, np.uint8))

    events = list(
        predict_volume(as_volume(grey), checkpoint, result=result, config=FLOAT32)
    )

    texts = [n.text for n in of_kind(events, Notice) if n.kind == "out_of_memory"]
    assert texts
    assert all("out of memory on cpu; continuing with" in text for text in texts)
    np.testing.assert_array_equal(result.labels, expected)


def test_lack_of_memory_on_the_gpu_ends_on_the_cpu(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = textured_volume((2, 150, 131))
    checkpoint = make_checkpoint()
    fill = TiledNetwork._fill_batch
    networks: list[TiledNetwork] = []

    def fail_on_gpu(network: TiledNetwork, *arguments: Any) -> Iterator[float]:
        if network not in networks:
            networks.append(network)
        if network is networks[0]:
            raise MemoryError
        return fill(network, *arguments)

    # A GPU without a byte to spare, for a network that stays where it is.
    monkeypatch.setattr(TiledNetwork, "_fill_batch", fail_on_gpu)
    monkeypatch.setattr(predictor, "resolve_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(predictor, "for_prediction", lambda model, *_: model)
    monkeypatch.setattr(predictor, "release_memory", lambda _: None)
    monkeypatch.setattr(predictor, "_free_memory", lambda _: 2**29)
    result = MemoryResult(labels=np.zeros(grey.shape, np.uint8))

    events = list(
        predict_volume(as_volume(grey), checkpoint, result=result, config=FLOAT32)
    )

    texts = [notice.text for notice in of_kind(events, Notice)]
    assert texts[-1].endswith("continuing, more slowly, on the CPU")
    assert of_kind(events, PredictionStarted)[0].device == "cuda"
    assert of_kind(events, PredictionEnded)[0].device == "cpu"
    np.testing.assert_array_equal(result.labels, by_hand(grey, checkpoint))


def test_no_memory_for_the_smallest_tile_is_an_error(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_checkpoint()
    limit_pixels(monkeypatch, 0)

    with pytest.raises(MemoryError):
        labels_of(GREY, checkpoint)


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: LRCSNet, x: Tensor) -> Tensor:
        raise RuntimeError(f"no kernel for {tuple(x.shape)}")

    checkpoint = make_checkpoint()
    monkeypatch.setattr(LRCSNet, "logits", fail)

    with pytest.raises(RuntimeError, match="no kernel for"):
        labels_of(GREY, checkpoint)


# ---- bad input, full disks ----


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """A result that is there already."""
    path = tmp_path / "out.zarr"
    create_ome_zarr(path, shape=(2, 3, 4), chunks=(2, 3, 4))[:] = 7
    return path


def assert_untouched(former: Path) -> None:
    np.testing.assert_array_equal(read(former), np.full((2, 3, 4), 7))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("z", [0, 9])
def test_volume_that_is_not_finite_is_refused_and_a_former_result_stays(
    z: int, value: float, make_checkpoint: MakeCheckpoint, former: Path
) -> None:
    grey = GREY.copy()
    grey[z, 3, 5] = value

    with pytest.raises(
        VolumeError, match=rf"holds NaN or infinity \(1 voxels, .* slice z={z}\)"
    ):
        list(
            predict_volume(
                as_volume(grey),
                make_checkpoint(),
                result=DiskResult(labels=former),
                config=FLOAT32,
            )
        )

    assert_untouched(former)


def test_full_disk_leaves_a_former_result_and_a_part_to_continue_from(
    make_checkpoint: MakeCheckpoint, former: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_checkpoint()
    set_item = zarr.Array.__setitem__
    n_writes = iter(range(100))

    def fill_disk(array: Any, *arguments: Any) -> None:
        if next(n_writes) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        set_item(array, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", fill_disk)
        with pytest.raises(OSError, match="No space left on device"):
            list(
                predict_volume(
                    as_volume(GREY),
                    checkpoint,
                    result=DiskResult(labels=former),
                    config=FLOAT32,
                )
            )
    assert_untouched(former)

    events = list(
        predict_volume(
            as_volume(GREY),
            checkpoint,
            result=DiskResult(labels=former),
            config=FLOAT32,
        )
    )

    assert of_kind(events, PredictionStarted)[0].n_done == 4
    np.testing.assert_array_equal(read(former), by_hand(GREY, checkpoint))


def test_error_of_the_reading_thread_surfaces(make_checkpoint: MakeCheckpoint) -> None:
    before = threading.active_count()

    with pytest.raises(MemoryError, match="no room"):
        labels_of(as_volume(CountingArray(fails_at=9)), make_checkpoint())

    assert threading.active_count() == before


def test_damaged_file_is_told_of(make_checkpoint: MakeCheckpoint) -> None:
    array = CountingArray(fails_at=9, error=OSError("bad block"))

    with pytest.raises(VolumeError, match="bad block"):
        labels_of(as_volume(array, name="scan.h5"), make_checkpoint())


def test_absent_device_is_refused_before_anything_is_written(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    result = DiskResult(labels=tmp_path / "out.zarr")

    with pytest.raises(ValueError, match="device must be"):
        next(
            predict_volume(
                as_volume(GREY),
                make_checkpoint(),
                result=result,
                config=PredictConfig(device="tpu"),
            )
        )

    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_of_the_gpu_is_released(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = make_checkpoint()
    before = torch.cuda.memory_allocated()

    labels = labels_of(GREY, checkpoint, config=FLOAT32.with_changes(device="cuda"))

    assert torch.cuda.memory_allocated() == before
    assert (labels == by_hand(GREY, checkpoint)).mean() > 0.999


def test_config_of_a_prediction_is_json() -> None:
    text = json.dumps(FLOAT32.to_dict())

    assert PredictConfig.from_dict(json.loads(text)) == FLOAT32
