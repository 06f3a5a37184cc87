"""Figures of the inside of a network; drawn into a dock, or saved without a display."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lrcs.comparison.figures import shortened
from napari_lrcs.inspection.findings import Distribution, Kernels, Stop, Way
from napari_lrcs.io.writing import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_INK = "#8a8a8a"
_FILL = "#3a87c8"
"""Readable on white and on black."""

_ROW_INCHES, _HEAD_INCHES = 0.3, 1.2

_MOST_KERNELS = 64
"""Kernels of a figure; more would be too small to see."""

_CELL, _GAP = 1.0, 0.32
"""Side of a layer's picture on the figure of the way, and the room between two."""

_LINES = 1.6 * _GAP
"""Room for the two lines of text between rows."""

_NOTES = 0.14
"""Height of the notes below the pictures, in which no arrow ends."""

_FEW_LETTERS, _FEW_PIXELS = 14, 128
"""Letters of a name, and pixels along a side, in a narrow figure."""

_HALF_GAP = 0.03
"""Between the maps of one layer."""


def write_kernels_figure(path: Path, kernels: Kernels) -> None:
    """Draw kernels into a ``.png``, ``.pdf`` or ``.svg`` file."""
    _write(path, (6, 6), lambda ax: draw_kernels(ax, kernels))


def write_weights_figure(path: Path, weights: Sequence[Distribution]) -> None:
    """Draw distributions of weights into a file."""
    _write(path, _tall(weights), lambda ax: draw_weights(ax, weights))


def write_gradients_figure(path: Path, gradients: Sequence[Distribution]) -> None:
    """Draw distributions of gradients into a file."""
    _write(path, _tall(gradients), lambda ax: draw_gradients(ax, gradients))


def write_way_figure(path: Path, way: Way) -> None:
    """Draw the way of an image through a network into a file."""
    n_columns, n_rows = Grid(way.stops).size
    _write(path, (1.6 * n_columns, 1.75 * n_rows), lambda ax: draw_way(ax, way))


def _tall(distributions: Sequence[Distribution]) -> tuple[float, float]:
    return 7, _HEAD_INCHES + _ROW_INCHES * len(distributions)


def _write(
    path: Path, size: tuple[float, float], draw: Callable[["Axes"], None]
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=200, layout="constrained")
    draw(figure.add_subplot())
    with replacing(path) as temporary:
        figure.savefig(temporary)


# ---- kernels, weights and gradients ----


