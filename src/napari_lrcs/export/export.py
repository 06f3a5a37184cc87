"""Write a network in a format of other programs: a generator of events."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage
from napari_lrcs.export.description import describe, smallest_side
from napari_lrcs.export.events import Exported, ExportEvent, Exporting
from napari_lrcs.export.formats import (
    Format,
    PackageInfo,
    check_export,
    check_license,
)
from napari_lrcs.export.readme import notice_of_filters
from napari_lrcs.export.sample import sample_slices
from napari_lrcs.io.writing import replacing
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.device import for_prediction
from napari_lrcs.models.layers import SegmentationNetwork

if TYPE_CHECKING:  # of the extra `export`
    import onnx

Result = TypeVar("Result")

_PAUSE = 0.2
"""Seconds between two events, and at most until a stop."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExportTask:
    """A network, and the format that it is to be written in.

    Parameters
    ----------
    format : {"onnx", "bioimageio"}
    info : PackageInfo
        Only for ``bioimageio``.
    """

    checkpoint: Checkpoint
    format: Format
    info: PackageInfo = field(default_factory=PackageInfo)


def export_network(
    task: ExportTask, *, out: Path, overwrite: bool = False
) -> Iterator[ExportEvent]:
    """Export a network, and test what is written.

    Parameters
    ----------
    out : Path
        ``.onnx`` or ``.zip``, as the format has it; appears when it is complete and
        its test has passed.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    Exporting or Exported
        Several times a second; `Exported` last.

    Raises
    ------
    ValueError
        If the name does not fit the format.
    LrcsError
        If a library is missing, the file exists, or the exported network does not
        compute what the network does. Nothing is written.
    """
    check_export(out, task.format, overwrite=overwrite)
    if task.format == "bioimageio":
        check_license(task.info.license)
    with replacing(out, overwrite=overwrite) as temporary:
        thread = ThreadPoolExecutor(1, "export")
        try:
            content = yield from _make(task, thread)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
        temporary.write_bytes(content)
    yield Exported(out=out, advice=tuple(_advice(task)))


def _make(
    task: ExportTask, thread: ThreadPoolExecutor
) -> Generator[Exporting, None, bytes]:
    """Make what is in the file; the thread itself writes nothing."""
    from napari_lrcs.export.graph import make_graph

    checkpoint = task.checkpoint
    model = for_prediction(checkpoint.build(), torch.device("cpu"), "float32")
    description = describe(checkpoint, stride=model.stride, halo=model.halo)
    image = sample_slices(
        checkpoint, side=smallest_side(stride=model.stride, halo=model.halo)
    )
    network = yield from _wait_for(
        thread, partial(make_graph, model, description), share=0.0
    )
    check = partial(_check, network, model, checkpoint.normalisation(image))
    logits = yield from _wait_for(thread, check, share=0.6)
    if task.format == "onnx":
        return bytes(network.SerializeToString())
    from napari_lrcs.export.package import PackageContent, make_package

    content = PackageContent(
        header=checkpoint,
        network=network,
        description=description,
        info=task.info,
        image=image,
        logits=logits,
    )
    return (yield from _wait_for(thread, partial(make_package, content), share=0.7))


def _check(
    network: "onnx.ModelProto", model: SegmentationNetwork, image: GreyImage
) -> NDArray[np.float32]:
    """Check a size that must be padded, and return the logits of one that need not."""
    from napari_lrcs.export.graph import check_graph

    check_graph(network, model, np.ascontiguousarray(image[np.newaxis, :, 3:, 1:]))
    logits: NDArray[np.float32] = check_graph(network, model, image[np.newaxis])[0]
    return logits


def _advice(task: ExportTask) -> Iterator[str]:
    if task.format != "bioimageio":
        return
    if not task.info.authors:
        yield "no author is named; bioimage.io publishes no model without one"
    if notice := notice_of_filters(task.checkpoint):
        yield notice


def _wait_for(
    thread: ThreadPoolExecutor, work: Callable[[], Result], *, share: float
) -> Generator[Exporting, None, Result]:
    result = thread.submit(work)
    yield Exporting(share=share)
    while not wait([result], timeout=_PAUSE).done:
        yield Exporting(share=share)
    return result.result()
