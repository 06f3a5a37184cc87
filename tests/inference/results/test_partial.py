import os
from pathlib import Path

from napari_lrcs.inference.results.partial import last_unfinished


def test_prediction_that_was_interrupted_last_is_found(tmp_path: Path) -> None:
    for name, at in (("a.zarr", 1000), ("b.zarr", 3000), ("c.tif", 4000)):
        identity = tmp_path / f"{name}.partial" / "identity.json"
        identity.parent.mkdir()
        identity.touch()
        os.utime(identity, (at, at))
    (tmp_path / "d.zarr.partial").mkdir()

    assert last_unfinished(tmp_path, ".zarr") == tmp_path / "b.zarr"
    assert last_unfinished(tmp_path, ".tif") == tmp_path / "c.tif"


def test_nothing_is_unfinished_where_nothing_is(tmp_path: Path) -> None:
    assert last_unfinished(tmp_path / "nowhere", ".tif") is None
