import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.opening import open_to_share
from napari_lrcs.preprocessing.mask import as_mask

GREY = np.arange(10_000, dtype=np.uint16).reshape(4, 50, 50)


def test_a_shared_volume_is_sent_as_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File("scan.h5", "w") as file:
        file["raw"] = GREY
    sent = pickle.dumps(open_to_share("scan.h5:/raw"))
    monkeypatch.chdir("/")  # as of a worker that was started elsewhere

    volume = pickle.loads(sent)

    assert len(sent) < 1000
    assert (volume.shape, volume.dtype) == (GREY.shape, GREY.dtype)
    np.testing.assert_array_equal(volume.slab(1, 3), GREY[1:3])


def test_a_mask_of_a_shared_volume_can_be_sent_too(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", GREY > 50)
    mask = as_mask(open_to_share(tmp_path / "mask.npy"), shape=GREY.shape)

    sent = pickle.dumps(mask)

    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).slab(0, 4), GREY > 50)


def test_a_file_that_is_gone_where_it_arrives_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", GREY)
    sent = pickle.dumps(open_to_share(tmp_path / "scan.npy"))
    (tmp_path / "scan.npy").unlink()

    with pytest.raises(VolumeError, match="no file or folder"):
        pickle.loads(sent)
