"""How far a study is: a bar over all networks, and one of the network at work."""

from typing import Any

from napari_lrcs.plugin.resumable import PartsProgress
from napari_lrcs.uncertainty.study.events import (
    Combining,
    MemberEnded,
    MemberFailed,
    MemberProgress,
    MemberStarted,
    StudyStarted,
)

_COMBINING = "Combining all networks"


class StudyProgress(PartsProgress):
    """The bars of a study."""

    doing = "Studying"
    part, kept = "network", "are kept"

    def handle(self, event: Any) -> None:
        """Show how far the study is by an event; others are ignored."""
        match event:
            case StudyStarted():
                n_parts = len(event.names)
                self.begin(n_parts, share=event.n_done / n_parts)
            case MemberStarted():
                self.begin_part(event.name, event.name)
            case MemberProgress():
                self.show_part(event.name, event.share, event.text)
            case MemberEnded():
                self.end_part(event.member.name)
            case MemberFailed():
                self.end_part(event.name)
            case Combining():
                if self.own.isVisible():
                    self.own.end()
                    self.whole.begin(_COMBINING)
                self.whole.show_share(event.share, _COMBINING)
