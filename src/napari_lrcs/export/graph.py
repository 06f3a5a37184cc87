"""A network as an ONNX graph, for slices of any size."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_lrcs import __version__
from napari_lrcs.errors import LrcsError
from napari_lrcs.export.description import INPUT, OUTPUT
from napari_lrcs.models.header import HEADER_KEY
from napari_lrcs.models.layers import SegmentationNetwork

OPSET = 18
"""Version of ONNX's operators: the one that PyTorch's exporter is written in."""

_PADDED, _LOGITS = "padded_image", "padded_logits"

_TOLERANCE = 1e-3
"""Largest median difference of logits by rounding; they are of size 1 to 10."""

_MOST_OTHERS = 1e-3
"""Largest share of pixels with another label. Where two of the pixels that are pooled
are almost equal, rounding decides which is the greater one, and so where its value is
put back; logits around it then differ by more than rounding."""

# The node in the middle stands for the network.
_FRAME = f"""
any_size (float[batch, slices, rows, columns] {INPUT})
  => (float[batch, phases, rows, columns] {OUTPUT})
<int64 zero = {{0}}, int64 one = {{1}}, int64 two = {{2}}, int64 three = {{3}},
 int64 stride = {{STRIDE}}, int64 before_stride = {{BEFORE_STRIDE}},
 int64[2] corner = {{0, 0}}, int64[2] in_slice = {{2, 3}}>
{{
  sides = Shape({INPUT})
  PAD_ROWS
  PAD_COLUMNS
  {_LOGITS} = Identity({_PADDED})
  size = Shape<start = 2, end = 4>({INPUT})
  {OUTPUT} = Slice({_LOGITS}, corner, size, in_slice)
}}
"""

_PAD = """
  n_AXIS = Gather(sides, AXIS)
  up_AXIS = Add(n_AXIS, before_stride)
  blocks_AXIS = Div(up_AXIS, stride)
  whole_AXIS = Mul(blocks_AXIS, stride)
  places_AXIS = Range(zero, whole_AXIS, one)
  last_AXIS = Sub(n_AXIS, one)
  there_and_back_AXIS = Mul(last_AXIS, two)
  period_AXIS = Max(there_and_back_AXIS, one)
  folded_AXIS = Mod(places_AXIS, period_AXIS)
  mirrored_AXIS = Sub(period_AXIS, folded_AXIS)
  reflected_AXIS = Min(folded_AXIS, mirrored_AXIS, last_AXIS)
"""
"""As `models.layers.reflect`, for one axis."""


def make_graph(
    model: SegmentationNetwork, description: Mapping[str, Any]
) -> onnx.ModelProto:
    """Turn a network into an ONNX model.

    Parameters
    ----------
    model : SegmentationNetwork
        From `models.device.for_prediction`, in float32 on the CPU.
    description : mapping
        From `describe`; becomes the model's metadata.

    Returns
    -------
    onnx.ModelProto
        From normalised grey levels of shape (batch, slices, rows, columns) to logits
        of shape (batch, phases, rows, columns). Batch, rows and columns may be any
        number from 1: the graph pads by reflection to a multiple of the network's
        stride, and crops, as `SegmentationNetwork.forward` does.
    """
    n_channels = description["input"]["shape"][1]
    made = _trace(model, n_channels=n_channels)
    frame = onnx.parser.parse_graph(_frame_text(model.stride))
    _set_dimension(frame.input[0], 1, n_channels)
    _set_dimension(frame.output[0], 1, model.n_phases)
    inside = [node.output[0] for node in frame.node].index(_LOGITS)
    nodes = [*frame.node[:inside], *made.graph.node, *frame.node[inside + 1 :]]
    initializers = [*frame.initializer, *made.graph.initializer]
    frame.ClearField("node")
    frame.ClearField("initializer")
    frame.node.extend(nodes)
    frame.initializer.extend(initializers)
    made.graph.CopyFrom(frame)
    made.producer_name, made.producer_version = "napari-lrcs", __version__
    onnx.helper.set_model_props(made, {HEADER_KEY: json.dumps(description)})
    onnx.checker.check_model(made, full_check=True)
    return made


def _frame_text(stride: int) -> str:
    return (
        _FRAME.replace("BEFORE_STRIDE", str(stride - 1))
        .replace("STRIDE", str(stride))
        .replace("PAD_ROWS", _pad_text("two", 2, INPUT, "tall_image"))
        .replace("PAD_COLUMNS", _pad_text("three", 3, "tall_image", _PADDED))
    )


def _pad_text(name: str, axis: int, given: str, padded: str) -> str:
    gather = f"  {padded} = Gather<axis = {axis}>({given}, reflected_{name})"
    return _PAD.replace("AXIS", name) + gather


def _set_dimension(value: onnx.ValueInfoProto, axis: int, size: int) -> None:
    value.type.tensor_type.shape.dim[axis].dim_value = size


class _Logits(nn.Module):
    """A network for images whose sides are multiples of its stride."""

    def __init__(self, model: SegmentationNetwork) -> None:
        super().__init__()
        self._model = model

    def forward(self, x: Tensor) -> Tensor:
        return self._model.logits(x)


def _trace(model: SegmentationNetwork, *, n_channels: int) -> onnx.ModelProto:
    # Of one size: with sizes that are symbols, this takes five times as long. The
    # networks are written so that no size is left in the graph, which is checked.
    image = torch.zeros(1, n_channels, 2 * model.stride, 3 * model.stride)
    with _without_messages(), torch.no_grad():
        program = torch.onnx.export(
            _Logits(model).eval(),
            (image,),
            input_names=[_PADDED],
            output_names=[_LOGITS],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    made: onnx.ModelProto = program.model_proto
    return made


@contextmanager
def _without_messages() -> Iterator[None]:
    """Silence what PyTorch says of its own code and of torchvision, which is unused."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "`isinstance.treespec, LeafSpec.` is depr"
            )
            yield
    finally:
        logger.setLevel(level)


def check_graph(
    made: onnx.ModelProto, model: SegmentationNetwork, images: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Compare what ONNX Runtime computes with what PyTorch does.

    Parameters
    ----------
    made : onnx.ModelProto
        From `make_graph`.
    model : SegmentationNetwork
        The same network.
    images : ndarray of float32, shape (batch, slices, rows, columns)
        Normalised grey levels, best of sides that the stride does not divide.

    Returns
    -------
    ndarray of float32, shape (batch, phases, rows, columns)
        Logits, of ONNX Runtime.

    Raises
    ------
    LrcsError
        If logits differ by more than rounding, or more than a few labels.
    """
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    (found,) = open_session(made).run([OUTPUT], {INPUT: images})
    difference = float(np.median(np.abs(found - expected)))
    others = float((found.argmax(axis=1) != expected.argmax(axis=1)).mean())
    if not (difference <= _TOLERANCE and others <= _MOST_OTHERS):
        raise LrcsError(
            "the exported network does not compute what the network does (median "
            f"difference of the logits {difference:.2g}, other labels {others:.2%}); "
            "please report this, with the versions of torch, onnxscript and onnxruntime"
        )
    logits: NDArray[np.float32] = found
    return logits


def open_session(made: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Load an ONNX model for the CPU, with as many threads as PyTorch takes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
