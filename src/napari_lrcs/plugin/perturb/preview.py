"""Previews, made in a thread."""

from collections.abc import Callable
from typing import Any

from superqt.utils import qdebounced

from napari_lrcs.plugin.parts.workers import Events, Job, Work, start_job

_SOON_MS = 150
"""Time from the last change to its preview: a slider passes many slices."""

MakePreview = Callable[[], Events]


class Previewer:
    """Makes previews in a thread, one at a time; of many that are asked for, the last.

    Parameters
    ----------
    show : callable
        Takes each event.
    fail : callable
        Takes an error.
    """

    def __init__(
        self, show: Callable[[Any], None], fail: Callable[[Exception], None]
    ) -> None:
        self._show, self._fail = show, fail
        self._next: MakePreview | None = None
        self._job: Job | None = None
        self._is_stale = False
        self._start_soon = qdebounced(self._start, timeout=_SOON_MS)

    @property
    def is_busy(self) -> bool:
        """Whether a preview is made or is about to be."""
        return self._job is not None or self._next is not None

    def request(self, make: MakePreview) -> None:
        """Make a preview soon, in place of those asked for before."""
        self._is_stale = True
        self._next = make
        self._start_soon()

    def forget(self) -> None:
        """Make none, and show none that is being made."""
        self._start_soon.cancel()
        self._next = None
        self._is_stale = True
        if self._job is not None:
            self._job.quit()

    def disconnect_events(self) -> None:
        """Make and show no more previews."""
        self.forget()

    def _start(self) -> None:
        if self._job is not None or self._next is None:
            return
        make, self._next = self._next, None
        self._is_stale = False
        self._job = start_job(
            Work("Previewing perturbed labels", make),
            connect={
                "yielded": self._on_event,
                "errored": self._on_error,
                "finished": self._on_finished,
            },
        )

    def _on_event(self, event: Any) -> None:
        if not self._is_stale:
            self._show(event)

    def _on_error(self, error: Exception) -> None:
        if not self._is_stale:
            self._fail(error)

    def _on_finished(self) -> None:
        self._job = None
        if self._next is not None:
            self._start_soon()
