from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from clusters import Cluster
from napari_lrcs.__main__ import main
from napari_lrcs.classical import forest, samples
from napari_lrcs.classical.baselines import Method, fit_baseline
from napari_lrcs.classical.samples import Sample
from napari_lrcs.config import Axis
from napari_lrcs.distributed import connect
from napari_lrcs.inference import geometry
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.inference.segment import BaselineTask, segment_volume
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.opening import open_labels, open_to_share
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.mask import open_mask
from napari_lrcs.progress import Notice, PredictionEnded, PredictionStarted

PHASES = PhaseTable.named("dark", "bright")
LABELS = np.repeat(np.array([[[1] * 14 + [2] * 10]], np.uint8), 20, 0).repeat(12, 1)
GREY = (100 * LABELS + np.random.default_rng(0).normal(0, 3, LABELS.shape)).astype(
    np.float32
)
PAINTING = as_labels(as_volume(LABELS))


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "_SLAB_SLICES", 6)
    monkeypatch.setattr(forest, "_N_TREES", 8)


def task(method: Method = "otsu", **changes: Any) -> BaselineTask:
    image = as_volume(GREY, name="scan", voxel_size=(2.0, 1.0, 1.0), unit="um")
    given: dict[str, Any] = {"image": image, "phases": PHASES} | changes
    return BaselineTask(method=method, **given)


def segmented(given: BaselineTask) -> Any:
    result = MemoryResult(labels=np.zeros(given.image.shape, np.uint8))
    events = list(segment_volume(given, result=result))
    assert isinstance(events[0], PredictionStarted)
    assert isinstance(events[-1], PredictionEnded)
    return result.labels


@pytest.mark.parametrize(
    ("method", "axis"), [("otsu", "x"), ("k_means", "y"), ("forest", "z")]
)
def test_volume_is_segmented_slice_by_slice(method: Method, axis: Axis) -> None:
    across = "zyx".index(axis)
    planes, paintings = (np.moveaxis(array, across, 0) for array in (GREY, LABELS))

    labels = segmented(task(method, axis=axis, labels=PAINTING, train=(3, 5)))

    learnt = [Sample(image=planes[z], labels=paintings[z]) for z in (3, 5)]
    others = [Sample(image=planes[z]) for z in range(len(planes)) if z not in (3, 5)]
    chosen = learnt if method == "forest" else learnt + others
    fit = fit_baseline(chosen, method=method, n_phases=2)
    expected = [fit.predict(plane) for plane in planes]
    np.testing.assert_array_equal(np.moveaxis(labels, across, 0), expected)


def test_phases_are_ordered_as_they_are_painted() -> None:
    swapped = as_labels(as_volume(np.where(LABELS == 1, 2, 1).astype(np.uint8)))

    labels = segmented(task(labels=swapped, train=(3,)))

    np.testing.assert_array_equal(labels, 3 - LABELS)


def test_outside_the_field_of_view_nothing_counts_and_nothing_is_labelled() -> None:
    inside = np.ones(GREY.shape, np.bool_)
    inside[:, :4] = False
    grey = np.where(inside, GREY, np.nan).astype(np.float32)
    grey[:, 0] = 1e9

    labels = segmented(task(image=as_volume(grey), mask=as_volume(inside)))

    np.testing.assert_array_equal(labels, LABELS * inside)


def test_of_a_large_volume_some_slices_set_the_thresholds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(samples, "_SAMPLED_VOXELS", 4 * GREY[0].size)
    result = MemoryResult(labels=np.zeros(GREY.shape, np.uint8))

    events = list(segment_volume(task(), result=result))

    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert "4 of the 20 slices" in notice.text
    np.testing.assert_array_equal(result.labels, LABELS)


# ---- files ----


@pytest.mark.parametrize("name", ["seg.tif", "seg.zarr"])
def test_file_carries_phases_and_voxel_size(name: str, tmp_path: Path) -> None:
    out = tmp_path / name

    *_, ended = segment_volume(task(), result=DiskResult(labels=out))

    assert isinstance(ended, PredictionEnded)
    labels = open_labels(out)
    np.testing.assert_array_equal(labels.slab(0, 20), LABELS)
    assert labels.phases == PHASES
    assert (labels.voxel_size, labels.unit) == ((2.0, 1.0, 1.0), "micrometer")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_workers_give_the_same_labels_though_one_is_killed(
    cluster: Cluster, tmp_path: Path
) -> None:
    np.save(tmp_path / "scan.npy", GREY)
    np.save(tmp_path / "mask.npy", GREY < 205)
    out = tmp_path / "seg.tif"
    given = task(
        "forest",
        image=open_to_share(tmp_path / "scan.npy"),
        mask=open_mask(tmp_path / "mask.npy", shape=GREY.shape),
        labels=PAINTING,
        train=(3, 5),
    )

    with connect(cluster.address) as executor:
        others = Elsewhere(executor=executor, n_workers=2)
        events = segment_volume(given, result=DiskResult(labels=out), others=others)
        with closing(events):
            while not cluster.finished(out):
                next(events)
            cluster.workers[0].kill()
            left = list(events)

    np.testing.assert_array_equal(open_labels(out).slab(0, 20), segmented(given))
    assert cluster.finished(out) == [0, 6, 12, 18]
    (ended,) = (event for event in left if isinstance(event, PredictionEnded))
    assert ended.device == "2 workers"
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("n_events", [1, 12, 44])
def test_segmentation_that_is_closed_leaves_nothing(
    n_events: int, tmp_path: Path
) -> None:
    events = segment_volume(task(), result=DiskResult(labels=tmp_path / "seg.zarr"))
    for _ in range(n_events):
        next(events)

    events.close()

    assert not list(tmp_path.iterdir())


def test_segmentation_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "seg.tif"
    tifffile.imwrite(out, LABELS)
    before = out.read_bytes()
    grey = GREY.copy()
    grey[19] = np.nan

    with pytest.raises(ValueError, match="NaN"):
        list(segment_volume(task(image=as_volume(grey)), result=DiskResult(labels=out)))

    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


# ---- command line ----


def call(arguments: str) -> int:
    return main(arguments.split())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("image.tif", GREY)
    write_labels_tiff(Path("labels.tif"), [LABELS], shape=(20, 12, 24), phases=PHASES)
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ("--method otsu --n-phases 2", ("phase 1", "phase 2")),
        ("--method kmeans --n-phases 2 --axis y", ("phase 1", "phase 2")),
        ("--method fractions --fractions .583 .417 --mask m.tif", None),
        ("--method forest --labels labels.tif --train-z 3", PHASES.names),
    ],
)
def test_command_writes_a_segmentation(
    flags: str, names: tuple[str, ...] | None, place: Path
) -> None:
    tifffile.imwrite("m.tif", np.ones_like(LABELS))

    assert call(f"baseline image.tif {flags} --out seg.tif") == 0

    found = open_labels(place / "seg.tif")
    assert found.phases is not None
    assert names in (found.phases.names, None)
    # Blur spreads the step over a pixel or two.
    assert (found.slab(0, 20) == LABELS).mean() > 0.9


def test_command_takes_an_order_and_overwrites_when_asked(place: Path) -> None:
    command = "baseline image.tif --method otsu --n-phases 2 --order 2 1 --out seg.zarr"
    assert call(command) == 0

    assert call(command) == 2
    assert call(f"{command} --overwrite") == 0

    labels = open_labels(place / "seg.zarr").slab(0, 20)
    np.testing.assert_array_equal(labels, 3 - LABELS)
