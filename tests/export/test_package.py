import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from napari_lrcs.config import PredictConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.export.export import ExportTask, export_network
from napari_lrcs.export.formats import PackageInfo
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.volume import as_volume
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.preprocessing.normalisation import Normalisation
from napari_lrcs.preprocessing.slices import SliceReader

pytestmark = pytest.mark.usefixtures("one_thread")

INFO = PackageInfo(authors=("Ada Lovelace",), license="MIT")


def _read(package: Path, name: str) -> bytes:
    with ZipFile(package) as file:
        return file.read(name)


def _resource(package: Path) -> Any:
    return json.loads(_read(package, "rdf.yaml"))


def test_package_says_what_its_network_is_and_needs(package: Path) -> None:
    with ZipFile(package) as file:
        names = sorted(file.namelist())
    found = _resource(package)

    assert names == [
        *("README.md", "cover.png", "network.onnx", "rdf.yaml"),
        *("test_input.npy", "test_output.npy"),
    ]
    assert found["name"] == "lrcsnet segmentation of pore CBD NMC"
    assert found["authors"] == [{"name": "Ada Lovelace"}]
    assert found["license"] == "MIT"
    assert found["cite"][0]["doi"] == "10.1038/s41524-022-00709-7"
    assert "3D median of 3 × 3 × 3" in _read(package, "README.md").decode()
    (image,), (probabilities,) = found["inputs"], found["outputs"]
    assert image["axes"][1]["channel_names"] == ["slice -1", "slice", "slice +1"]
    assert probabilities["axes"][1]["channel_names"] == ["pore", "CBD", "NMC"]
    for axis in (*image["axes"][2:], *probabilities["axes"][2:]):
        assert (axis["scale"], axis["unit"]) == (0.25, "micrometer")
    assert [step["id"] for step in image["preprocessing"]] == [
        *("ensure_dtype", "clip", "scale_linear", "scale_linear"),
    ]
    assert probabilities["postprocessing"][0]["kwargs"]["gain"] == 1 / 1.5


def test_cover_shows_image_and_labels_beside_each_other(package: Path) -> None:
    cover = imread(io.BytesIO(_read(package, "cover.png")))[..., :3]
    image, labels = np.split(cover, 2, axis=1)

    assert cover.shape[1] == 2 * cover.shape[0]  # as bioimage.io wants it
    assert (np.ptp(image, axis=-1) == 0).all()
    assert (np.ptp(labels, axis=-1) > 0).mean() > 0.9


def test_bioimageio_labels_as_a_prediction_does(
    package: Path, checkpoint: Checkpoint, phantom: NDArray[np.uint16]
) -> None:
    from bioimageio.core import Sample, Tensor, create_prediction_pipeline
    from bioimageio.core.common import MemberId
    from bioimageio.spec import load_model_description

    volume = as_volume(phantom)
    grey = SliceReader.for_config(volume, checkpoint.config).read(4, 5)
    tensor = Tensor.from_numpy(grey[np.newaxis], dims=("batch", "channel", "y", "x"))
    with ZipFile(package) as file:
        model = load_model_description(file, perform_io_checks=False)
        with create_prediction_pipeline(
            model, weight_format="onnx", devices=["CPUExecutionProvider"]
        ) as pipeline:
            output = pipeline.predict_sample_without_blocking(
                Sample(members={MemberId("image"): tensor}, stat={}, id=None),
                skip_input_padding=True,
                skip_output_cropping=True,
            )

    expected = np.zeros(phantom.shape, np.uint8)
    result = MemoryResult(labels=np.zeros_like(expected), confidence=expected)
    config = PredictConfig(device="cpu", precision="float32")
    list(predict_volume(volume, checkpoint, result=result, config=config))
    probabilities = output.members[MemberId("probabilities")].data.to_numpy()[0]
    labels = probabilities.argmax(axis=0) + 1
    assert (labels == result.labels[4]).mean() > 0.999  # ties, in float32
    confidence = np.rint(probabilities.max(axis=0) * 255)
    assert np.median(np.abs(confidence - expected[4])) == 0


@pytest.mark.usefixtures("without_tracing")
@pytest.mark.parametrize("unit", [1e-8, 1e-20, 1e4])
def test_grey_levels_of_any_size_are_normalised_as_they_are_here(
    unit: float, package: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    scale = {k: v * unit for k, v in checkpoint.normalisation.to_dict().items()}
    network = replace(checkpoint, normalisation=Normalisation(**scale))
    task = ExportTask(checkpoint=network, format="bioimageio", info=INFO)

    list(export_network(task, out=tmp_path / "network.zip"))

    tensors = ("test_input.npy", "test_output.npy")
    (grey, found), (_, expected) = (
        [np.load(io.BytesIO(_read(file, name))) for name in tensors]
        for file in (tmp_path / "network.zip", package)
    )
    low, high = network.normalisation.limits
    assert np.mean((low <= grey) & (grey <= high)) > 0.99
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9


def test_package_whose_output_is_not_reproduced_is_refused(
    package: Path, tmp_path: Path
) -> None:
    from napari_lrcs.export.package import _test

    damaged = tmp_path / "damaged.zip"
    with ZipFile(package) as given, ZipFile(damaged, "w") as made:
        for name in given.namelist():
            content = given.read(name)
            if name == "test_output.npy":
                content = content[:-4000] + bytes(4000)
            made.writestr(name, content)

    with pytest.raises(LrcsError, match="test of the package fails"):
        _test(damaged)
