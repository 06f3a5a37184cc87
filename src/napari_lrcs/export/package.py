"""A network as a package of bioimage.io, which its own library has tested.

References
----------
The format: https://github.com/bioimage-io/spec-bioimage-io
"""

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import onnx
from bioimageio.core import test_model
from bioimageio.spec import ValidationContext, load_model_description
from bioimageio.spec.model.v0_5 import ModelDescr
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage
from napari_lrcs.errors import LrcsError, one_line
from napari_lrcs.export.description import INPUT, axes_in_slice, smallest_side
from napari_lrcs.export.formats import PackageInfo
from napari_lrcs.export.graph import OPSET
from napari_lrcs.export.readme import readme
from napari_lrcs.figures import write_cover
from napari_lrcs.io.records import as_json
from napari_lrcs.models.header import Header

PAPER = "10.1038/s41524-022-00709-7"

_PROVIDER = "CPUExecutionProvider"
"""ONNX Runtime's name of the processor."""

_TOLERANCE = {"mismatched_elements_per_million": 1000}
"""Of the test output on other processors; see `graph.check_graph` for the reason."""

_OUTPUT = "probabilities"

_NETWORK, _COVER, _README = "network.onnx", "cover.png", "README.md"
_TEST_INPUT, _TEST_OUTPUT = "test_input.npy", "test_output.npy"
_FILES = _NETWORK, _COVER, _README, _TEST_INPUT, _TEST_OUTPUT

