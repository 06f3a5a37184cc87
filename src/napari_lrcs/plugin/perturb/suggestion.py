"""The row that looks for a perturbation, also for the one that the form begins with."""

from collections.abc import Callable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSpinBox, QWidget

from napari_lrcs.plugin.parts.widgets import button, hbox
from napari_lrcs.plugin.parts.workers import EXPECTED, BackgroundReader
from napari_lrcs.plugin.perturb import job as jobs
from napari_lrcs.plugin.perturb.setup import PerturbSetup
from napari_lrcs.uncertainty.perturbation.suggestion import Suggestion


class SuggestionPart(QWidget):
    """The share of voxels that is to change, and what is suggested for it.

    Parameters
    ----------
    setup : PerturbSetup
        The form that takes over a suggestion.
    on_suggest : callable
        Called when the button is pressed.
    """

    search_ended = Signal()
    """The first suggestion was given up."""

    def __init__(self, setup: PerturbSetup, *, on_suggest: Callable[[], None]) -> None:
        super().__init__()
        self._setup = setup
        self._reader = BackgroundReader("Looking for a perturbation", self)
        self._reader.answered.connect(self.use)
        self._reader.failed.connect(lambda _error: self.search_ended.emit())
        self.is_own = self._is_using = False
        """Whether the user has set the perturbation; whether `use` sets it now."""
        self.wanted_share = QSpinBox()
        self.wanted_share.setRange(1, 50)
        self.wanted_share.setValue(10)
        self.wanted_share.setSuffix("%")
        label = QLabel("Wanted change")
        for widget in (label, self.wanted_share):
            widget.setToolTip(
                "Share of the painted voxels that is to change; experimenters who "
                "paint the same slice differ by about 10%"
            )
        self.button = button(
            "Suggest",
            "Find the kernel and the picked fraction that change this share",
            on_suggest,
        )
        self.setLayout(hbox(label, self.wanted_share, self.button))
        setup.form.changed.connect(self._on_form)

    @property
    def share(self) -> float:
        """Share of the painted voxels that is to change, 0 to 1."""
        return float(self.wanted_share.value() / 100)

    @property
    def is_searching(self) -> bool:
        """Whether the first suggestion is being looked for."""
        return self._reader.is_reading

    def use(self, suggestion: Suggestion) -> None:
        """Show a suggestion in the form."""
        self.is_own, self._is_using = False, True
        self._setup.form.config = suggestion.config
        self._is_using = False

    def suggest_first(self, *, seed: int) -> None:
        """Look for a perturbation to begin with, unless the user has set one."""
        self._reader.cancel()
        if self.is_own:
            return
        try:
            request = self._setup.sample_request(seed=seed)
        except EXPECTED:  # the preview says why
            return
        share = self.share
        self._reader.read(lambda: [*jobs.suggest(request, share)][-1])

    def cancel(self) -> None:
        """Stop looking."""
        self._reader.cancel()

    def _on_form(self) -> None:
        if not self._is_using:
            self.is_own = True
            self._reader.cancel()
            self.search_ended.emit()
