"""How far a search is: a bar over all settings, and one of the setting at work."""

from typing import Any

from qtpy.QtWidgets import QWidget

from napari_lrcs.plugin.parts.widgets import Progress, vbox
from napari_lrcs.plugin.search.results import in_words
from napari_lrcs.search.events import (
    Drawing,
    Estimating,
    SearchStarted,
    TrialEnded,
    TrialProgress,
    TrialStarted,
)


class SearchProgress(QWidget):
    """The bar of one setting; it also moves that of the whole search.

    Parameters
    ----------
    whole : Progress
        With the time that is left.
    """

    def __init__(self, whole: Progress) -> None:
        super().__init__()
        self._whole = whole
        self._own = Progress(tells_time=False)
        self.n_trials = self.n_ended = 0
        self._settings = ""
        vbox(self, self._own)

    @property
    def kept(self) -> str:
        """Say what a search leaves that is stopped now."""
        if not self.n_trials:
            return "Stopped before the first setting."
        done = f"{self.n_ended} of {self.n_trials} settings"
        return f"Stopped. {done} have been tried; press Continue to go on."

    def begin(self) -> None:
        """Forget the last search."""
        self.n_trials = self.n_ended = 0
        self._whole.begin("Preparing…")

    def handle(self, event: Any) -> None:
        """Show how far the search is by an event; others are ignored."""
        match event:
            case Estimating():
                self._whole.show_share(0.0, "Timing a few steps")
            case SearchStarted():
                self.n_trials, self.n_ended = event.n_trials, 0
                self._whole.begin("Preparing…", share=event.n_done / event.n_trials)
            case TrialStarted():
                self._settings = in_words(event.settings)
                self._own.begin(self._settings)
                self._show(0.0)
            case TrialProgress():
                self._own.show_share(event.share, f"{self._settings}: {event.text}")
                self._show(event.share)
            case TrialEnded():
                self.n_ended += 1
            case Drawing():
                self._own.end()
                self._whole.show_share(1.0, "Drawing the figures")

    def _show(self, share: float) -> None:
        done = (self.n_ended + share) / self.n_trials
        self._whole.show_share(done, f"Setting {self.n_ended + 1} of {self.n_trials}")

    def end(self) -> None:
        """Hide the bar."""
        self._own.end()
