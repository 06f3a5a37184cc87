"""The folder ``NAME.partial`` that an interrupted prediction is continued from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zarr

from napari_lrcs.errors import ResultExistsError, VolumeError, one_line
from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.inference.results.outputs import LABELS, Output
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.pyramid import levels_of
from napari_lrcs.io.lazy_arrays import READ_ERRORS
from napari_lrcs.io.paths import former_of
from napari_lrcs.io.records import read_json, read_text, write_json
from napari_lrcs.io.writing import move_aside, remove, replacing

_IDENTITY = "identity.json"
_DONE = "done.txt"


@dataclass(frozen=True, slots=True)
class PartialFolder:
    """Reads and writes the folder of a prediction that is not complete.

    It holds each output as OME-Zarr of one level, and what tells the prediction from
    others (``identity.json``), which slabs are there (``done.txt``, and a file for each
    other process that has written some) and, once all outputs are ready to be moved,
    where they go (``places.json``).

    Parameters
    ----------
    path : Path
        The folder; it need not exist.

    Notes
    -----
    What reads from the folder raises `VolumeError` if that is damaged.
    """

    path: Path

    @classmethod
    def beside(cls, labels: Path) -> "PartialFolder":
        """Name the folder of a prediction by where its labels are to go."""
        return cls(labels.with_name(f"{labels.name}.partial"))

    def raw(self, output: Output) -> Path:
        """Locate an output as it is computed."""
        return self.path / f"{output.name}.zarr"

    def array(
        self, output: Output, *, mode: Literal["r", "r+"] = "r"
    ) -> zarr.Array[Any]:
        """Open an output as it is computed; `FileNotFoundError` if it is absent."""
        return zarr.open_array(self.raw(output) / "0", mode=mode)

    # ---- whose it is ----

    @property
    def is_ours(self) -> bool:
        """Whether a prediction has made the folder."""
        try:
            identity = read_json(self.path / _IDENTITY, dict[str, object])
        except (OSError, ValueError):
            return False
        return "parts" in identity

    def check_ours(self) -> None:
        """Refuse a folder of that name that no prediction has made."""
        if self.path.exists() and not self.is_ours:
            raise ResultExistsError(
                f"{self.path} is in the way: it was not made by a prediction; move it, "
                "or choose another name for the result"
            )

    def has_identity(self, identity: str) -> bool:
        """Tell whether the folder is of this very prediction."""
        try:
            saved = (self.path / _IDENTITY).read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        except ValueError as error:
            raise self.damaged(error) from error
        return saved == identity

    # ---- how it begins and ends ----

    def begin(
        self, identity: str, outputs: Sequence[Output], geometry: Geometry
    ) -> None:
        """Make the folder anew, with empty outputs."""
        self.discard()
        # By one rename: only a folder that is whole can be continued.
        with replacing(self.path) as folder:
            folder.mkdir()
            for output in outputs:
                shape, chunks = _layout(output, geometry)
                create_ome_zarr(
                    folder / self.raw(output).name,
                    shape=shape,
                    chunks=chunks,
                    dtype=output.dtype,
                    voxel_size=geometry.voxel_size,
                    unit=geometry.unit,
                    phases=geometry.phases if output is LABELS else None,
                    provenance=geometry.provenance if output is LABELS else None,
                    name=output.name,
                )
            (folder / _DONE).touch()
            (folder / _IDENTITY).write_text(identity, encoding="utf-8")

    def discard(self) -> None:
        """Remove the folder; half removed, it bears another name."""
        if self.path.exists():
            move_aside(self.path)
        remove(former_of(self.path))

    def clean_up(self, *, keep: bool) -> None:
        """Remove the folder if nothing can be continued from it, or is to be."""
        notes = self._notes()
        is_empty = bool(notes) and not any(note.stat().st_size for note in notes)
        if self.is_ours and (is_empty or not keep):
            self.discard()

    # ---- what is there ----

    def open_arrays(
        self, outputs: Iterable[Output], geometry: Geometry
    ) -> dict[Output, zarr.Array[Any]]:
        """Open those outputs that are not moved yet, to be written to."""
        try:
            self._check_files()
            arrays = {
                output: self.array(output, mode="r+")
                for output in outputs
                if self.raw(output).is_dir()
            }
            for output, array in arrays.items():
                levels_of(self.raw(output))  # its metadata can be read
                found, expected = (array.shape, array.chunks), _layout(output, geometry)
                if found != expected or array.dtype != output.dtype:
                    raise VolumeError(
                        f"{output.name} is {found} of {array.dtype}, expected "
                        f"{expected}"
                    )
        except READ_ERRORS as error:
            raise self.damaged(error) from error
        return arrays

    def _check_files(self) -> None:
        """Refuse pipes and the like, which Zarr would wait for without end."""
        for path in self.path.rglob("*"):
            if not (path.is_file() or path.is_dir()):
                raise VolumeError(f"{path.name} is not a regular file")

    def _notes(self) -> list[Path]:
        return sorted(self.path.glob("done*.txt"))

    def read_done(self) -> set[int]:
        """Read the starts of the slabs that are there."""
        starts: set[int] = set()
        try:
            for note in self._notes() or [self.path / _DONE]:
                *lines, torn = read_text(note).split("\n")
                starts.update(int(line) for line in lines)
                # By a crash: what is noted next must begin a line. Nobody goes on with
                # the notes of other processes.
                if torn and note.name == _DONE:
                    text = "".join(f"{line}\n" for line in lines)
                    note.write_text(text, encoding="ascii")
        except READ_ERRORS as error:
            raise self.damaged(error) from error
        return starts

    def note_done(self, slab: Slab, *, writer: str = "") -> None:
        """Note that a slab is written; each process but the first needs a name."""
        with (self.path / f"done{writer}.txt").open("a", encoding="ascii") as file:
            file.write(f"{slab.start}\n")

    def read_places(self) -> dict[str, tuple[str, str]]:
        """Read where each output goes, and what it is called here when it is ready.

        Returns
        -------
        dict of str to (str, str)
            By the output's name; empty until all outputs are ready.
        """
        note = self.path / "places.json"
        if not note.is_file():
            return {}
        try:
            return read_json(note, dict[str, tuple[str, str]])
        except ValueError as error:
            raise self.damaged(error) from error

    def write_places(self, places: Mapping[str, tuple[str, str]]) -> None:
        """Note where each output goes: from now on, what is not here was moved."""
        write_json(self.path / "places.json", places)

    def damaged(self, error: Exception) -> VolumeError:
        """Make the error for a folder that cannot be continued from."""
        return VolumeError(
            f"the unfinished prediction in {self.path} is damaged: {one_line(error)}; "
            "remove this folder to start again"
        )


def last_unfinished(folder: Path, suffix: str) -> Path | None:
    """Find where the labels of the prediction that was interrupted last were to go."""
    left = folder.glob(f"*{suffix}.partial/{_IDENTITY}")
    last = max(left, key=lambda file: file.stat().st_mtime, default=None)
    return None if last is None else last.parent.with_suffix("")


def _layout(
    output: Output, geometry: Geometry
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape of an output, and that of its chunks."""
    shape = output.shape(geometry.shape, n_phases=len(geometry.phases))
    return shape, output.shape(geometry.chunks, n_phases=1)
