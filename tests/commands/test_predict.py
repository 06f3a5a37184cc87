import shutil
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from command_line import SCORES, SHAPE, SLICES, TINY, Run, call, printed_object
from napari_lrcs.classical.specks import remove_specks
from napari_lrcs.commands.parts.progress import RunDisplay
from napari_lrcs.inference.results.publishing import Publication
from napari_lrcs.io.opening import open_labels
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import Publishing, SlabPredicted

pytestmark = pytest.mark.usefixtures("one_thread")


def test_predict_and_evaluate_follow_from_train(run: Run) -> None:
    run("predict image.tif run --out seg.tif --device cpu")

    scores = printed_object(run("evaluate seg.tif labels.tif --json"))

    assert set(scores) == SCORES
    assert np.sum(scores["confusion"]) == np.prod(SHAPE)
    assert scores["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("text", "slices"), [("1", [1]), ("1,4", [1, 4]), ("2:4", [2, 3])]
)
def test_predict_writes_the_full_shape_with_zeros_elsewhere(
    text: str, slices: list[int], run: Run
) -> None:
    run(f"predict image.tif run --out seg.tif --z {text} --device cpu")

    seg = tifffile.imread("seg.tif")
    assert seg.shape == SHAPE
    assert seg.dtype == np.uint8
    assert [z for z in range(SHAPE[0]) if seg[z].any()] == slices
    assert np.all(seg[slices] > 0)


def test_outside_the_cylinder_nothing_is_trained_or_predicted(run: Run) -> None:
    command = f"train image.tif labels.tif {SLICES} --mask cylinder --out new {TINY}"
    _, y, x = np.indices(SHAPE)
    circle = (y - 11.5) ** 2 + (x - 11.5) ** 2 <= 12**2

    run(command)
    run("predict image.tif new --out seg.tif --mask cylinder --device cpu")

    painted = tifffile.imread("new/labels.tif")
    np.testing.assert_array_equal(painted > 0, circle[:2])
    np.testing.assert_array_equal(tifffile.imread("seg.tif") > 0, circle)


def test_slices_may_lie_across_another_axis(place: Path, run: Run) -> None:
    command = "train image.tif labels.tif --train-z 3 --validation-z 20 --axis y"

    run(f"{command} --out new {TINY}")
    run("predict image.tif new --out seg.tif --z 5:7 --device cpu")

    assert load_checkpoint(place / "new").config.preprocessing.axis == "y"
    seg = tifffile.imread("seg.tif")
    assert np.all(seg[:, 5:7] > 0)
    assert not np.delete(seg, [5, 6], axis=1).any()


def test_predict_leaves_confidence_and_probabilities(run: Run) -> None:
    extras = "--confidence certain.tif --probabilities shares.zarr"

    run(f"predict image.tif run --out seg.zarr --device cpu {extras}")

    seg = open_labels("seg.zarr").slab(0, 6)
    certain = tifffile.imread("certain.tif")
    shares = np.asarray(zarr.open_array("shares.zarr/0", mode="r"))
    assert shares.shape == (2, *SHAPE)
    own = np.take_along_axis(shares, seg[np.newaxis].astype(int) - 1, axis=0)[0]
    np.testing.assert_array_equal(own, shares.max(axis=0))
    np.testing.assert_allclose(own.astype(float) * 255, certain, atol=0.6)


@pytest.mark.parametrize("out", ["seg.tif", "seg.zarr"])
def test_overwrite_replaces_a_result(out: str, run: Run) -> None:
    command = f"predict image.tif run --out {out} --device cpu"
    run(f"{command} --z 1")

    run(f"{command} --overwrite")

    assert np.all(open_labels(out).slab(0, 6) > 0)


def test_publishing_has_a_bar_of_its_own() -> None:
    display = RunDisplay(PhaseTable.numbered(2))
    slab = SlabPredicted(start=0, stop=6, n_done=6, n_slices=6)

    for event in (slab, Publishing(share=0.25), Publishing(share=0.5)):
        display.show(event)

    (task,) = display._progress.tasks
    assert (task.description, task.total, task.completed) == ("writing", 1, 0.5)


def test_a_name_with_brackets_is_a_name_where_it_exists(run: Run) -> None:
    shutil.copy("image.tif", "image[1].tif")

    run("predict image[1].tif run --out seg.tif --device cpu --z 0")

    assert Path("seg.tif").is_file()


def test_a_dataset_of_a_file_with_brackets_is_a_name(run: Run) -> None:
    with h5py.File("scan[1].h5", "w") as file:
        file["data"] = tifffile.imread("image.tif")

    run("predict scan[1].h5:/data run --out seg.tif --device cpu --z 0")

    assert Path("seg.tif").is_file()


def test_min_size_gives_specks_to_what_is_around_them(run: Run) -> None:
    image = tifffile.imread("image.tif")
    image[2:4, 8:14, 16:21] = image[2:4, 8:14, :5]  # dark within bright
    tifffile.imwrite("speck.tif", image)
    command = "predict speck.tif run --device cpu"

    run(f"{command} --out raw.tif")
    run(f"{command} --out clean.tif --min-size 300")

    raw, clean = tifffile.imread("raw.tif"), tifffile.imread("clean.tif")
    np.testing.assert_array_equal(clean, remove_specks(raw, min_size=300))
    assert np.any(clean != raw)


@pytest.mark.parametrize("out", ["new.tif", "new.zarr"])
@pytest.mark.parametrize(
    "command",
    ["predict image.tif run", "baseline image.tif --method otsu --n-phases 3"],
)
def test_ctrl_c_at_the_very_end_comes_too_late(
    command: str, out: str, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Publication._end

    def interrupt(self: Publication) -> None:
        signal.raise_signal(signal.SIGINT)
        end(self)

    monkeypatch.setattr(Publication, "_end", interrupt)
    before = {path.name for path in place.iterdir()}

    run(f"{command} --out {out}")

    assert {path.name for path in place.iterdir()} - before == {out}


def test_a_foreign_volume_is_told_on_standard_error_and_in_json(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tifffile.imread(place / "image.tif")
    tifffile.imwrite("foreign.tif", image // 4)
    flags = "--device cpu --json"

    assert call(f"predict image.tif run --out own.tif {flags}") == 0
    own = capsys.readouterr()
    assert call(f"predict foreign.tif run --out seg.tif {flags}") == 0
    foreign = capsys.readouterr()

    (result,) = printed_object(own.out)["results"]
    assert result == {"image": "image.tif", "out": "own.tif", "foreign": []}
    (result,) = printed_object(foreign.out)["results"]
    assert "the grey levels of foreign.tif" in result["foreign"][0]
    for text in result["foreign"]:
        assert f"! {text}" in foreign.err
    assert "grey levels" not in own.err
