from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from check_places import check_at, write_check
from command_line import SHAPE, SLICES, TINY, Run, call
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.io.opening import open_labels
from napari_lrcs.models.header import read_header
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.uncertainty.trust.seen import check_unseen

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN = f"train image.tif labels.tif {SLICES} {TINY}"
ADVICE = "100 painted voxels of slice 1 lie in check patches and are left out"


def draw(
    path: Path = Path("image.lrcs/check-1"), *, drawn_at: datetime | None = None
) -> Check:
    """Leave a patch in the slice that is trained on, as the command line has it."""
    check = check_at((1, 4, 8), shape=SHAPE, drawn_at=drawn_at or datetime.now(UTC))
    write_check(path, check)
    return check


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("place")
def test_patches_beside_the_image_are_left_out_and_judge_the_network(
    capsys: pytest.CaptureFixture[str],
) -> None:
    check = draw()

    assert call(f"{TRAIN} --out new") == 0

    assert ADVICE in said(capsys)
    (painting,) = (
        labels
        for painted, labels in RunFolder(Path("new")).read_labels().items()
        if painted.role == "train"
    )
    assert not painting[3:13, 7:17].any()
    assert call("predict image.tif new --out seg.tif --min-size 5") == 0
    seg = open_labels("seg.tif")
    assert seg.provenance is not None
    assert seg.provenance.image == "image.tif"
    assert [s.left_out for s in seg.provenance.learnt.slices] == [(check.id,)] * 2
    assert check_unseen(seg, check) == ""


@pytest.mark.usefixtures("place")
def test_patches_that_lie_elsewhere_are_left_out_when_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw(Path("elsewhere"))

    assert call(f"{TRAIN} --out new --leave-out elsewhere") == 0
    assert ADVICE in said(capsys)
    assert call(f"{TRAIN} --out without") == 0
    assert "check patches" not in said(capsys)


def test_a_network_that_did_not_leave_them_out_is_not_judged_by_them(run: Run) -> None:
    long_ago = check_at(
        (1, 4, 8), shape=SHAPE, drawn_at=datetime(2020, 1, 1, tzinfo=UTC)
    )

    run("predict image.tif run --out seg.zarr")

    seg = open_labels("seg.zarr")
    with pytest.raises(ValueError, match="learnt from check patch 1 "):
        check_unseen(seg, long_ago)
    # The same patches, drawn after the training.
    assert check_unseen(seg, draw()) == ""


@pytest.mark.usefixtures("place")
def test_a_network_remembers_what_it_started_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    former = read_header(Path("run/best.safetensors")).learnt.slices
    check = draw()
    start = "--initial-weights run --patches-per-epoch 4 --n-epochs 1 --patch-size 16"

    command = f"train image.tif labels.tif --train-z 2 --validation-z 4 {start}"
    assert call(f"{command} --device cpu --out new") == 0

    learnt = read_header(Path("new/best.safetensors")).learnt
    assert learnt.is_complete
    assert learnt.slices[:2] == former
    assert [s.index for s in learnt.slices] == [1, 4, 2, 4]
    assert [s.left_out for s in learnt.slices] == [(), (), (check.id,), (check.id,)]
    assert "check patches" not in said(capsys)


@pytest.mark.usefixtures("place")
def test_a_run_that_is_resumed_keeps_the_painting_that_it_began_with() -> None:
    assert call(f"{TRAIN} --out new") == 0
    before = read_header(Path("new/best.safetensors")).learnt
    draw()

    assert call(f"{TRAIN} --out new --resume") == 0

    assert RunFolder(Path("new")).read_task().learnt == before
    assert all(s.left_out == () for s in before.slices)


@pytest.mark.usefixtures("place")
def test_damaged_patches_stop_a_training_before_it_begins(
    capsys: pytest.CaptureFixture[str],
) -> None:
    draw()
    Path("image.lrcs/check-1/check.json").write_text("{")

    assert call(f"{TRAIN} --out new") == 2

    assert "check.json in" in said(capsys)
    assert not Path("new").exists()


@pytest.mark.usefixtures("place")
def test_a_forest_leaves_patches_out(capsys: pytest.CaptureFixture[str]) -> None:
    check = draw()
    forest = "baseline image.tif --method forest --labels labels.tif --train-z 1"

    assert call(f"{forest} --out seg.tif") == 0

    assert ADVICE in said(capsys)
    provenance = open_labels("seg.tif").provenance
    assert provenance is not None
    (learnt,) = provenance.learnt.slices
    assert (learnt.index, learnt.left_out) == (1, (check.id,))


@pytest.mark.usefixtures("place")
def test_thresholds_have_learnt_nothing() -> None:
    assert call("baseline image.tif --method otsu --n-phases 2 --out seg.tif") == 0

    past = check_at((1, 4, 8), shape=SHAPE, drawn_at=datetime.now(UTC) - timedelta(1))
    assert check_unseen(open_labels("seg.tif"), past) == ""


@pytest.mark.usefixtures("place")
def test_a_search_leaves_patches_out_that_were_drawn_before_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = draw()
    search = (
        f"search image.tif labels.tif {SLICES} {TINY} --search learning_rate=1e-4:1e-3"
    )
    search = f"{search} --sampler random --n-repeats 1 --out found"

    assert call(f"{search} --n-trials 1") == 0
    assert ADVICE in said(capsys)
    draw(Path("image.lrcs/check-2"))
    assert call(f"{search} --n-trials 2 --resume") == 0

    runs = sorted(Path("found").glob("trials/*/*/best.safetensors"))
    learnt = [read_header(file).learnt for file in runs]
    assert len(learnt) == 2
    assert learnt[0] == learnt[1]
    assert all(s.left_out == (first.id,) for s in learnt[0].slices)


@pytest.mark.usefixtures("place")
def test_a_study_leaves_patches_out_and_its_majority_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = draw()
    study = f"uncertainty image.tif labels.tif --train-z 1,2 --test-z 5 {TINY}"
    study = f"{study} --n-repeats 0 --out study"

    assert call(f"{study} --n-members 2") == 0
    assert ADVICE in said(capsys)
    second = draw(Path("image.lrcs/check-2"))
    assert call(f"{study} --n-members 3 --resume") == 0

    majority = open_labels("study/majority.zarr")
    assert majority.provenance is not None
    learnt = majority.provenance.learnt
    assert learnt.is_complete
    assert [(s.index, s.left_out) for s in learnt.slices] == [
        (1, (first.id,)),
        (2, (first.id,)),
    ]
    assert check_unseen(majority, first) == check_unseen(majority, second) == ""
    labels = open_labels("study/members/perturbed-000/labels.tif")
    assert not labels.slab(0, 1)[0, 3:13, 7:17].any()