def draw_kernels(ax: "Axes", kernels: Kernels) -> None:
    """Draw kernels side by side: blue is negative, white 0, red positive.

    Of kernels that see several slices, the one for the slice itself is drawn.
    """
    n_channels = kernels.values.shape[1]
    own = kernels.values[:_MOST_KERNELS, n_channels // 2]
    largest = float(np.abs(own).max()) or 1.0
    picture = mosaic(own, gap=1)
    ax.imshow(picture, cmap="RdBu_r", vmin=-largest, vmax=largest)
    ax.set_axis_off()
    n_all, side = len(kernels.values), own.shape[-1]
    shown = f"{n_all}" if n_all == len(own) else f"{len(own)} of {n_all}"
    ax.set_title(
        f"{kernels.name}: {shown} kernels of {side} × {side}", loc="left", fontsize=9
    )


def mosaic(images: "NDArray[Any]", *, gap: int) -> "NDArray[np.floating]":
    """Lay images of one shape out in about a square, NaN between them.

    Examples
    --------
    >>> mosaic(np.ones((2, 1, 1)), gap=1).tolist()
    [[1.0, nan, 1.0]]
    """
    n, height, width = images.shape
    n_columns = int(np.ceil(np.sqrt(n)))
    n_rows = -(-n // n_columns)
    shape = (n_rows * (height + gap) - gap, n_columns * (width + gap) - gap)
    picture = np.full(shape, np.nan)
    for i, image in enumerate(images):
        row, column = i // n_columns * (height + gap), i % n_columns * (width + gap)
        picture[row : row + height, column : column + width] = image
    return picture


def draw_weights(ax: "Axes", distributions: Sequence[Distribution]) -> None:
    """Draw the histogram of the weights of each convolution, the first on top."""
    for row, found in enumerate(distributions):
        heights = 0.85 * found.counts / found.counts.max()
        centres = (found.edges[:-1] + found.edges[1:]) / 2
        ax.fill_between(centres, row, row - heights, color=_FILL, alpha=0.8, lw=0)
    _name_rows(ax, distributions)
    ax.set_xlabel("Weight")


def draw_gradients(ax: "Axes", distributions: Sequence[Distribution]) -> None:
    """Draw the sizes of the gradients of each convolution, the first on top.

    The line reaches from the 5th to the 95th percentile, the bar from the 25th to the
    75th; the dot is the median.
    """
    for row, found in enumerate(distributions):
        lowest, low, middle, high, highest = found.sizes
        ax.plot([lowest, highest], [row, row], color=_FILL, lw=1)
        ax.plot([low, high], [row, row], color=_FILL, lw=5, solid_capstyle="butt")
        ax.plot(middle, row, "o", color="white", mec=_FILL, ms=4)
    if any(found.sizes[-1] > 0 for found in distributions):
        ax.set_xscale("log")
    _name_rows(ax, distributions)
    ax.set_xlabel("Size of the gradient")


def _name_rows(ax: "Axes", distributions: Sequence[Distribution]) -> None:
    names = [found.name.removesuffix(".conv") for found in distributions]
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -1.1)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", alpha=0.3)


# ---- the way of an image ----


class Grid:
    """Where the layers stand: a row per resolution, encoder left and decoder right."""

    def __init__(self, stops: Sequence[Stop]) -> None:
        steps = sorted({1, *(stop.layer.step for stop in stops)})
        coarsest = [i for i, stop in enumerate(stops) if stop.layer.step == steps[-1]]
        turn = coarsest[-1] if coarsest else 0
        self._row_of = {step: row for row, step in enumerate(steps)}
        left: list[list[int]] = [[] for _ in steps]
        right: list[list[int]] = [[] for _ in steps]
        for i, stop in enumerate(stops):
            side = left if i <= turn else right
            side[self._row_of[stop.layer.step]].append(i)
        # Image and prediction are beside the finest layers; a gap parts the two sides.
        self.n_columns = max(
            len(a) + len(b) + (1 if a and b else 0) + 2 * (row == 0)
            for row, (a, b) in enumerate(zip(left, right, strict=True))
        )
        self.places: dict[int, tuple[int, int]] = {}
        for row, (a, b) in enumerate(zip(left, right, strict=True)):
            is_finest = row == 0
            start = int(is_finest)
            if row == len(steps) - 1:
                start = max(0, (self.n_columns - len(a)) // 2)
            self.places |= {i: (start + n, row) for n, i in enumerate(a)}
            start = self.n_columns - len(b) - is_finest
            self.places |= {i: (start + n, row) for n, i in enumerate(b)}

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.n_columns, len(self._row_of)


def draw_way(ax: "Axes", way: Way) -> None:
    """Draw an image, the maps of the layers that it passes, and the prediction.

    Rows are resolutions: the encoder goes down on the left, the decoder up on the
    right. Each map has its own range of grey levels.
    """
    grid = Grid(way.stops)
    n_columns, n_rows = grid.size
    inner = [grid.places[i] for i in range(len(way.stops))]
    path = [(0, 0), *inner, (n_columns - 1, 0)]
    pitch = _pitch_of(way)
    _draw_pictures(ax, way, path, pitch)
    for start, end in itertools.pairwise(path):
        _draw_arrow(ax, start, end, pitch=pitch)
    ax.set_xlim(-0.1, n_columns * pitch[0])
    ax.set_ylim(n_rows * pitch[1], -_GAP)


def draw_way_in_rows(ax: "Axes", way: Way, *, n_columns: int) -> None:
    """Draw the pictures of `draw_way` in the order of reading, for a narrow dock."""
    pitch, n = _pitch_of(way), len(way.stops) + 2
    path = [(i % n_columns, i // n_columns) for i in range(n)]
    _draw_pictures(ax, way, path, pitch, is_small=True)
    ax.set_xlim(0, n_columns * pitch[0] - _GAP)
    ax.set_ylim(n_rows_of(way, n_columns) * pitch[1], -_GAP)
    ax.set_anchor("N")


def n_rows_of(way: Way, n_columns: int) -> int:
    """Count the rows of `draw_way_in_rows`."""
    return -(-(len(way.stops) + 2) // n_columns)


def _pitch_of(way: Way) -> tuple[float, float]:
    """Return the distances of the pictures, along x and y."""
    height = way.image.shape[0] / way.image.shape[1]
    return _CELL + _GAP, height + _LINES


def _draw_pictures(
    ax: "Axes",
    way: Way,
    path: Sequence[tuple[int, int]],
    pitch: tuple[float, float],
    *,
    is_small: bool = False,
) -> None:
    """Draw the pictures at places (column, row), with their names.

    Small ones are drawn in a moment: of fewer pixels, and with shortened names.
    """
    most = _FEW_PIXELS if is_small else max(way.image.shape)
    pictures = [
        (_rgba(_scaled(_thinned(way.image, most))), "slice", ""),
        *(_pictured(stop, most) for stop in way.stops),
        (_labels_rgb(way, most), "prediction", ""),
    ]
    height = pitch[1] - _LINES
    for (column, row), (picture, name, note) in zip(path, pictures, strict=True):
        x, y = column * pitch[0], row * pitch[1]
        extent = (x, x + _CELL, y + height, y)
        ax.imshow(picture, extent=extent, interpolation="nearest", aspect="equal")
        label = shortened(name, _FEW_LETTERS) if is_small else name
        ax.text(x, y - 0.05, label, color=_INK, fontsize=6, va="bottom")
        ax.text(x + _CELL, y + height + 0.03, note, **_NOTE)
    ax.set_axis_off()


_NOTE: dict[str, Any] = {"color": _INK, "fontsize": 5, "va": "top", "ha": "right"}


def _draw_arrow(
    ax: "Axes",
    start: tuple[int, int],
    end: tuple[int, int],
    *,
    pitch: tuple[float, float],
) -> None:
    """Draw an arrow from one picture to the next."""
    height = pitch[1] - _LINES
    (x1, y1), (x2, y2) = (
        (column * pitch[0], row * pitch[1]) for column, row in (start, end)
    )
    if y1 == y2:
        ends = (x1 + _CELL, y1 + height / 2), (x2, y2 + height / 2)
    elif y2 > y1:
        ends = (x1 + _CELL / 2, y1 + height + _NOTES), (x2 + _CELL / 2, y2 - 0.2)
    else:
        ends = (x1 + _CELL / 2, y1 - 0.2), (x2 + _CELL / 2, y2 + height + _NOTES)
    ax.annotate(
        "",
        xytext=ends[0],
        xy=ends[1],
        arrowprops={"arrowstyle": "->", "color": _INK, "lw": 0.8},
    )


def _pictured(stop: Stop, most: int) -> tuple["NDArray[np.floating]", str, str]:
    """Return a picture of a layer's maps, its name, and their number and size."""
    layer = stop.layer
    rows, columns = stop.values.shape[1:]
    thinned = _thinned(stop.values, most)
    gap = max(1, round(_HALF_GAP * thinned.shape[-1]))
    scaled = np.stack([_scaled(image) for image in thinned])
    picture = mosaic(scaled, gap=gap) if len(scaled) > 1 else scaled[0]
    return _rgba(picture), layer.name, f"{layer.n_maps} × {rows} × {columns}"


def _scaled(image: "NDArray[Any]") -> "NDArray[np.floating]":
    low, high = np.percentile(image, [0.5, 99.5])
    scaled: NDArray[np.floating] = (image - low) / max(high - low, 1e-9)
    return scaled.clip(0, 1)


def _thinned(images: "NDArray[Any]", most: int) -> "NDArray[Any]":
    """Leave out rows and columns, so that at most `most` of each remain."""
    every = -(-max(images.shape[-2:]) // most)
    return images[..., ::every, ::every]


def _rgba(grey: "NDArray[np.floating]") -> "NDArray[np.floating]":
    """Give grey levels from 0 to 1 four channels; what is NaN is transparent."""
    opaque = np.isfinite(grey)
    channels = [np.where(opaque, grey, 0)] * 3
    return np.stack([*channels, opaque.astype(float)], axis=-1)


def _labels_rgb(way: Way, most: int) -> "NDArray[np.floating]":
    colours = np.zeros((256, 3))
    for phase in way.phases:
        colours[phase.label] = phase.rgb
    picture: NDArray[np.floating] = colours[_thinned(way.labels, most)]
    return picture
