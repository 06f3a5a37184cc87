"""The folder that ``look`` writes: maps, figures, and their numbers."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_lrcs.errors import ResultExistsError
from napari_lrcs.inspection.figures import (
    write_gradients_figure,
    write_kernels_figure,
    write_way_figure,
    write_weights_figure,
)
from napari_lrcs.inspection.findings import (
    Distribution,
    Gradients,
    Kernels,
    Layer,
    Maps,
    Way,
)
from napari_lrcs.io.records import write_json
from napari_lrcs.io.units import SYMBOLS, known_unit
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import check_new
from napari_lrcs.preprocessing.slices import AXES

FORMAT_VERSION = 1
RECORD = "look.json"
KERNELS, WEIGHTS, GRADIENTS, WAY = (
    f"{name}.png" for name in ("kernels", "weights", "gradients", "way")
)


def check_place(out: Path, *, overwrite: bool) -> None:
    """Refuse a place that `LookFolder` may not replace.

    Raises
    ------
    ResultExistsError
        If something else is there, or a former result that may not be overwritten.
    InUseError, VolumeError
        As `check_new` does.
    """
    if out.exists() and not (out / RECORD).is_file():
        raise ResultExistsError(
            f"{out} exists and is not a folder that look has written; choose another "
            "folder"
        )
    check_new(out, overwrite=overwrite)


def maps_file(layer: str) -> str:
    """Name the file of a layer's maps."""
    return f"maps-{layer.replace(' ', '-')}.tif"


class LookFolder:
    """Writes what is found inside a network, piece by piece.

    Parameters
    ----------
    path : Path
        Folder, which exists.
    image : Volume
        Its voxel size goes along with the maps.
    """

    def __init__(self, path: Path, image: Volume) -> None:
        self.path = path
        self._image = image
        self._record: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "image": image.name,
            "maps": [],
        }

    def add_maps(self, maps: Maps) -> None:
        """Write the maps of a layer as a stack of float32, with their place."""
        name = maps_file(maps.layer.name)
        write_maps(self.path / name, maps, self._image)
        layer = layer_dict(maps.layer, maps.values.shape[1:])
        self._record["maps"].append({**layer, "file": name})

    def add_kernels(self, kernels: Kernels) -> None:
        """Draw the first kernels, and write their numbers."""
        write_kernels_figure(self.path / KERNELS, kernels)
        values = kernels.values.tolist()
        self._record["kernels"] = {"layer": kernels.name, "values": values}

    def add_weights(self, weights: Sequence[Distribution]) -> None:
        """Draw the distributions of the weights."""
        write_weights_figure(self.path / WEIGHTS, weights)
        self._record["weights"] = [found.to_dict() for found in weights]

    def add_gradients(self, gradients: Gradients) -> None:
        """Draw the distributions of the gradients."""
        write_gradients_figure(self.path / GRADIENTS, gradients.distributions)
        self._record["gradients"] = {
            "loss": gradients.loss,
            "layers": [found.to_dict() for found in gradients.distributions],
        }

    def add_way(self, way: Way) -> None:
        """Draw the way of the slice."""
        write_way_figure(self.path / WAY, way)

    def write_record(self, **more: Any) -> dict[str, Any]:
        """Write all numbers, and what else should be known; return them."""
        record = {**self._record, **more}
        write_json(self.path / RECORD, record)
        return record


def layer_dict(layer: Layer, shape: Sequence[int]) -> dict[str, Any]:
    """Describe a layer for a slice, as JSON values.

    Parameters
    ----------
    shape : sequence of two ints
        Rows and columns of its maps.
    """
    return {**asdict(layer), "offset": layer.offset, "shape": list(shape)}


def write_maps(path: Path, maps: Maps, image: Volume) -> None:
    """Write maps as an OME-TIFF (c, y, x) that knows the size and place of its pixels.

    Parameters
    ----------
    image : Volume
        Volume of the slice.
    """
    if image.voxel_size is None:
        sides, symbol = [1.0, 1.0], "pixel"
    else:
        across = AXES[maps.axis]
        sides = [s for i, s in enumerate(image.voxel_size) if i != across]
        symbol = SYMBOLS.get(known_unit(image.unit) or "", "pixel")
    pairs = list(zip("YX", sides, strict=True))
    n_maps = len(maps.values)
    tifffile.imwrite(
        path,
        np.ascontiguousarray(maps.values),
        ome=True,
        photometric="minisblack",
        compression="zlib",
        metadata={
            "axes": "CYX",
            **{f"PhysicalSize{a}": maps.layer.step * s for a, s in pairs},
            **{f"PhysicalSize{a}Unit": symbol for a, _ in pairs},
            "Plane": {
                **{f"Position{a}": [maps.layer.offset * s] * n_maps for a, s in pairs},
                **{f"Position{a}Unit": [symbol] * n_maps for a, _ in pairs},
            },
        },
    )