_RESOURCE = "rdf.yaml"
"""Written as JSON, which is YAML."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackageContent:
    """What is in a package.

    Parameters
    ----------
    header : Header
        Of the network's checkpoint.
    network : onnx.ModelProto
    description : dict
        From `describe`.
    image : ndarray of float32, shape (slices, rows, columns)
        Grey levels to test it with.
    logits : ndarray of float32, shape (phases, rows, columns)
        What the network makes of them.
    """

    header: Header
    network: onnx.ModelProto
    description: dict[str, Any]
    info: PackageInfo
    image: GreyImage
    logits: NDArray[np.float32]

    @property
    def name(self) -> str:
        """Name of the model."""
        if self.info.name:
            return self.info.name
        network = self.header.config.network.model
        phases = " ".join(self.header.phases.names)
        made = f"{network} segmentation of {phases}"
        return re.sub(r"[^A-Za-z0-9_+\- ()]", "-", made)[:64].strip()


def make_package(content: PackageContent) -> bytes:
    """Make a package, and let bioimageio.core validate and test it.

    Nothing is downloaded.

    Returns
    -------
    bytes
        A ``.zip`` file.

    Raises
    ------
    LrcsError
        If it is not valid, or its test fails.
    """
    with TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "package.zip"
        _write_files(folder, content)
        with ZipFile(path, "w", ZIP_DEFLATED) as package:
            package.writestr(_RESOURCE, as_json(_resource(content)))
            for file in _FILES:
                package.write(folder / file, file)
        _test(path)
        return path.read_bytes()


def _test(path: Path) -> None:
    with (
        ValidationContext(log_warnings=False, progressbar=False),
        ZipFile(path) as package,  # opened here, since bioimageio.spec closes none
    ):
        try:
            model = load_model_description(package)
        except ValueError as error:
            raise LrcsError(
                f"bioimageio.spec refuses the package: {one_line(error)}"
            ) from error
        found = test_model(model, weight_format="onnx", devices=[_PROVIDER])
    if found.status != "passed":
        errors = [error.msg for detail in found.details for error in detail.errors]
        raise LrcsError(
            f"bioimageio.core's test of the package fails: {'; '.join(errors)}"
        )


def _write_files(folder: Path, content: PackageContent) -> None:
    header, logits = content.header, content.logits
    scaled = logits / np.float32(header.temperature)
    powers = np.exp(scaled - scaled.max(axis=0))
    (folder / _NETWORK).write_bytes(content.network.SerializeToString())
    np.save(folder / _TEST_INPUT, content.image[np.newaxis])
    np.save(folder / _TEST_OUTPUT, (powers / powers.sum(axis=0))[np.newaxis])
    labels = logits.argmax(axis=0).astype(np.uint8) + np.uint8(1)
    middle = header.normalisation(content.image[len(content.image) // 2])
    write_cover(folder / _COVER, middle, labels, header.phases)
    text = readme(header, name=content.name)
    (folder / _README).write_text(text, encoding="utf-8")


# ---- the description in bioimage.io's own words ----


def _resource(content: PackageContent) -> dict[str, Any]:
    network = content.header.config.network.model
    return {
        "type": "model",
        "format_version": ModelDescr.implemented_format_version,
        "name": content.name,
        "description": _summary(content.header),
        "authors": [{"name": author} for author in content.info.authors],
        "license": content.info.license,
        "tags": ["semantic-segmentation", "tomography", "2d", "pytorch", network],
        "cite": [
            {
                "text": "Su, Z. et al. Artificial neural network approach for "
                "multiphase segmentation of battery electrode nano-CT images. npj "
                "Comput. Mater. 8, 30 (2022).",
                "doi": PAPER,
            }
        ],
        "documentation": {"source": _README},
        "covers": [{"source": _COVER}],
        "inputs": [_input(content)],
        "outputs": [_output(content)],
        "weights": {"onnx": {"source": _NETWORK, "opset_version": OPSET}},
        "config": {
            "bioimageio": {"reproducibility_tolerance": [_TOLERANCE]},
            "napari_lrcs": content.description,
        },
    }


def _summary(header: Header) -> str:
    names = ", ".join(header.phases.names)
    return f"Labels the phases of tomograms, slice by slice: {names}."[:512]


def _input(content: PackageContent) -> dict[str, Any]:
    header, tiles = content.header, content.description["tiles"]
    n = header.config.network.context_slices
    least = smallest_side(**tiles)
    spaces = [
        {**axis, "size": {"min": least, "step": tiles["stride"]}, "concatenable": True}
        for axis in _spaces(header)
    ]
    names = [f"slice {offset:+}" if offset else "slice" for offset in range(-n, n + 1)]
    return {
        "id": INPUT,
        "description": "Grey levels of a slice and its neighbours",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": names},
            *spaces,
        ],
        "data": {"type": "float32"},
        "test_tensor": {"source": _TEST_INPUT},
        "preprocessing": _preprocessing(header),
    }


def _output(content: PackageContent) -> dict[str, Any]:
    header, halo = content.header, content.description["tiles"]["halo"]
    spaces = [
        {
            **axis,
            "size": {"tensor_id": INPUT, "axis_id": axis["id"]},
            "halo": halo,
        }
        for axis in _spaces(header)
    ]
    names = list(header.phases.names)
    return {
        "id": _OUTPUT,
        "description": "Probability of each phase",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": names},
            *spaces,
        ],
        "data": {"type": "float32", "range": [0.0, 1.0]},
        "test_tensor": {"source": _TEST_OUTPUT},
        "postprocessing": _postprocessing(header),
    }


def _spaces(header: Header) -> list[dict[str, Any]]:
    axes = axes_in_slice(header.config.preprocessing.axis)
    spaces = [{"type": "space", "id": axis} for axis in axes]
    if header.voxel_size is None or header.unit is None:
        return spaces
    sizes = dict(zip("zyx", header.voxel_size, strict=True))
    return [
        {**space, "scale": sizes[space["id"]], "unit": header.unit} for space in spaces
    ]


def _preprocessing(header: Header) -> list[dict[str, Any]]:
    """Describe the normalisation.

    In two steps, for the least rounding; ``fixed_zero_mean_unit_variance`` adds 1e-6
    to the standard deviation, which may be small.
    """
    scale = header.normalisation
    low, high = scale.limits
    return [
        {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
        {"id": "clip", "kwargs": {"min": low, "max": high}},
        {"id": "scale_linear", "kwargs": {"gain": 1.0, "offset": -scale.mean}},
        {"id": "scale_linear", "kwargs": {"gain": 1 / scale.sd, "offset": 0.0}},
    ]


def _postprocessing(header: Header) -> list[dict[str, Any]]:
    softmax = {"id": "softmax", "kwargs": {"axis": "channel"}}
    if header.temperature == 1:
        return [softmax]
    gain = {"gain": 1 / header.temperature, "offset": 0.0}
    return [{"id": "scale_linear", "kwargs": gain}, softmax]
