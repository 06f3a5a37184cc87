from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study import probabilities
from napari_lrcs.uncertainty.study.probabilities import ProbabilitySum

PHASES = PhaseTable.named("pore", "solid")
LIKE: Volume = as_volume(np.zeros((1, 1, 4), np.uint8))
# The second member is so sure of the second voxel that the mean changes its phase,
# which two of three would have kept; the last voxel lies outside the field of view.
PORE = {"a": [0.8, 0.6, 0.5, 0.0], "b": [0.8, 0.0, 0.5, 0.0], "c": [0.2, 0.6, 0.5, 0.0]}
INSIDE = (1, 1, 1, 0)


def written(
    folder: Path,
    pore: Mapping[str, list[float]] = PORE,
    *,
    inside: tuple[int, ...] = INSIDE,
) -> dict[str, Path]:
    """Write the probabilities of members as a prediction does."""
    places, n = {}, len(inside)
    for name, values in pore.items():
        places[name] = folder / f"{name}.zarr"
        array = create_ome_zarr(
            places[name], shape=(2, 1, 1, n), chunks=(1, 1, 1, n), dtype=np.float16
        )
        array[:, 0, 0] = np.array([values, inside - np.array(values)])
    return places


def add(sums: ProbabilitySum, places: Mapping[str, Path]) -> NDArray[Any]:
    list(sums.add(places, like=LIKE))
    return np.asarray(zarr.open_array(sums.path / "0"))[:, 0, 0]


def labels_of(sums: ProbabilitySum, path: Path, *, min_size: int = 0) -> Labels:
    n = zarr.open_array(sums.path / "0").shape[-1]
    like = as_volume(np.zeros((1, 1, n), np.uint8))
    list(sums.write_labels(path, phases=PHASES, like=like, min_size=min_size))
    return open_labels(path).slab(0, 1)


def test_labels_are_those_of_the_highest_mean(tmp_path: Path) -> None:
    sums = ProbabilitySum(path=tmp_path / "sums.zarr", task_hash="x")

    total = add(sums, written(tmp_path))

    # In steps of 1/255: .8 + .8 + .2, and .6 + 0 + .6; half of 255 is 128 for both.
    assert total.tolist() == [
        [204 + 204 + 51, 153 + 0 + 153, 3 * 128, 0],
        [51 + 51 + 204, 102 + 255 + 102, 3 * 128, 0],
    ]
    assert labels_of(sums, tmp_path / "out.zarr").tolist() == [[[1, 2, 1, 0]]]
    assert open_labels(tmp_path / "out.zarr").phases == PHASES


def test_the_order_of_members_does_not_matter(tmp_path: Path) -> None:
    places = written(tmp_path)
    at_once = ProbabilitySum(path=tmp_path / "at-once.zarr", task_hash="x")
    one_by_one = ProbabilitySum(path=tmp_path / "one-by-one.zarr", task_hash="x")

    expected = add(at_once, places)
    for name in ("c", "a", "b"):
        found = add(one_by_one, {name: places[name]})

    assert found.tolist() == expected.tolist()
    assert one_by_one.members == ("c", "a", "b")


def test_a_member_whose_adding_is_cut_off_is_not_in_the_sum(tmp_path: Path) -> None:
    places = written(tmp_path)
    sums = ProbabilitySum(path=tmp_path / "sums.zarr", task_hash="x")
    before = add(sums, {"a": places["a"]}).tolist()

    adding = sums.add({"b": places["b"]}, like=LIKE)
    next(adding)
    adding.close()

    assert sums.members == ("a",)
    assert np.asarray(zarr.open_array(sums.path / "0"))[:, 0, 0].tolist() == before


def test_the_sum_of_another_task_counts_as_none(tmp_path: Path) -> None:
    sums = ProbabilitySum(path=tmp_path / "sums.zarr", task_hash="x")
    add(sums, written(tmp_path))

    assert ProbabilitySum(path=sums.path, task_hash="y").members == ()
    (sums.path / "zarr.json").write_text("{")
    assert sums.members == ()


def test_many_members_need_wider_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probabilities, "_LEVELS", 30_000)
    sums = ProbabilitySum(path=tmp_path / "sums.zarr", task_hash="x")
    sure = written(tmp_path, {name: [1.0, 1.0, 1.0, 0.0] for name in "abc"})

    add(sums, {name: sure[name] for name in "ab"})
    narrow = str(zarr.open_array(sums.path / "0").dtype)
    total = add(sums, {"c": sure["c"]})

    assert (narrow, str(total.dtype)) == ("uint16", "uint32")
    assert total.tolist() == [[90_000] * 3 + [0], [0] * 4]


def test_regions_and_specks_are_as_of_any_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probabilities, "_REGION", (1, 1, 3))
    sums = ProbabilitySum(path=tmp_path / "sums.zarr", task_hash="x")
    add(sums, written(tmp_path, {"a": [1.0, 1, 0, 1, 1]}, inside=(1,) * 5))

    raw = labels_of(sums, tmp_path / "raw.zarr")
    cleaned = labels_of(sums, tmp_path / "cleaned.zarr", min_size=2)

    assert raw.tolist() == [[[1, 1, 2, 1, 1]]]
    assert cleaned.tolist() == [[[1, 1, 1, 1, 1]]]
