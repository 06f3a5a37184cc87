"""What computes: the choice in the docks, and what follows from it in their jobs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QApplication, QLabel

from napari_lrcs import distributed
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.plugin.files.reader import choosing
from napari_lrcs.plugin.parts.computing import compute_on
from napari_lrcs.plugin.parts.computing.cluster import Cluster, Connecting
from napari_lrcs.plugin.parts.computing.compute_on import ComputeOn
from napari_lrcs.plugin.parts.layers.layers import volume_of
from napari_lrcs.plugin.parts.workers import Events

pytestmark = pytest.mark.gui

HERE, LOCAL, DASK = range(3)
GREY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def make_row(qapp: QApplication) -> Iterator[Callable[[], ComputeOn]]:
    del qapp
    made: list[ComputeOn] = []

    def make() -> ComputeOn:
        made.append(ComputeOn())
        return made[-1]

    yield make
    for row in made:
        row.deleteLater()
    made.clear()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def row(make_row: Callable[[], ComputeOn]) -> ComputeOn:
    return make_row()


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.npy"
    np.save(path, GREY)
    return path


def opened(path: Path, *, plugin: str = "napari") -> Image:
    (layer,) = ViewerModel().open(str(path), plugin=plugin)
    assert isinstance(layer, Image)
    return layer


# ---- the choice ----


def test_the_choice_names_the_cluster_and_the_file(row: ComputeOn, scan: Path) -> None:
    image = opened(scan)
    found = [row.cluster(image)]
    row.where.setCurrentIndex(LOCAL)
    found.append(row.cluster(image))
    row.where.setCurrentIndex(DASK)
    row.address.setText(" tcp://head:8786 ")
    found.append(row.cluster(image, mask=opened(scan)))

    assert found == [
        None,
        Cluster(address="local", image=str(scan)),
        Cluster(address="tcp://head:8786", image=str(scan), mask=str(scan)),
    ]


def test_one_of_several_volumes_is_named_with_its_file(
    row: ComputeOn, tmp_path: Path
) -> None:
    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        file["raw"], file["filtered"] = GREY, GREY + 1
    with choosing("/filtered"):
        layer = opened(path, plugin="napari-lrcs")
    row.where.setCurrentIndex(LOCAL)

    cluster = row.cluster(layer)

    assert cluster is not None
    np.testing.assert_array_equal(open_volume(cluster.image).slab(0, 2), GREY + 1)


def test_what_cannot_be_sent_is_refused(row: ComputeOn, scan: Path) -> None:
    row.where.setCurrentIndex(LOCAL)
    with pytest.raises(ValueError, match=r"noise is in memory.*save it"):
        row.cluster(Image(GREY, name="noise"))

    row.where.setCurrentIndex(DASK)
    with pytest.raises(ValueError, match=r"no address.*tcp://host:8786"):
        row.cluster(opened(scan))


def test_the_choice_is_remembered(make_row: Callable[[], ComputeOn]) -> None:
    row, later, after_an_update = make_row(), make_row(), make_row()
    row.where.setCurrentIndex(DASK)
    row.address.setText("scheduler.json")

    later.restore(row.settings())
    after_an_update.restore({"where": "somewhere"})

    assert later.settings() == {"where": "dask", "address": "scheduler.json"}
    assert not later.address.isHidden()
    assert not after_an_update.is_elsewhere


def test_nothing_is_chosen_while_work_is_done(row: ComputeOn) -> None:
    row.set_busy(True)
    busy = row.where.isEnabled()
    row.set_busy(False)

    assert (busy, row.where.isEnabled()) == (False, True)


def test_without_dask_the_choice_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, make_row: Callable[[], ComputeOn]
) -> None:
    monkeypatch.setattr(compute_on, "find_spec", lambda _: None)

    row = make_row()
    row.restore({"where": "local"})

    assert not row.where.isEnabled()
    assert not row.is_elsewhere
    assert any("napari-lrcs[cluster]" in text for text in texts_in_sight(row))


def texts_in_sight(row: ComputeOn) -> list[str]:
    return [label.text() for label in row.findChildren(QLabel) if not label.isHidden()]


# ---- in the thread of a job ----


class Connection:
    """Stands for a cluster that takes its time to be there."""

    n_workers = 0

    def __init__(self) -> None:
        self.log: list[object] = []

    def check_files(self, read: Any, *, folder: Path) -> None:
        self.log.append(([path.name for path in read], folder))

    @contextmanager
    def __call__(self, address: str) -> Iterator["Connection"]:
        time.sleep(0.3)
        self.log.append(address)
        try:
            yield self
        finally:
            self.log.append("closed")


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    made = Connection()
    monkeypatch.setattr(distributed, "connect", made)
    return made


def begun(image: Volume, mask: Any, executor: Any) -> Events:
    assert mask is None
    assert executor.log[-1] != "closed"
    yield image.array


def test_events_come_from_where_files_are_read(
    connection: Connection, scan: Path, tmp_path: Path
) -> None:
    layer = opened(scan)
    layer.name = "renamed"
    cluster = Cluster(address="tcp://head:1", image=str(scan))
    events = list(
        cluster.events(begun, image=volume_of(layer), mask=None, folder=tmp_path)
    )

    *connecting, notice, array = events
    assert set(connecting) == {Connecting("tcp://head:1")}
    assert "no worker has joined tcp://head:1 yet" in notice.text
    assert array.path == str(scan)
    assert connection.log == ["tcp://head:1", (["scan.npy"], tmp_path), "closed"]


def test_a_connection_that_nobody_waits_for_is_closed(
    connection: Connection, scan: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    cluster = Cluster(address="local", image=str(scan))
    events = cluster.events(begun, image=as_volume(GREY), mask=None, folder=tmp_path)

    next(events)
    events.close()

    assert not connection.log
    qtbot.waitUntil(lambda: connection.log == ["local", "closed"])


@pytest.mark.parametrize("change", [np.invert, np.transpose, np.float32])
def test_a_layer_that_is_not_its_file_is_refused(
    change: Callable[[Any], Any],
    connection: Connection,
    scan: Path,
    tmp_path: Path,
) -> None:
    cluster = Cluster(address="local", image=str(scan))
    shown = as_volume(change(GREY), name="scan")

    with pytest.raises(
        VolumeError, match=r"scan no longer shows what is in .*scan.npy"
    ):
        list(cluster.events(begun, image=shown, mask=None, folder=tmp_path))

    assert not connection.log
