"""The searches in a folder, and what can be done with each."""

from qtpy.QtCore import Signal

from napari_lrcs.plugin.parts.widgets import percent
from napari_lrcs.plugin.resumable import ResumableTable
from napari_lrcs.search.folder import SearchState, list_searches


class SearchesTable(ResumableTable[SearchState]):
    """A table of searches."""

    buttons_per_row = 3

    more_requested = Signal(object)
    """Try more settings than were planned; carries the path."""

    def __init__(self) -> None:
        super().__init__(
            "Searches",
            ("Search", "Settings", "Best mean IoU (%)", "When"),
            list_searches,
            open_tip="Show the table and the figures of this search",
            continue_tip="Continue this search as it was begun; settings that failed "
            "are tried again",
            others=lambda search: (percent(search.best),),
        )
        self.more_button = self.add_button(
            "Try more…",
            "Continue this search with more settings than were planned; a grid has no "
            "others",
            self.more_requested,
            allow=lambda search: search.can_extend,
        )
