"""How far a study is: a bar over all networks, and one of the network at work."""

from typing import Any

from qtpy.QtWidgets import QWidget

from napari_lrcs.plugin.parts.widgets import Progress, vbox
from napari_lrcs.uncertainty.study.events import (
    Combining,
    MemberEnded,
    MemberFailed,
    MemberProgress,
    MemberStarted,
    StudyStarted,
)


class StudyProgress(QWidget):
    """The bar of one network; it also moves that of the whole study.

    Parameters
    ----------
    whole : Progress
        With the time that is left.
    """

    def __init__(self, whole: Progress) -> None:
        super().__init__()
        self._whole = whole
        self._own = Progress(tells_time=False)
        self._n_members = 0
        self._n_ended = 0
        self._is_timed = False
        vbox(self, self._own)

    @property
    def text(self) -> str:
        """The line about the network at work."""
        return self._own.text

    @property
    def kept(self) -> str:
        """Say what a study leaves that is stopped now."""
        if not self._n_members:
            return "Stopped before the first network."
        done = f"{self._n_ended} of {self._n_members} networks"
        return f"Stopped. {done} are kept; press Continue to go on."

    def begin(self) -> None:
        """Forget the last study."""
        self._n_members = 0
        self._whole.begin("Preparing…")

    def handle(self, event: Any) -> None:
        """Show how far the study is by an event."""
        match event:
            case StudyStarted():
                self._n_members, self._n_ended = len(event.names), 0
                self._is_timed = False
                share = event.n_done / self._n_members
                self._whole.begin("Preparing…", share=share)
            case MemberStarted():
                self._own.begin(event.name)
                self._show(0.0)
            case MemberProgress():
                self._own.show_share(event.share, f"{event.name}: {event.text}")
                self._show(event.share)
            case MemberEnded() | MemberFailed():
                self._n_ended += 1
            case Combining():
                self._combine(event.share)

    def _show(self, share: float) -> None:
        done = (self._n_ended + share) / self._n_members
        text = f"Network {self._n_ended + 1} of {self._n_members}"
        if share > 0 and not self._is_timed:  # what came before is done only once
            self._is_timed = True
            self._whole.begin(text, share=done)
        self._whole.show_share(done, text)

    def _combine(self, share: float) -> None:
        if self._own.isVisible():
            self._own.end()
            self._whole.begin("Combining all networks")
        self._whole.show_share(share, "Combining all networks")

    def end(self) -> None:
        """Take the bar away."""
        self._own.end()
