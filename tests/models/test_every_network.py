"""What each network of the registry can do, from training to export."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import PredictConfig, TrainConfig
from napari_lrcs.export.description import describe
from napari_lrcs.export.graph import check_graph, make_graph
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.volume import as_volume
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.models.device import for_prediction
from napari_lrcs.models.registry import MODELS
from napari_lrcs.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_network_trains_predicts_tiles_and_exports(
    name: str,
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
    tmp_path: Path,
) -> None:
    config = tiny_config.with_changes(
        model=name, n_filters=4, n_epochs=25, patch_size=64
    )
    stripes = striped_annotation(shape=(64, 192))
    grey = stripes.slices[1].read()

    list(train(stripes, config=config, run=tmp_path))
    checkpoint = load_checkpoint(tmp_path)

    # It has learnt, and a slice in tiles is the slice as a whole.
    network = checkpoint.build().double()
    image = torch.from_numpy(checkpoint.normalisation(grey[0]))[None, None].double()
    with torch.no_grad():
        logits = network(image)
    labels = logits.argmax(1).numpy()[0] + 1
    assert (labels == stripes.slices[1].labels).mean() > 0.6
    result = MemoryResult(labels=np.zeros(grey.shape, np.uint8))
    predicted = predict_volume(
        as_volume(grey),
        checkpoint,
        result=result,
        config=PredictConfig(device="cpu", precision="float32", tile_size=64),
    )
    list(predicted)
    assert (result.labels[0] != labels).sum() <= 2  # ties, in float32

    # What is exported gives the same logits, whatever the size.
    exported = for_prediction(checkpoint.build(), torch.device("cpu"), "float32")
    tiles = {"stride": exported.stride, "halo": exported.halo}
    graph = make_graph(exported, describe(checkpoint, **tiles))
    part = image.float().numpy()[..., 3:60, 1:101]
    check_graph(graph, exported, np.concatenate([part, -part]))
