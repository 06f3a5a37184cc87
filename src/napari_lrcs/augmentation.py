"""Settings of how patches are changed at random; `config` has those of the rest.

Field types are read at run time: the evaluation of annotations is not postponed.
"""

from dataclasses import dataclass

from napari_lrcs.settings import Config, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationConfig(Config):
    """How patches are changed at random; strengths of 0 change nothing."""

    group = "augmentation"

    flip: bool = setting(True, "Mirror patches, and rotate them by multiples of 90°")
    rotation: float = setting(
        0.0, "Largest rotation to either side", bounds=(0, 180), unit="°"
    )
    scaling: float = setting(
        0.0, "Largest relative change of size, 0.2 for 1/1.2 to 1.2", bounds=(0, 1)
    )
    elastic: float = setting(
        0.0, "Standard deviation of the elastic displacement", bounds=(0, 50), unit="px"
    )
    warp_share: float = setting(
        0.5,
        "Share of the patches that are rotated, scaled and distorted "
        "(interpolation blurs noise, so leave some unchanged)",
        bounds=(0, 1),
    )
    gain: float = setting(0.1, "Largest relative change of contrast", bounds=(0, 0.9))
    offset: float = setting(
        0.1, "Largest shift of brightness", bounds=(0, 10), unit="image sd"
    )
    gamma: float = setting(
        0.0, "Largest relative change of gamma, 0.2 for 1/1.2 to 1.2", bounds=(0, 2)
    )
    noise: float = setting(
        0.1,
        "Largest standard deviation of added white noise",
        bounds=(0, 10),
        unit="image sd",
    )
    coloured_noise: float = setting(
        0.0,
        "Largest standard deviation of added noise that is correlated over some pixels",
        bounds=(0, 10),
        unit="image sd",
    )
    blur: float = setting(
        0.0, "Largest standard deviation of a Gaussian blur", bounds=(0, 10), unit="px"
    )
    rings: float = setting(
        0.0,
        "Largest standard deviation of added ring artefacts",
        bounds=(0, 10),
        unit="image sd",
    )

    @property
    def is_warping(self) -> bool:
        """Whether patches are looked up between pixels."""
        strengths = (self.rotation, self.scaling, self.elastic)
        return bool(any(strengths) and self.warp_share)
