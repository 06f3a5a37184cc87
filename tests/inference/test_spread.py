import pickle
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from clusters import Cluster
from napari_lrcs.arrays import Labels
from napari_lrcs.config import PredictConfig
from napari_lrcs.distributed import ClusterExecutor, connect
from napari_lrcs.errors import ClusterError, LrcsError
from napari_lrcs.inference import elsewhere, geometry
from napari_lrcs.inference.geometry import Slab
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.inference.series import predict_series
from napari_lrcs.inference.spread import predict_volume_spread
from napari_lrcs.inference.task import PredictTask
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.opening import open_labels, open_to_share, open_volume
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from napari_lrcs.preprocessing.mask import open_mask
from napari_lrcs.progress import PredictionEnded, PredictionStarted, SlabPredicted
from scripts import Script

pytestmark = pytest.mark.usefixtures("one_thread")

FLOAT32 = PredictConfig(device="cpu", precision="float32")
SHAPE = (50, 40, 56)
SLAB = 2
STARTS = list(range(0, 50, 2))
GREY = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


@pytest.fixture(autouse=True)
def _short_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "_SLAB_SLICES", SLAB)


@pytest.fixture(scope="module")
def model(
    make_checkpoint: Callable[..., Checkpoint], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Save a network and a volume."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_checkpoint(path, make_checkpoint())
    np.save(path.with_name("grey.npy"), GREY)
    return path


@pytest.fixture(scope="module")
def volume(model: Path) -> Volume:
    return open_to_share(model.with_name("grey.npy"))


@pytest.fixture(scope="module")
def labels(model: Path, volume: Volume) -> Labels:
    """Predict in this process."""
    result = MemoryResult(labels=np.zeros(SHAPE, np.uint8))
    list(predict_volume(volume, load_checkpoint(model), result=result, config=FLOAT32))
    return result.labels


def spread_events(
    model: Path, out: Path, executor: ClusterExecutor, **options: Any
) -> Iterator[Any]:
    task = PredictTask(
        volume=open_to_share(model.with_name("grey.npy")),
        checkpoint=load_checkpoint(model),
        config=FLOAT32,
        **options,
    )
    others = Elsewhere(executor=executor, n_workers=2)
    return predict_volume_spread(task, result=DiskResult(labels=out), others=others)


def read(path: Path) -> NDArray[Any]:
    found = open_volume(path)
    return found.slab(0, found.shape[0])


def until_some_slabs(events: Iterator[Any], cluster: Cluster, out: Path) -> list[Any]:
    """Draw events until three slabs are there."""
    drawn = []
    while len(cluster.finished(out)) < 3:
        drawn.append(next(events))
    return drawn


# ---- without faults ----


@pytest.mark.parametrize("suffix", [".zarr", ".tif"])
def test_workers_give_the_labels_of_this_process(
    suffix: str, cluster: Cluster, model: Path, labels: Labels, tmp_path: Path
) -> None:
    out = tmp_path / f"out{suffix}"

    with connect(cluster.address) as executor:
        events = list(spread_events(model, out, executor))

    np.testing.assert_array_equal(read(out), labels)
    assert cluster.finished(out) == STARTS
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    started, ended = events[0], events[-1]
    assert isinstance(started, PredictionStarted)
    assert isinstance(ended, PredictionEnded)
    assert (started.device, started.n_done, started.n_slices) == ("2 workers", 0, 50)
    assert ended.n_voxels == GREY.size
    slabs = [event for event in events if isinstance(event, SlabPredicted)]
    assert sorted(slab.start for slab in slabs) == STARTS
    assert [slab.n_done for slab in slabs] == [*STARTS[1:], 50]


def test_workers_read_slices_and_mask_and_write_all_outputs(
    cluster: Cluster, model: Path, volume: Volume, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(model)
    np.save(tmp_path / "mask.npy", GREY > -1)
    given: dict[str, Any] = {
        "config": FLOAT32.with_changes(min_size=4),
        "slices": (0, 1, 2, 5, 7, 8, 40),
        "mask": open_mask(tmp_path / "mask.npy", shape=SHAPE),
    }
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()

    def result_in(folder: Path) -> DiskResult:
        return DiskResult(
            labels=folder / "l.zarr",
            confidence=folder / "c.tif",
            probabilities=folder / "p.zarr",
        )

    with connect(cluster.address) as executor:
        task = PredictTask(volume=volume, checkpoint=checkpoint, **given)
        others = Elsewhere(executor=executor, n_workers=2)
        list(predict_volume_spread(task, result=result_in(there), others=others))
    list(predict_volume(volume, checkpoint, result=result_in(here), **given))

    for name in ("l.zarr", "c.tif"):
        np.testing.assert_array_equal(read(there / name), read(here / name))
    here_array, there_array = (
        zarr.open_array(folder / "p.zarr" / "0", mode="r") for folder in (here, there)
    )
    np.testing.assert_array_equal(there_array[:], here_array[:])


def test_slabs_of_one_chunk_stay_together() -> None:
    slabs = [Slab(start=i, stop=i + 1) for i in (0, 2, 3, 4, 9)]

    parts = elsewhere.parts_of(slabs, depth=4, others=workers(4))

    assert [[s.start for s in part] for part in parts] == [[0, 2, 3], [4], [9]]


@pytest.mark.parametrize(
    ("n", "n_workers", "most", "expected"),
    [
        (25, 2, 8, [7, 5, 4, 3, 2, 1, 1, 1, 1]),
        (25, 1, 8, [8, 8, 5, 2, 1, 1]),
        (3, 0, 8, [2, 1]),  # a worker may yet come
        (0, 2, 8, []),
    ],
)
def test_work_is_split_into_ever_smaller_parts(
    n: int, n_workers: int, most: int, expected: list[int]
) -> None:
    parts = list(workers(n_workers).split(n, most=most))

    assert [len(part) for part in parts] == expected
    assert [i for part in parts for i in part] == list(range(n))


def workers(n: int) -> Elsewhere:
    return Elsewhere(executor=ThreadPoolExecutor(), n_workers=n)


# ---- refused ----


def test_volume_in_memory_is_refused(
    cluster: Cluster, model: Path, tmp_path: Path
) -> None:
    large = np.zeros((2**11, 32, 32), np.uint8)
    task = PredictTask(volume=as_volume(large), checkpoint=load_checkpoint(model))
    result = DiskResult(labels=tmp_path / "out.zarr")

    with connect(cluster.address) as executor:
        others = Elsewhere(executor=executor, n_workers=2)
        with pytest.raises(ValueError, match="is in memory, where other processes"):
            list(predict_volume_spread(task, result=result, others=others))

    assert not list(tmp_path.iterdir())


def test_worker_that_sees_another_image_is_refused(
    cluster: Cluster, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    np.save(tmp_path / "other.npy", GREY[::-1])
    other = pickle.dumps((open_to_share(tmp_path / "other.npy"), None))
    monkeypatch.setattr("pickle.dumps", lambda _: other)

    with (
        connect(cluster.address) as executor,
        pytest.raises(LrcsError, match=r"reads another other\.npy"),
    ):
        list(spread_events(model, tmp_path / "out.zarr", executor))

    assert {path.name for path in tmp_path.iterdir()} == {"other.npy"}


# ---- what dies ----


def test_killed_worker_is_replaced_by_the_other(
    cluster: Cluster, model: Path, labels: Labels, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"

    with connect(cluster.address) as executor:
        events = spread_events(model, out, executor)
        until_some_slabs(events, cluster, out)
        cluster.workers[0].kill()
        list(events)

    np.testing.assert_array_equal(read(out), labels)
    assert cluster.finished(out) == STARTS


def test_series_goes_on_when_a_worker_is_killed(
    cluster: Cluster, model: Path, tmp_path: Path
) -> None:
    images, out = [tmp_path / "t0.npy", tmp_path / "t1.npy"], tmp_path / "out"
    np.save(images[0], GREY[:20])
    np.save(images[1], GREY[20:40])
    results = {str(i): DiskResult(labels=out / f"{i.stem}.zarr") for i in images}
    checkpoint = load_checkpoint(model)

    with connect(cluster.address) as executor:
        series = predict_series(
            results,
            checkpoint,
            config=FLOAT32,
            others=Elsewhere(executor=executor, n_workers=2),
        )
        for image, events in series:
            if image == str(images[1]):
                until_some_slabs(events, cluster, out / "t1.zarr")
                cluster.workers[0].kill()
            list(events)

    for path in images:
        result = MemoryResult(labels=np.zeros((20, *SHAPE[1:]), np.uint8))
        volume = open_volume(path)
        list(predict_volume(volume, checkpoint, result=result, config=FLOAT32))
        np.testing.assert_array_equal(read(out / f"{path.stem}.zarr"), result.labels)
        assert cluster.finished(out / f"{path.stem}.zarr") == STARTS[:10]
    assert sorted(path.name for path in out.iterdir()) == ["t0.zarr", "t1.zarr"]


_DRIVER = """
import sys
from pathlib import Path

from napari_lrcs.inference import geometry
from napari_lrcs.__main__ import main

geometry._SLAB_SLICES = 2
sys.exit(main(sys.argv[1:]))
"""


def test_killed_driver_is_continued_without_doing_a_slab_twice(
    cluster: Cluster, model: Path, labels: Labels, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    words = ["predict", model.with_name("grey.npy"), model, "--out", out]
    words += ["--device", "cpu", "--precision", "float32"]
    with Script(_DRIVER, *words, "--cluster", cluster.address) as driver:
        while len(cluster.finished(out)) < 3:
            assert driver.is_running
        driver.kill()
        driver.wait()

    with connect(cluster.address) as executor:
        events = list(spread_events(model, out, executor))

    started = events[0]
    assert isinstance(started, PredictionStarted)
    assert 6 <= started.n_done < 50
    np.testing.assert_array_equal(read(out), labels)
    assert cluster.finished(out) == STARTS
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_stopped_prediction_lets_nobody_write_any_more(
    cluster: Cluster, model: Path, labels: Labels, volume: Volume, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    with connect(cluster.address) as executor:
        events = spread_events(model, out, executor)
        with closing(events):  # type: ignore[type-var]  # generators close
            until_some_slabs(events, cluster, out)
        finished = cluster.finished(out)

        shutil.move(tmp_path / "out.zarr.partial", tmp_path / "moved")
        assert executor.submit(sum, [1]).result() == 1
        assert [path.name for path in tmp_path.iterdir()] == ["moved"]
        shutil.move(tmp_path / "moved", tmp_path / "out.zarr.partial")

    checkpoint, result = load_checkpoint(model), DiskResult(labels=out)
    told = list(predict_volume(volume, checkpoint, result=result, config=FLOAT32))

    assert isinstance(told[0], PredictionStarted)
    assert told[0].n_done == SLAB * len(finished)
    np.testing.assert_array_equal(read(out), labels)


def test_killed_scheduler_is_one_line_and_the_prediction_goes_on_without(
    cluster: Cluster, model: Path, labels: Labels, volume: Volume, tmp_path: Path
) -> None:
    out = tmp_path / "out.zarr"
    assert cluster.scheduler is not None
    with connect(cluster.address) as executor:
        events = spread_events(model, out, executor)
        until_some_slabs(events, cluster, out)
        cluster.scheduler.kill()
        with pytest.raises(ClusterError, match="does not answer any more") as raised:
            list(events)
    n_done = len(cluster.finished(out))

    checkpoint, result = load_checkpoint(model), DiskResult(labels=out)
    told = list(predict_volume(volume, checkpoint, result=result, config=FLOAT32))

    assert cluster.address in str(raised.value)
    assert isinstance(told[0], PredictionStarted)
    assert told[0].n_done == SLAB * n_done >= 6
    np.testing.assert_array_equal(open_labels(out).slab(0, 50), labels)
