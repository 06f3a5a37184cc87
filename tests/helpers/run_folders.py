"""Run folders as trainings leave them, made without a training."""

from collections.abc import Sequence
from dataclasses import replace

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.header import Row
from napari_lrcs.training.run.folder import RunFolder


def row(epoch: int, *, iou: float | None = None) -> Row:
    """Make a row of a history of two phases, of which one is not in the validation."""
    return {
        "epoch": epoch,
        "training_loss": 1 / epoch,
        "validation_mean_iou": iou,
        "validation_iou_1": iou,
        "validation_iou_2": None,
    }


def leave_run(
    run: RunFolder,
    annotation: Annotation,
    checkpoint: Checkpoint,
    *,
    ious: Sequence[float | None] = (),
    best: int = 1,
) -> None:
    """Leave a run of an epoch for each score, the checkpoint's settings its own."""
    run.begin()
    run.write_resume({})
    run.write_task(annotation, checkpoint.config)
    rows = [row(epoch, iou=iou) for epoch, iou in enumerate(ious, 1)]
    for epoch in range(1, len(rows) + 1):
        run.write_history(rows[:epoch])
        reached = replace(checkpoint, history=tuple(rows[:epoch]))
        run.write_epoch(reached, epoch=epoch, is_best=epoch == best)
