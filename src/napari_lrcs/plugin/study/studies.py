"""The studies in a folder, and what can be done with each."""

from qtpy.QtCore import Signal

from napari_lrcs.plugin.parts.folder_tables import FolderTable
from napari_lrcs.uncertainty.study.folder import StudyState, list_studies


class StudiesTable(FolderTable[StudyState]):
    """A table of studies."""

    open_requested = Signal(object)
    """Show what this study has found; the signals carry its path."""
    resume_requested = Signal(object)
    """Go on with this study."""

    def __init__(self) -> None:
        super().__init__(
            ("Study", "Networks", "When"),
            list_items=list_studies,
            row=_row,
            hint="No study yet: each one is kept and listed here.",
            select_first=True,
        )
        self.open_button = self.add_button(
            "Open",
            "Show the tables and plots of this study, and its layers over the image",
            self.open_requested,
            allow=lambda study: not study.damaged,
        )
        self.continue_button = self.add_button(
            "Continue",
            "Continue this study, with its own settings and slices; "
            "networks that failed are tried again",
            self.resume_requested,
            allow=lambda study: study.can_resume,
        )

    @property
    def unfinished(self) -> StudyState | None:
        """The study that was stopped last."""
        return next((s for s in self.items if s.can_resume and not s.is_complete), None)


def _row(study: StudyState) -> tuple[str, ...]:
    return (
        study.path.name,
        "damaged" if study.damaged else f"{study.n_done} of {study.n_members}",
        f"{study.modified:%d %b %H:%M}",
    )
