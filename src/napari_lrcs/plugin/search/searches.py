"""The searches in a folder, and what can be done with each."""

from qtpy.QtCore import Signal

from napari_lrcs.plugin.parts.folder_tables import FolderTable
from napari_lrcs.plugin.parts.widgets import percent
from napari_lrcs.search.folder import SearchState, list_searches


class SearchesTable(FolderTable[SearchState]):
    """A table of searches."""

    open_requested = Signal(object)
    """Show what this search has found; the signals carry its path."""
    resume_requested = Signal(object)
    """Continue this search."""

    def __init__(self) -> None:
        super().__init__(
            ("Search", "Settings", "Best mean IoU (%)", "When"),
            list_items=list_searches,
            row=_row,
            hint="No search yet: each one is kept and listed here.",
            select_first=True,
        )
        self.open_button = self.add_button(
            "Open",
            "Show the table and the figures of this search",
            self.open_requested,
            allow=lambda search: not search.damaged,
        )
        self.continue_button = self.add_button(
            "Continue",
            "Continue this search as it was begun; settings that failed are tried "
            "again",
            self.resume_requested,
            allow=lambda search: search.can_resume,
        )

    @property
    def unfinished(self) -> SearchState | None:
        """The latest search that can be continued."""
        return next((search for search in self.items if search.can_resume), None)


def _row(search: SearchState) -> tuple[str, ...]:
    return (
        search.path.name,
        "damaged" if search.damaged else f"{search.n_done} of {search.n_trials}",
        percent(search.best),
        f"{search.modified:%d %b %H:%M}",
    )
