"""Notices that the user should read, each shown once, until the next run."""

import re
from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_lrcs.plugin.parts.widgets import COLOURS
from napari_lrcs.progress import Notice, NoticeKind

_IS_WARNING: frozenset[NoticeKind] = frozenset(
    {"pitfall", "never_predicted", "out_of_memory"}
)


class Notices(QLabel):
    """A list of notices; those that need something done are in colour."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.clear()

    def clear(self) -> None:
        """Remove all notices."""
        self._texts = []
        self._show("")

    def add(self, notice: Notice) -> None:
        """Show a notice above the others, unless it is shown already."""
        if notice.text in self._texts:
            return
        self._texts.append(notice.text)
        text = escape(notice.text[:1].upper() + notice.text[1:])
        if notice.kind in _IS_WARNING:
            text = f'<b style="color: {COLOURS["warning"]}">{text}</b>'
        self._show(f"<p style='margin: 3px 0'>{text}</p>{self.text()}")

    @property
    def texts(self) -> tuple[str, ...]:
        """The sentences, the oldest first."""
        return tuple(self._texts)

    def _show(self, text: str) -> None:
        self.setText(text)
        self.setVisible(bool(text))


def shortcoming(notice: Notice) -> str:
    """Shorten a notice of the kind "never_predicted" to what is wrong.

    Examples
    --------
    >>> text = "crack is painted but never predicted: train longer"
    >>> shortcoming(Notice(kind="never_predicted", text=text))
    'crack is never predicted'
    """
    clause = re.split(r"[:;.] ", notice.text, maxsplit=1)[0].rstrip(".")
    return clause.replace(" painted but ", " ", 1)
