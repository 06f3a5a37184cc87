"""Read JSON and TOML, and check that every value has the type that is expected.

What is printed or shown is written without NaN (`as_json`), which JSON lacks.

All files that this package writes for itself are read through these functions.
"""

import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, NotRequired, TypedDict, TypeVar

import msgspec

from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.io.writing import replacing

T = TypeVar("T")

LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""When work began that does not say when."""


def convert(value: object, kind: type[T]) -> T:
    """Check the types of JSON values, and build dataclasses from them.

    Parameters
    ----------
    value : object
        JSON values: dicts, lists, strings, numbers, None.
    kind : type
        Expected type: a dataclass, a ``TypedDict`` or a generic type. Keys that it does
        not name are ignored.

    Returns
    -------
    object of type `kind`

    Raises
    ------
    ValueError
        If a value has another type or is missing, or if its dataclass refuses it.

    Examples
    --------
    >>> convert([1, 2], tuple[int, ...])
    (1, 2)
    >>> convert({"iou": [0.5, "x"]}, dict[str, list[float]])
    Traceback (most recent call last):
    ...
    msgspec.ValidationError: Expected `float`, got `str` - at `$[...][1]`
    """
    try:
        return msgspec.convert(value, kind)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except AttributeError as error:  # a tensor, which looks like a mapping
        raise ValueError(f"expected an object: {error}") from error


def parse_json(text: str, kind: type[T]) -> T:
    """Parse JSON, NaN allowed, and `convert` it.

    Raises
    ------
    ValueError
        If the text is not JSON, or does not match `kind`.
    """
    return convert(_parse(json.loads, text), kind)


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file as `parse_json` does.

    Raises
    ------
    ValueError
        If the file is not JSON, or does not match `kind`.
    OSError
        If the file cannot be read.
    """
    return parse_json(read_text(path), kind)


