"""Predictions of a time series, continued after an interruption."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_lrcs.data.writing import check_new, replacing
from napari_lrcs.inference.disk import DiskResult


@contextmanager
def unfinished(
    folder: Path, results: Mapping[str, DiskResult], *, identity: Mapping[str, Any]
) -> Iterator[dict[str, DiskResult]]:
    """Choose what is left to predict of a series into a folder.

    A hidden note in the folder, ``.series.json``, is there until the block ends well.
    While it is, the same series is continued.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    results : mapping of str to DiskResult
        All results of the series, in `folder`, by their images.
    identity : mapping
        As JSON; a series is continued only if all of this agrees.

    Yields
    ------
    dict of str to DiskResult
        Those of `results` that the interrupted series has not finished; all of them in
        a new series.

    Raises
    ------
    ResultExistsError
        If something else is in a result's place that may not be replaced.
    """
    note = folder / ".series.json"
    text = json.dumps(identity, sort_keys=True)
    former = _former(note, text)
    if former is None:
        former = {r.path.name: stamp(r.path) for r in results.values()}
    left = {
        image: result
        for image, result in results.items()
        if stamp(result.path) == former.get(result.path.name, [])
        or not result.path.exists()
    }
    if folder.is_dir():
        for result in left.values():
            result.check_new()
    else:
        check_new(folder, overwrite=False)
    is_new = not folder.exists()
    folder.mkdir(exist_ok=True)
    with replacing(note) as temporary:
        saved = json.dumps({"identity": text, "former": former})
        temporary.write_text(saved, encoding="utf-8")
    is_complete = False
    try:
        yield left
        is_complete = True
    finally:
        if is_complete or set(folder.iterdir()) == {note}:
            note.unlink()
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def stamp(path: Path) -> list[int]:
    """Tell one state of a file from another: size and time in ns; empty if absent."""
    if not path.exists():
        return []
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _former(note: Path, identity: str) -> dict[str, list[int]] | None:
    """Read what was in the places before the same series began."""
    try:
        saved = json.loads(note.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    former: dict[str, list[int]] = saved["former"]
    return former if saved["identity"] == identity else None
