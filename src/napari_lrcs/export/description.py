"""What a program needs to know to use an exported network, as JSON values.

Importing this module loads no torch.
"""

from dataclasses import asdict
from typing import Any

from napari_lrcs import __version__
from napari_lrcs.config import Axis, PreprocessingConfig
from napari_lrcs.models.header import NetworkInfo

FORMAT_VERSION = 1

INPUT, OUTPUT = "image", "logits"
"""Names of the tensors of an exported network."""

_IN_SLICE: dict[Axis, tuple[str, str]] = {
    "z": ("y", "x"),
    "y": ("z", "x"),
    "x": ("z", "y"),
}
"""Axes of the volume along the rows and the columns of a slice, by the axis across."""


_LEAST_INSIDE = 64
"""Pixels that the smallest tile has inside of its halo."""


def smallest_side(*, stride: int, halo: int) -> int:
    """Return the side of the smallest tile that a package describes.

    Examples
    --------
    >>> smallest_side(stride=8, halo=56)
    176
    """
    inside = -(-_LEAST_INSIDE // stride) * stride
    return inside + 2 * halo


def axes_in_slice(axis: Axis) -> tuple[str, str]:
    """Return the axis that a slice's rows follow each other along, and its columns.

    Examples
    --------
    >>> axes_in_slice("y")
    ('z', 'x')
    """
    return _IN_SLICE[axis]


def describe(network: NetworkInfo, *, stride: int, halo: int) -> dict[str, Any]:
    """Describe an exported network, and what comes before and after it.

    Parameters
    ----------
    stride, halo : int
        Of the network, in pixels: places of tiles are multiples of the stride, and
        each tile reads as many pixels as the halo on all sides.

    Returns
    -------
    dict
        What ``docs/export.md`` explains; in the metadata of an ONNX file.
    """
    config, n_phases = network.config.network, len(network.phases)
    return {
        "format_version": FORMAT_VERSION,
        "network": config.model,
        "input": {
            "name": INPUT,
            "dtype": "float32",
            "axes": ["batch", "slice", "row", "column"],
            "shape": [None, config.n_channels, None, None],
        },
        "output": {
            "name": OUTPUT,
            "dtype": "float32",
            "axes": ["batch", "phase", "row", "column"],
            "shape": [None, n_phases, None, None],
        },
        "preprocessing": _preprocessing(network),
        "postprocessing": {
            "labels": "argmax over the phases, plus 1",
            "probabilities": "softmax over the phases of logits / temperature",
            "temperature": network.temperature,
            "confidence": "1 / (1 + exp(-(rising * log(p) - falling * log(1 - p) + "
            "shift))) of the largest probability p",
            "confidence_curve": asdict(network.confidence_curve),
        },
        "phases": network.phases.to_dicts(),
        "voxel_size": network.voxel_size and list(network.voxel_size),
        "unit": network.unit,
        "tiles": {"stride": stride, "halo": halo},
        "napari_lrcs": __version__,
    }


def _preprocessing(network: NetworkInfo) -> list[dict[str, Any]]:
    config, normalisation = network.config, network.normalisation
    axis, n = config.preprocessing.axis, config.network.context_slices
    rows, columns = axes_in_slice(axis)
    low, high = normalisation.limits
    return [
        {"step": "convert", "dtype": "float32"},
        *filter_steps(config.preprocessing),
        {"step": "clip", "low": low, "high": high},
        {"step": "subtract", "value": normalisation.mean},
        {"step": "divide", "value": normalisation.sd},
        {
            "step": "slices",
            "across": axis,
            "rows": rows,
            "columns": columns,
            "offsets": list(range(-n, n + 1)),
            "beyond_the_ends": "reflect",
        },
    ]


def filter_steps(config: PreprocessingConfig) -> list[dict[str, Any]]:
    """List the filters that a network needs in front of it, in their order.

    Examples
    --------
    >>> filter_steps(PreprocessingConfig())
    []
    """
    steps: list[dict[str, Any]] = []
    if config.median_size > 1:
        steps.append(
            {
                "step": "median",
                "size": [config.median_size] * 3,
                "beyond_the_ends": "reflect",
            }
        )
    if config.unsharp_radius and config.unsharp_weight:
        steps.append(
            {
                "step": "unsharp_mask",
                "sigma": config.unsharp_radius,
                "weight": config.unsharp_weight,
                "beyond_the_ends": "reflect",
            }
        )
    return steps


def filters_in_words(config: PreprocessingConfig) -> str:
    """Say which filters a network needs in front of it; empty without any.

    Examples
    --------
    >>> filters_in_words(PreprocessingConfig(median_size=3))
    'a 3D median of 3 × 3 × 3 voxels'
    """
    parts = []
    if config.median_size > 1:
        sides = " × ".join([str(config.median_size)] * 3)
        parts.append(f"a 3D median of {sides} voxels")
    if config.unsharp_radius and config.unsharp_weight:
        parts.append(
            f"a 2D unsharp mask (sigma {config.unsharp_radius:g} px, weight "
            f"{config.unsharp_weight:g})"
        )
    return " and then ".join(parts)
