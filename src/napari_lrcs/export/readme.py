"""The text that goes with a network into a package of bioimage.io."""

from napari_lrcs import __version__
from napari_lrcs.export.description import axes_in_slice, filters_in_words
from napari_lrcs.io.units import SYMBOLS
from napari_lrcs.models.header import Header, NetworkInfo


def readme(header: Header, *, name: str) -> str:
    """Describe a network in Markdown.

    Parameters
    ----------
    header : Header
        Of its checkpoint.
    name : str
        Of the model.
    """
    parts = [
        f"# {name}\n\nTrained with napari-lrcs {_version_of(header)}, exported with "
        f"{__version__}.",
        f"## Input\n\n{_input(header)}",
        f"## Output\n\n{_output(header)}",
        f"## Validation\n\n{_validation(header)}",
    ]
    return "\n\n".join(parts) + "\n"


def notice_of_filters(network: NetworkInfo) -> str:
    """Say what a package cannot describe; empty if it describes all."""
    filters = filters_in_words(network.config.preprocessing)
    if not filters:
        return ""
    return (
        f"the network needs {filters} in front of it, which bioimage.io cannot "
        "describe: images must be filtered before they are given to it"
    )


def _version_of(header: Header) -> str:
    return header.versions.get("napari-lrcs", "")


def _input(header: Header) -> str:
    config = header.config
    axis, n = config.preprocessing.axis, config.network.context_slices
    rows, columns = axes_in_slice(axis)
    lines = [
        f"Slices across {axis} of a tomogram: rows along {rows}, columns along "
        f"{columns}.",
    ]
    if n:
        lines.append(
            f"The channels are {n} neighbours before the slice that is labelled, the "
            f"slice itself and {n} neighbours after it, in the order of the volume; "
            "beyond its ends, slices are reflected."
        )
    notice = notice_of_filters(header)
    if notice:
        lines.append(f"**{notice[0].upper()}{notice[1:]}.**")
    lines.append("Grey levels are limited and normalised as the description says.")
    size = _size_text(header)
    if size:
        lines.append(f"It was trained at voxels of {size}: resample other images.")
    lines.append(
        "Slices of any size work as a whole. Tiles must have sides of the sizes that "
        "are described, and the halo."
    )
    return "\n".join(lines)


def _size_text(header: Header) -> str:
    if header.voxel_size is None or header.unit is None:
        return ""
    sides = " × ".join(f"{side:g}" for side in header.voxel_size)
    return f"{sides} {SYMBOLS[header.unit]} (z × y × x)"


def _output(header: Header) -> str:
    rows = "\n".join(
        f"| {phase.label} | {phase.name} | `{phase.colour}` |"
        for phase in header.phases
    )
    return (
        "The probability of each phase, calibrated on the validation slices if there "
        "were any. The label of a pixel is the number of its most probable phase, "
        f"counted from 1:\n\n| label | phase | colour |\n|---|---|---|\n{rows}"
    )


def _validation(header: Header) -> str:
    scores = header.history[-1] if header.history else {}
    mean = scores.get("validation_mean_iou")
    how = (
        "Label a few slices by hand that the network was not trained on, and compare: "
        "intersection over union of each phase."
    )
    if mean is None:
        return how
    rows = [f"| mean | {mean:.3f} |"]
    for phase in header.phases:
        iou = scores.get(f"validation_iou_{phase.label}")
        rows.append(f"| {phase.name} | {'–' if iou is None else f'{iou:.3f}'} |")
    table = "\n".join(["| phase | IoU |", "|---|---|", *rows])
    return f"{how} On its own validation slices:\n\n{table}"
