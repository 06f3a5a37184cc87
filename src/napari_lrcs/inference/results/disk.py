"""A prediction into files that an interruption does not cost."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.inference.results.outputs import (
    CONFIDENCE,
    LABELS,
    PROBABILITIES,
    Arrays,
    Output,
)
from napari_lrcs.inference.results.partial import PartialFolder
from napari_lrcs.inference.results.publishing import Publication
from napari_lrcs.inference.results.result import Sink
from napari_lrcs.inference.results.sharing import end_sessions
from napari_lrcs.io.locks import only_writer
from napari_lrcs.io.paths import (
    check_destination,
    check_outputs,
    follow_link,
    former_of,
)
from napari_lrcs.io.writing import check_free, check_new, naming, remove


@dataclass(slots=True, kw_only=True)
class DiskResult:
    """A prediction into files, gathered in a folder beside them until it is complete.

    The folder, ``NAME.partial``, is what an interrupted prediction is continued from.
    All outputs are OME-Zarr there; complete, they are made ready in the folder, as TIFF
    or without specks where this is asked for, and then moved to their places.

    Parameters
    ----------
    labels : Path
        ``.tif`` or ``.zarr``; the latter, as that of `confidence`, gets coarser levels.
    confidence : Path, optional
        ``.tif`` or ``.zarr``; 0 to 255 for probabilities 0 to 1 of the predicted phase.
    probabilities : Path, optional
        ``.zarr``; float16, one channel a phase.
    overwrite : bool
        Whether what is in the places may be replaced. What this same prediction has
        put there before it was interrupted is accepted either way.

    Raises
    ------
    VolumeError
        If a name has another ending, or is that of something else than a result: a
        folder, or one that is no Zarr.
    ValueError
        If two outputs would go to one place.
    """

    labels: Path
    confidence: Path | None = None
    probabilities: Path | None = None
    overwrite: bool = True
    is_complete: bool = field(init=False, default=False)
    """Whether all outputs have reached their places."""

    def __post_init__(self) -> None:
        self.labels = follow_link(self.labels)
        self.confidence = self.confidence and follow_link(self.confidence)
        self.probabilities = self.probabilities and follow_link(self.probabilities)
        for output, path in self.paths.items():
            check_destination(output.name, path, suffixes=output.suffixes)
        check_outputs([*self.paths.values()], inputs=())

    @property
    def paths(self) -> dict[Output, Path]:
        """Where each output that is wanted ends up."""
        every = {
            LABELS: self.labels,
            CONFIDENCE: self.confidence,
            PROBABILITIES: self.probabilities,
        }
        return {output: path for output, path in every.items() if path is not None}

    @property
    def path(self) -> Path:
        """Where the labels end up."""
        return self.labels

    @property
    def wanted(self) -> tuple[Output, ...]:
        """Outputs to compute."""
        return tuple(self.paths)

    @property
    def partial(self) -> Path:
        """Folder of an incomplete prediction."""
        return self._folder.path

    @property
    def _folder(self) -> PartialFolder:
        return PartialFolder.beside(self.labels)

    @property
    def places(self) -> tuple[Path, ...]:
        """All that is written to, or removed, until the prediction is complete."""
        return (*self.paths.values(), self.partial)

    @property
    def is_unfinished(self) -> bool:
        """Whether the folder of an interrupted prediction is there."""
        return self.partial.exists()

    def arrays(self) -> list[Any]:
        """Open the labels, and the confidence if it is wanted, while they fill up.

        Returns
        -------
        list of zarr.Array
            Empty before the prediction is begun, and once an output is in its place.
        """
        try:
            return [self._folder.array(p) for p in self.wanted if not p.is_per_phase]
        except FileNotFoundError:  # the prediction is ahead of what the caller knows
            return []

    def check_new(self) -> None:
        """Refuse places that are taken, before any work is done.

        Raises
        ------
        ResultExistsError
            If something is there that may not be replaced, a folder ``NAME.partial``
            that no prediction has made among it.
        VolumeError
            If a parent folder is missing or read-only.
        """
        self._folder.check_ours()
        moved = self._moved()
        self._remove_ended()
        for output, path in self.paths.items():
            # `open` finds out whether it was this very prediction that moved it.
            check_new(path, overwrite=self.overwrite or output in moved)

    def remove_remains(self) -> None:
        """Remove what a prediction that was killed at its very end has left.

        Raises
        ------
        InUseError
            If another one writes to one of the places.
        """
        with only_writer(*self.paths.values()):  # which removes its locks, too
            self._remove_ended()

    def _remove_ended(self) -> None:
        left = former_of(self.partial)
        if left.exists() and not self.partial.exists():
            remove(left)

    def _moved(self) -> set[Output]:
        """List the outputs that a prediction, whichever, has moved to their places."""
        noted = self._folder.read_places()
        return {
            output
            for output, path in self.paths.items()
            if output.name in noted
            and noted[output.name][0] == str(path.absolute())
            and not (self.partial / noted[output.name][1]).exists()
        }

    @contextmanager
    def open(
        self,
        geometry: Geometry,
        identity: Mapping[str, Any] | None,
        *,
        min_size: int = 0,
    ) -> Iterator[Sink]:
        """Continue the same prediction, or begin; another one's remains are removed.

        See `Result.open`.

        Raises
        ------
        ResultExistsError
            If something else is in the places and `overwrite` is False, or as
            `check_new` does.
        InUseError
            If another one writes to one of the places.
        """
        if identity is None:
            self.check_new()  # first: what is found there must stay
        with only_writer(*self.paths.values()):
            publication = Publication(
                folder=self._folder,
                paths=self.paths,
                geometry=geometry,
                min_size=min_size,
            )
            self._begin(publication, identity)
            try:
                yield _DiskSink(publication)
            finally:
                end_sessions(self.partial)
                self.is_complete = publication.is_complete
                self._folder.clean_up(keep=identity is not None)

    def _begin(
        self, publication: Publication, identity: Mapping[str, Any] | None
    ) -> None:
        """Make the folder, unless it is that of the same prediction."""
        folder = publication.folder
        folder.check_ours()
        end_sessions(self.partial)  # of a process that was killed
        if identity is None and self._moved() == {*self.wanted}:
            folder.discard()  # of one that was killed at its very end
        names = [output.name for output in self.wanted]
        carried = publication.geometry.metadata()  # may have been corrected since
        text = json.dumps(
            {**(identity or {}), **carried, "parts": names}, sort_keys=True
        )
        is_same = identity is not None and folder.has_identity(text)
        in_place = {p for p in self.wanted if is_same and publication.is_in_place(p)}
        for output in self.wanted:
            is_same &= output in in_place or folder.raw(output).is_dir()
        for output, path in self.paths.items():
            if not (is_same and output in in_place):
                check_free(path, overwrite=self.overwrite)
        if not is_same:
            folder.begin(text, self.wanted, publication.geometry)


class _DiskSink:
    def __init__(self, publication: Publication) -> None:
        self._publication = publication
        left = [p for p in publication.paths if not publication.is_in_place(p)]
        # Of the others, one that was killed may have removed a half.
        self._arrays = publication.folder.open_arrays(left, publication.geometry)
        self._done = publication.folder.read_done()

    @property
    def done(self) -> set[int]:
        return set(self._done)

    def write(self, slab: Slab, arrays: Arrays) -> None:
        folder, geometry = self._publication.folder, self._publication.geometry
        for output, array in self._arrays.items():
            with naming(folder.path):
                geometry.put(array, slab, arrays[output])
        folder.note_done(slab)
        self._done.add(slab.start)

    def publish(self) -> Iterator[float]:
        self._arrays = {}
        end_sessions(self._publication.folder.path)
        return self._publication.run()
