"""Grey levels to numbers around zero, robustly, the same at training and prediction."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from napari_lrcs.arrays import GreyImage

_TAIL = 0.5
"""Percentage of the grey levels at either end that does not count: hot and dead
pixels, streaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """Subtract `mean` and divide by `sd`, outliers limited first.

    Parameters
    ----------
    low, high : float
        Grey levels that all but the tails lie between. Values farther out than once
        their distance are set to that limit.
    mean, sd : float
        Of the grey levels limited to `low` and `high`.

    Raises
    ------
    ValueError
        If a number is not finite, `low` is above `high`, or `sd` is not positive.
    """

    low: float
    high: float
    mean: float
    sd: float

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value}")
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got {self.low} > {self.high}")
        if self.sd <= 0:
            raise ValueError(f"sd must be positive, got {self.sd}")

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest grey level that passes unchanged."""
        span = self.high - self.low
        return self.low - span, self.high + span

    def __call__(self, image: GreyImage) -> GreyImage:
        """Normalise grey levels of any shape."""
        limited = np.clip(image, *self.limits)
        return ((limited - self.mean) / self.sd).astype(np.float32, copy=False)

    def to_dict(self) -> dict[str, float]:
        """Return the fields as JSON values."""
        return asdict(self)


def fit_normalisation(images: Sequence[GreyImage]) -> Normalisation:
    """Derive a normalisation from the slices that a network is trained on.

    Parameters
    ----------
    images : sequence of ndarray of float32
        Grey levels in the field of view, any shapes.

    Raises
    ------
    ValueError
        If all grey levels are equal, as float32.
    """
    values = np.concatenate([image.ravel() for image in images])
    low, high = np.percentile(values, [_TAIL, 100 - _TAIL])
    if low == high:  # whatever differs is rare enough to be taken for a tail
        low, high = values.min(), values.max()
    limited = np.clip(values, low, high).astype(np.float64)
    sd = float(limited.std())
    if sd == 0:
        raise ValueError(constant(float(low), "on the training slices"))
    return Normalisation(
        low=float(low), high=float(high), mean=float(limited.mean()), sd=sd
    )


def constant(level: float, where: str = "") -> str:
    """Say that grey levels are all the same, or too close together for float32.

    Parameters
    ----------
    level : float
        All of them, as float32.
    where : str
        Such as "on the training slices".
    """
    place = f" {where}" if where else ""
    step = float(np.spacing(np.float32(abs(level))))
    if step <= 1:
        return f"the image is constant ({level:g}){place}; it shows no phases"
    return (
        f"the grey levels are all close to {level:g}{place}, where float32 cannot "
        f"resolve steps below {step:.2g}; subtract an offset from the image first"
    )
