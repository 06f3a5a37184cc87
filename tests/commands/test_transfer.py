from pathlib import Path

import pytest

from command_line import SLICES, Run, call, printed_object
from napari_lrcs.__main__ import INTERRUPTED
from napari_lrcs.commands import transfer as command
from napari_lrcs.transfer.folder import TransferFolder
from napari_lrcs.transfer.transfer import StartTrained

pytestmark = pytest.mark.usefixtures("one_thread")

TRANSFER = (
    f"transfer image.tif labels.tif {SLICES} --from run --out new --n-epochs 1 "
    "--patches-per-epoch 4 --patch-size 16 --batch-size 2 --device cpu"
)


def test_an_interrupted_comparison_goes_on_with_its_own_settings(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_display: object, event: object) -> None:
        if isinstance(event, StartTrained):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "_show", interrupt)
        assert call(f"{TRANSFER} --n-repeats 1 --gain 0.2") == INTERRUPTED

    again = f"transfer image.tif labels.tif {SLICES} --from run --out new --resume"
    printed = printed_object(run(f"{again} --json"))

    folder = TransferFolder(place / "new")
    scores = [result.score for result in folder.read_findings().results]
    assert [start["mean_iou"] for start in printed["starts"]] == scores
    assert folder.read_settings()[0].augmentation.gain == 0.2
    scratch, *others = printed["starts"]
    assert (scratch["start"], scratch["n_repeats"]) == ("from scratch, rate 0.004", 1)
    assert {start["epoch"] for start in others} == {1, 2}
    assert "gain (points)" in run(again)
