"""Export the network of a run, in a thread."""

from pathlib import Path

from napari_lrcs.export.formats import SUFFIXES, check_export, format_of
from napari_lrcs.plugin.parts.workers import Events, load_torch

KINDS = (
    f"ONNX (*{SUFFIXES['onnx']});;Package of bioimage.io (*{SUFFIXES['bioimageio']})"
)
"""Kinds of files, as Qt's dialogs take them."""


def export_run(run: Path, out: Path) -> Events:
    """Export the best network of a run in the format of a file's suffix.

    Yields
    ------
    Exporting or Exported

    Raises
    ------
    LrcsError, ValueError
        If it cannot be exported; nothing is written.
    """
    format_ = format_of(out)
    # The dialog has asked whether a file may be replaced.
    check_export(out, format_, overwrite=True)
    load_torch()
    from napari_lrcs.export.export import ExportTask, export_network
    from napari_lrcs.models.checkpoint import load_checkpoint

    task = ExportTask(checkpoint=load_checkpoint(run), format=format_)
    yield from export_network(task, out=out, overwrite=True)
