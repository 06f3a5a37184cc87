"""A network, and the files that it is exported to once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from napari_lrcs.classical.phantom import electrode_phantom
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.export.events import Exported
from napari_lrcs.export.formats import PackageInfo, check_export
from napari_lrcs.export.readme import notice_of_filters
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.preprocessing.normalisation import fit_normalisation


@pytest.fixture(scope="session")
def phantom() -> NDArray[np.uint16]:
    """Simulate slices whose sides no stride divides."""
    return electrode_phantom(shape=(8, 45, 83)).volume


@pytest.fixture(scope="session")
def checkpoint(
    make_checkpoint: Callable[..., Checkpoint],
    tiny_config: TrainConfig,
    phantom: NDArray[np.uint16],
) -> Checkpoint:
    """Make a network with all that may be in front of one and in it."""
    config = tiny_config.with_changes(
        skip_connections=True,
        filter_scales=1,
        context_slices=1,
        median_size=3,
        unsharp_radius=2.0,
    )
    return replace(
        make_checkpoint(config),
        phases=ELECTRODE,
        normalisation=fit_normalisation([phantom.astype(np.float32)]),
        voxel_size=(0.5, 0.25, 0.25),
        unit="micrometer",
        temperature=1.5,
    )


@pytest.fixture(scope="session")
def graph(checkpoint: Checkpoint) -> onnx.ModelProto:
    """Trace the network, which takes seconds, once."""
    import torch

    from napari_lrcs.export.description import describe
    from napari_lrcs.export.graph import make_graph
    from napari_lrcs.models.device import for_prediction

    model = for_prediction(checkpoint.build(), torch.device("cpu"), "float32")
    return make_graph(model, describe(checkpoint, stride=model.stride, halo=model.halo))


@pytest.fixture
def without_tracing(graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every network be exported as the one that was traced."""
    monkeypatch.setattr("napari_lrcs.export.graph.make_graph", lambda *_: graph)


@pytest.fixture(scope="session")
def package(
    checkpoint: Checkpoint,
    graph: onnx.ModelProto,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Export a package of bioimage.io, if its libraries are there and work together."""
    out = tmp_path_factory.mktemp("package") / "network.zip"
    try:
        check_export(out, "bioimageio", overwrite=False)
    except LrcsError as error:
        pytest.skip(str(error))
    from napari_lrcs.export.export import ExportTask, export_network

    info = PackageInfo(authors=("Ada Lovelace",), license="MIT")
    task = ExportTask(checkpoint=checkpoint, format="bioimageio", info=info)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_lrcs.export.graph.make_graph", lambda *_: graph)
        patch.setattr("socket.getaddrinfo", _refuse)
        *_, exported = export_network(task, out=out)
    assert exported == Exported(out=out, advice=(notice_of_filters(checkpoint),))
    return out


def _refuse(*arguments: object) -> None:
    raise AssertionError(f"the network was asked for {arguments}")
