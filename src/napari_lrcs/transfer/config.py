"""How many trainings a comparison of transfer learning runs."""

from dataclasses import dataclass

from napari_lrcs.settings import Config, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferConfig(Config):
    """Which trainings a comparison of transfer learning runs."""

    group = "transfer"

    n_moments: int = setting(
        4,
        "Moments of the earlier training to start from, the last ones first (paper: 4)",
        bounds=(1, 4),
    )
    n_repeats: int = setting(
        3, "Trainings from each start, with different seeds (paper: 3)", bounds=(1, 100)
    )