def write_json(path: Path, values: object) -> None:
    """Write a JSON file, NaN allowed; an existing one is replaced as a whole."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


class _Beginning(TypedDict):
    begun_at: NotRequired[datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Generic[T]):
    """The JSON file that makes a folder a search, say, and tells its task.

    Parameters
    ----------
    path : Path
        The file. Its object has a ``format_version``, and a ``task``: everything that
        the results depend on.
    kind : type
        A ``TypedDict`` of all that is read.
    what : str
        What the folder is, for messages.
    version : int
        Version of the format that is written, and alone read.
    """

    path: Path
    kind: type[T]
    what: str
    version: int = 1

    @property
    def folder(self) -> Path:
        """The folder."""
        return self.path.parent

    @property
    def exists(self) -> bool:
        """Whether the folder is what it should be."""
        return self.path.is_file()

    @property
    def modified(self) -> datetime:
        """When the file was last written, in the local time zone."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC).astimezone()

    def read(self) -> T:
        """Read the object.

        Raises
        ------
        VolumeError
            If there is none, or it is damaged, or of another version.
        """
        if not self.exists:
            raise VolumeError(
                f"there is no {self.what} in {self.folder}; start one there"
            )
        try:
            values = read_json(self.path, dict[str, Any])
            version = convert(values.get("format_version"), int)
            if version == self.version:
                return convert(values, self.kind)
        except ValueError as error:
            raise VolumeError(
                f"{self.path.name} in {self.folder} is damaged: {error}"
            ) from error
        raise VolumeError(
            f"{self.path.name} in {self.folder} has format {version}, but this version "
            f"reads {self.version}; open it with the version that wrote it"
        )

    def read_begun_at(self) -> datetime:
        """Read when the work began; long ago if an earlier version began it."""
        values = read_json(self.path, dict[str, Any])
        return convert(values, _Beginning).get("begun_at", LONG_AGO)

    def write(self, values: Mapping[str, object]) -> None:
        """Write the object, which makes the folder what it should be."""
        write_json(self.path, {"format_version": self.version, **values})

    def check_place(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that must not be written to.

        Raises
        ------
        ResultExistsError
            If it holds something else, or what is to be neither continued nor replaced.
        VolumeError
            If there is nothing to continue, or what is to be replaced is damaged.
        """
        if resume or self.exists:
            self.read()  # refuses another program's file of that name
        if self.exists and not (resume or overwrite):
            raise ResultExistsError(
                f"{self.folder} holds a {self.what} already; resume it, overwrite it "
                "or choose another folder"
            )
        if not self.exists and self.folder.exists() and not _is_empty(self.folder):
            raise ResultExistsError(
                f"{self.folder} exists and is not a {self.what}; choose another folder"
            )

    def check_same(self, task: Mapping[str, Any]) -> None:
        """Refuse a task that differs from the one that was begun.

        Raises
        ------
        VolumeError
            If anything that results depend on has changed.
        """
        begun = convert(read_json(self.path, dict[str, Any])["task"], dict[str, Any])
        before, now = _flat(begun), _flat(task)
        for name in now | before:
            if before.get(name) != now.get(name):
                raise VolumeError(
                    f"the {self.what} in {self.folder} was started with other settings "
                    f"({name}: {before.get(name)}, now {now.get(name)}); resume "
                    "without changes, or choose another folder"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderState:
    """The progress of work that a folder keeps, such as a search.

    Parameters
    ----------
    path : Path
        The folder.
    modified : datetime
        When its `Record` was last written, in the local time zone.
    n_done, n_planned : int
        Parts of the work, such as networks: those that ended without failing, and all.
    is_complete : bool
        Whether the work has ended, even if parts have failed.
    damaged : str
        Why the folder cannot be read; empty if it can.
    """

    path: Path
    modified: datetime
    n_done: int = 0
    n_planned: int = 0
    is_complete: bool = False
    damaged: str = ""

    def __str__(self) -> str:
        """Return its path, or why it cannot be read, for a tooltip."""
        return self.damaged or str(self.path)

    @property
    def is_unfinished(self) -> bool:
        """Whether it was stopped, or is still running."""
        return not self.damaged and not self.is_complete

    @property
    def can_resume(self) -> bool:
        """Whether it is unfinished, or has parts that failed."""
        return not self.damaged and (
            not self.is_complete or self.n_done < self.n_planned
        )


def newest_first(states: Iterable[T]) -> list[T]:
    """Sort the states of folders, or summaries of runs, by when they were modified."""
    return sorted(states, key=attrgetter("modified"), reverse=True)


def _flat(task: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the fields of a task's configs with its own."""
    flat: dict[str, Any] = {}
    for name, value in task.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat


def _is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing but hidden files."""
    return folder.is_dir() and all(f.name.startswith(".") for f in folder.iterdir())


def read_toml(path: Path, kind: type[T]) -> T:
    """Read a TOML file and `convert` it.

    Raises
    ------
    ValueError
        If the file is not TOML, or does not match `kind`.
    OSError
        If the file cannot be read.
    """
    return convert(_parse(tomllib.loads, read_text(path)), kind)


def as_json(values: object, *, indent: int | None = None) -> str:
    """Write values as JSON; NaN and infinity, which JSON lacks, become null.

    Parameters
    ----------
    values : object
        JSON values: dicts, lists, strings, numbers, None.
    indent : int, optional
        Spaces per level; all on one line by default.

    Examples
    --------
    >>> as_json({"iou": [0.5, float("nan")]})
    '{"iou": [0.5, null]}'
    """
    return json.dumps(_finite(values), indent=indent, allow_nan=False)


def _finite(values: object) -> object:
    match values:
        case dict():
            return {name: _finite(value) for name, value in values.items()}
        case list():
            return [_finite(value) for value in values]
        case float() if not math.isfinite(values):
            return None
    return values


def read_text(path: Path) -> str:
    """Read a text file; refuse pipes and devices, which may never end.

    Raises
    ------
    ValueError
        If it is not a regular file, or not UTF-8.
    OSError
        If it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    return path.read_text(encoding="utf-8")


def _parse(loads: Callable[[str], Any], text: str) -> object:
    try:
        return loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
