"""The searches in a folder, and what can be done with each."""

from napari_lrcs.plugin.parts.widgets import percent
from napari_lrcs.plugin.resumable import ResumableTable
from napari_lrcs.search.folder import SearchState, list_searches


class SearchesTable(ResumableTable[SearchState]):
    """A table of searches."""

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
