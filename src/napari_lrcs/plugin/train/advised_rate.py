"""The learning rate that suits a training that starts from another network."""

import math
from typing import Any

from qtpy.QtWidgets import QLabel

from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.plugin.parts.forms import ConfigForm

_RATIO = 0.3
"""Of the paper's three rates, 1e-4 × 0.3^(N-1) with N = 2.

On the three pairs of samples of docs/paper.md it gave up to 10 points of mean IoU more
than the full rate, and at most 0.7 less; much lower rates can fail.
"""


class AdvisedRate(QLabel):
    """Proposes an initial learning rate, unless the user has set one; says why.

    Parameters
    ----------
    form : ConfigForm of TrainConfig
    """

    def __init__(self, form: ConfigForm[TrainConfig]) -> None:
        super().__init__()
        self._form = form
        self._advised = math.nan
        self._replaced: float | None = None
        """The rate of a preset that the advised one took the place of."""
        self.setWordWrap(True)
        self.hide()

    def follow(self, own: float | None) -> None:
        """Advise on a start from a network.

        Parameters
        ----------
        own : float or None
            Initial learning rate of the network's own training; None for random
            weights, which bring the earlier rate back.
        """
        if self._replaced is not None and self._shows(self._advised):
            self._form["learning_rate"].value = self._replaced
        self._replaced = None
        self.setVisible(own is not None)
        if own is None:
            return
        self._advised = float(f"{_RATIO * own:.2g}")
        is_preset = any(
            self._shows(preset.optimisation.learning_rate)
            for preset in PRESETS.values()
        )
        if is_preset:
            self._replaced = self._form.config.optimisation.learning_rate
            self._form["learning_rate"].value = self._advised
        what = "Learning rate set to" if is_preset else "Advised learning rate:"
        self.setText(
            f"{what} {self._advised:g}, {_RATIO:g} × that of the network's own "
            "training. The tab Transfer compares rates."
        )

    def remembered(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Put the earlier rate into what is remembered, as the network is not."""
        if settings and self._replaced is not None and self._shows(self._advised):
            settings["config"]["learning_rate"] = self._replaced
        return settings

    def _shows(self, rate: float) -> bool:
        try:
            shown = self._form.config.optimisation.learning_rate
        except ValueError:  # being typed
            return False
        return math.isclose(shown, rate)
