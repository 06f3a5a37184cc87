import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from napari_lrcs.config import PredictConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.export.export import ExportTask, export_network
from napari_lrcs.export.graph import check_graph, open_session
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.volume import as_volume
from napari_lrcs.models.checkpoint import Checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

# The code in the documentation, which users copy.
PAGE = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 20), (16, 24)])
@pytest.mark.parametrize("n_images", [1, 3])
def test_any_number_of_slices_of_any_size_gives_the_same_logits(
    graph: onnx.ModelProto, checkpoint: Checkpoint, size: tuple[int, int], n_images: int
) -> None:
    images = np.random.default_rng(0).standard_normal((n_images, 3, *size))
    images = images.astype(np.float32)

    (logits,) = open_session(graph).run(["logits"], {"image": images})

    with torch.no_grad():
        expected = checkpoint.build()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


def test_graph_has_operators_that_most_runtimes_know(graph: onnx.ModelProto) -> None:
    operators = {node.op_type for node in graph.graph.node}

    assert not operators & {"MaxUnpool", "MaxPool", "BatchNormalization", "Loop", "If"}
    assert {node.domain for node in graph.graph.node} == {""}
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", 18)]


def test_graph_of_another_network_is_refused(
    graph: onnx.ModelProto, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    images = np.random.default_rng(0).standard_normal((1, 3, 20, 20))
    config = make_checkpoint().config.with_changes(context_slices=1)
    other = make_checkpoint(config, seed=1).build()

    with pytest.raises(LrcsError, match="does not compute what the network does"):
        check_graph(graph, other, images.astype(np.float32))


@pytest.mark.usefixtures("without_tracing")
def test_file_and_the_code_of_the_docs_label_as_a_prediction_does(
    checkpoint: Checkpoint, phantom: NDArray[np.uint16], tmp_path: Path
) -> None:
    file = tmp_path / "network.onnx"
    list(export_network(ExportTask(checkpoint=checkpoint, format="onnx"), out=file))
    page = PAGE.read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]

    found = {}
    for z in (0, 4):
        names = {"path": str(file), "volume": phantom, "z": z}
        exec(code, names)
        found[z] = names["labels"]

    result = MemoryResult(labels=np.zeros(phantom.shape, np.uint8))
    config = PredictConfig(device="cpu", precision="float32")
    list(predict_volume(as_volume(phantom), checkpoint, result=result, config=config))
    for z, labels in found.items():
        assert len(np.unique(labels)) > 1
        assert (labels == result.labels[z]).mean() > 0.999  # ties, in float32
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]


@pytest.mark.usefixtures("without_tracing")
def test_nothing_is_written_if_the_network_computes_something_else(
    make_checkpoint: Callable[..., Checkpoint], checkpoint: Checkpoint, tmp_path: Path
) -> None:
    other = make_checkpoint(checkpoint.config, seed=1)
    events = export_network(
        ExportTask(checkpoint=other, format="onnx"), out=tmp_path / "network.onnx"
    )

    with pytest.raises(LrcsError, match="does not compute"):
        list(events)

    assert not [*tmp_path.iterdir()]


@pytest.mark.usefixtures("without_tracing")
def test_stopped_export_leaves_what_was_there(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    file = tmp_path / "network.onnx"
    file.write_text("older")
    events = export_network(
        ExportTask(checkpoint=checkpoint, format="onnx"), out=file, overwrite=True
    )

    next(events)
    events.close()  # type: ignore[attr-defined]  # a generator

    assert file.read_text() == "older"
    assert [*tmp_path.iterdir()] == [file]


def test_metadata_describe_the_network(graph: onnx.ModelProto) -> None:
    session = onnxruntime.InferenceSession(graph.SerializeToString())

    stored = session.get_modelmeta().custom_metadata_map["napari_lrcs"]

    assert json.loads(stored)["input"]["shape"] == [None, 3, None, None]
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("image", ["batch", 3, "rows", "columns"])
    assert (logits.name, logits.shape) == ("logits", ["batch", 3, "rows", "columns"])
