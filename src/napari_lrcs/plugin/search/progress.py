"""How far a search is: a bar over all settings, and one of the setting at work."""

from typing import Any

from napari_lrcs.plugin.resumable import PartsProgress
from napari_lrcs.plugin.search.results import in_words
from napari_lrcs.search.events import (
    Drawing,
    Estimating,
    SearchStarted,
    TrialEnded,
    TrialProgress,
    TrialStarted,
)


class SearchProgress(PartsProgress):
    """The bars of a search."""

    doing = "Searching in"
    part, kept = "setting", "have been tried"

    def handle(self, event: Any) -> None:
        """Show how far the search is by an event; others are ignored."""
        match event:
            case Estimating():
                self.whole.show_share(0.0, "Timing a few steps")
            case SearchStarted():
                self.begin(event.n_trials, share=event.n_done / event.n_trials)
            case TrialStarted():
                self.begin_part(event.number, in_words(event.settings))
            case TrialProgress():
                self.show_part(event.number, event.share, event.text)
            case TrialEnded():
                self.end_part(event.trial.number)
            case Drawing():
                self.own.end()
                self.whole.show_share(1.0, "Drawing the figures")
