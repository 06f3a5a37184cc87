import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_lrcs.io.formats.label_metadata import PHASES_KEY
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.pyramid import add_levels
from napari_lrcs.io.formats.tiff import PHASES_TAG, write_labels_tiff
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.provenance import Learnt, LearntSlice, Provenance, combined
from napari_lrcs.io.volume import as_volume
from napari_lrcs.phases import ELECTRODE

SLICE = LearntSlice(
    volume="Ni–YSZ.tif",
    fingerprint="abc",
    axis="y",
    index=12,
    rows=(3, 40),
    columns=(0, 7),
    begun_at=datetime(2026, 11, 27, 5, 10, 30, 123_456, tzinfo=UTC),
    left_out=("first", "second"),
)
KNOWN = Provenance(
    image="Ni–YSZ.tif",
    fingerprint="abc",
    learnt=Learnt(slices=(SLICE, replace(SLICE, index=13)), is_complete=True),
)
SHAPE = (3, 4, 5)


def write(path: Path, **metadata: Any) -> None:
    labels = np.ones(SHAPE, np.uint8)
    if path.suffix == ".zarr":
        create_ome_zarr(path, shape=SHAPE, chunks=SHAPE, **metadata)[:] = labels
        list(add_levels(path))
    else:
        write_labels_tiff(path, [labels], shape=SHAPE, **metadata)


@pytest.mark.parametrize("name", ["seg.tif", "seg.zarr"])
@pytest.mark.parametrize("phases", [None, ELECTRODE])
def test_labels_keep_where_they_come_from(
    name: str, phases: Any, tmp_path: Path
) -> None:
    write(tmp_path / name, phases=phases, provenance=KNOWN)

    labels = open_labels(tmp_path / name)

    assert labels.provenance == KNOWN
    assert labels.phases == phases


@pytest.mark.parametrize("name", ["seg.tif", "seg.zarr"])
def test_labels_without_it_are_of_unknown_provenance(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, phases=ELECTRODE)

    assert open_labels(tmp_path / name).provenance is None


@pytest.mark.parametrize(
    "damage",
    [
        {"learnt": 3},
        {"fingerprint": None},
        {"learnt": {"slices": [{"index": 1}], "is_complete": True}},
    ],
)
def test_a_damaged_provenance_is_an_unknown_one(
    damage: dict[str, Any], tmp_path: Path
) -> None:
    write(tmp_path / "seg.zarr", phases=ELECTRODE, provenance=KNOWN)
    group = zarr.open_group(tmp_path / "seg.zarr")
    attributes: dict[str, Any] = group.attrs.asdict()
    stored = attributes[PHASES_KEY]
    stored["provenance"] |= damage
    group.attrs[PHASES_KEY] = stored

    labels = open_labels(tmp_path / "seg.zarr")

    assert labels.provenance is None
    assert labels.phases == ELECTRODE


def test_the_phases_lie_where_earlier_versions_read_them(tmp_path: Path) -> None:
    write(tmp_path / "seg.tif", phases=ELECTRODE, provenance=KNOWN)

    with tifffile.TiffFile(tmp_path / "seg.tif") as tif:
        stored = json.loads(tif.pages.first.tags.valueof(PHASES_TAG))[PHASES_KEY]
    assert stored["phases"] == ELECTRODE.to_dicts()


def test_a_time_needs_its_zone() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        replace(SLICE, begun_at=datetime(2026, 11, 27))


def test_a_majority_has_learnt_what_its_members_have() -> None:
    other = replace(SLICE, index=14)
    second = replace(KNOWN, learnt=Learnt(slices=(SLICE, other), is_complete=True))

    both = combined([KNOWN, second])

    assert both is not None
    assert [s.index for s in both.learnt.slices] == [12, 13, 14]
    assert both.learnt.is_complete
    assert combined([KNOWN, None]) is None
    partly = combined([KNOWN, replace(second, learnt=Learnt())])
    assert partly is not None
    assert not partly.learnt.is_complete


def test_an_image_is_known_again_by_its_grey_levels_alone() -> None:
    grey = np.random.default_rng(0).integers(0, 99, (4, 5, 6), np.uint16)
    image = as_volume(grey, name="scan.tif")
    other = grey.copy()
    other[2, 0, 0] += 1

    renamed = as_volume(grey.astype(">u2"), name="copy.tif")
    assert renamed.fingerprint() == image.fingerprint()
    assert as_volume(other).fingerprint() != image.fingerprint()
    assert as_volume(grey[:, :, :5]).fingerprint() != image.fingerprint()
