"""All runs in a folder as the rows of a table: searched, sorted, compared, exported."""

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_lrcs.annotation.annotation import ROLES
from napari_lrcs.annotation.workspace import is_workspace
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.tables import Cell, Row, write_csv
from napari_lrcs.io.volume import format_slices
from napari_lrcs.progress import result_of
from napari_lrcs.search.folder import SearchFolder
from napari_lrcs.training.run.folder import RunFolder, summarise_run
from napari_lrcs.training.run.labels import LabelledSlice
from napari_lrcs.training.run.summary import RunSummary
from napari_lrcs.uncertainty.study.folder import StudyFolder

COLUMNS: Mapping[str, str] = {
    "run": "Run",
    "mean_iou": "Mean IoU",
    "state": "State",
    "modified": "When",
    "epochs": "Epochs",
    "data": "Data",
}
"""Titles of the columns that every table has; those of settings follow."""

_TITLES = {setting.name: setting.title for setting in TrainConfig.settings()}

_DEPTH = 5
"""Folders between the one that is listed and a run: its workspace, a study, …"""

_PARTS = {"members", "trials"}
"""Folders that studies and searches keep their runs in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A row of the table.

    Parameters
    ----------
    summary : RunSummary
        How far the run has come, and its score.
    name : str
        Where it lies in the folder that is listed: ``run-1``, ``study-1/repeat-002``.
    is_part : bool
        Whether it belongs to a study, a search or another folder, which needs it.
    slices : tuple of LabelledSlice
        What it was trained and validated on; empty if that cannot be read.
    settings : mapping of str to object
        Its settings by name; empty for a damaged run.
    words : frozenset of str
        What a search finds: all columns, and settings as ``batch_size=8``.
    """

    summary: RunSummary
    name: str
    is_part: bool = False
    slices: tuple[LabelledSlice, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    words: frozenset[str] = frozenset()

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.summary.path

    @property
    def state(self) -> str:
        """How far it has come, in a word."""
        if self.summary.damaged:
            return "damaged"
        if self.summary.is_running:
            return "running"
        return "finished" if self.summary.is_finished else "stopped"

    @property
    def data(self) -> str:
        """Names of the volumes that it was trained on."""
        return ", ".join(dict.fromkeys(s.volume for s in self.slices if s.volume))

    @property
    def has_network(self) -> bool:
        """Whether it can predict, and start another training."""
        return self.summary.best_epoch is not None

    def value(self, column: str) -> Any:
        """Return what a column is sorted by; None if the run has no such value."""
        values = {
            "run": self.name,
            "mean_iou": self.summary.best_mean_iou,
            "state": self.state,
            "epochs": self.summary.n_done,
            "modified": self.summary.modified,
            "data": self.data,
        }
        return values[column] if column in values else self.settings.get(column)

    def text(self, column: str) -> str:
        """Return what a column shows."""
        value = self.value(column)
        match column:
            case "mean_iou":
                return "–" if value is None else f"{value:.1%}"
            case "epochs":
                return f"{value} of {self.summary.n_epochs}" if self.settings else "–"
            case "modified":
                return f"{value:%d %b %H:%M}"
        return text_of(value)

    def to_row(self) -> Row:
        """Return the row of a CSV table."""
        summary = self.summary
        slices: Row = {
            f"{role}_slices": format_slices(
                sorted({s.index for s in self.slices if s.role == role})
            )
            for role in ROLES
        }
        ious = zip(summary.phases, summary.best_ious, strict=True)
        return {
            "run": self.name,
            "state": self.state,
            "mean_iou": summary.best_mean_iou,
            "best_epoch": summary.best_epoch,
            "epochs": summary.n_done,
            "started": summary.started.isoformat(timespec="seconds"),
            "modified": summary.modified.isoformat(timespec="seconds"),
            "continues": summary.parent,
            "data": self.data,
            **slices,
            "iou": "; ".join(f"{name} {text_of(iou)}" for name, iou in ious),
            **{name: _cell(self.settings.get(name)) for name in _TITLES},
            "error": summary.damaged,
        }

    def __str__(self) -> str:
        return str(self.summary)


def list_runs_below(folder: Path) -> list[RunRecord]:
    """Read all runs as `find_runs_below` does, without a pause."""
    return result_of(find_runs_below(folder))


def find_runs_below(folder: Path) -> Generator[None, None, list[RunRecord]]:
    """Read all runs in a folder and in the folders below it, the best one first.

    Parameters
    ----------
    folder : Path
        A workspace, a study, a search, or any folder that holds some; it need not
        exist.

    Yields
    ------
    None
        After each run, so that reading can be stopped.

    Returns
    -------
    list of RunRecord
        Those of damaged runs say why in `RunSummary.damaged`.
    """
    records = []
    for path in _find(folder, _DEPTH):
        with suppress(OSError):  # it was removed meanwhile
            records.append(_read(path, folder))
        yield
    newest = sort_runs(records, "modified", descending=True)
    return sort_runs(newest, "mean_iou", descending=True)


def sort_runs(
    records: Sequence[RunRecord], column: str, *, descending: bool
) -> list[RunRecord]:
    """Sort runs by a column or a setting; those without a value come last."""
    known = [record for record in records if record.value(column) is not None]
    known.sort(key=lambda record: record.value(column), reverse=descending)
    return known + [record for record in records if record.value(column) is None]


def search_runs(records: Sequence[RunRecord], text: str) -> list[RunRecord]:
    """Return the runs that have all words of a text, whichever columns they are in.

    Parameters
    ----------
    text : str
        Parts of words, such as ``unet stopped``; what contains an equals sign is a
        setting and its whole value, such as ``batch_size=8``.
    """
    wanted = text.casefold().split()
    return [record for record in records if _has(record.words, wanted)]


def differing_settings(records: Sequence[RunRecord]) -> list[str]:
    """List the settings that are not the same in all runs, damaged ones aside."""
    configs = [record.settings for record in records if record.settings]
    return [
        name for name in _TITLES if len({config.get(name) for config in configs}) > 1
    ]


def describe_runs(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Write what differs between runs; of one run, all of its settings.

    Returns
    -------
    dict of str to list of str
        Texts for all runs, by the title of a setting, or of their data.
    """
    names = [*_TITLES] if len(records) == 1 else differing_settings(records)
    rows = {column: [r.text(column) for r in records] for column in ("data", *names)}
    if len(records) > 1 and len({*rows["data"]}) == 1:
        del rows["data"]
    return {title_of(column): texts for column, texts in rows.items()}


def title_of(column: str) -> str:
    """Return the title of a column, or of a setting as forms have it."""
    return COLUMNS.get(column) or _TITLES[column]


def write_runs(path: Path, records: Sequence[RunRecord]) -> None:
    """Write runs as CSV, one row each, with all of their settings."""
    write_csv(path, [record.to_row() for record in records])


def text_of(value: object) -> str:
    """Write the value of a setting as forms have it.

    Examples
    --------
    >>> text_of(0.004), text_of((1.0, 2.5)), text_of(True), text_of(())
    ('0.004', '1, 2.5', 'yes', '–')
    """
    match value:
        case None | () | "":
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case tuple():
            return ", ".join(map(text_of, value))
    return str(value)


def _cell(value: object) -> Cell:
    if isinstance(value, int | float | None) and not isinstance(value, bool):
        return value
    return text_of(value)


def _has(words: frozenset[str], wanted: Sequence[str]) -> bool:
    return all(
        word in words if "=" in word else any(word in whole for whole in words)
        for word in wanted
    )


def _find(folder: Path, depth: int) -> Iterator[Path]:
    """Find run folders; nothing that lies in one is a run."""
    if RunFolder(folder).is_certain:
        yield folder
        return
    try:
        names = [entry.name for entry in os.scandir(folder) if _may_hold_runs(entry)]
    except OSError:  # it is no folder, or may not be read
        return
    for name in sorted(names) if depth else ():
        yield from _find(folder / name, depth - 1)


def _may_hold_runs(entry: os.DirEntry[str]) -> bool:
    is_other = entry.name.startswith(".") or entry.name.endswith((".zarr", ".partial"))
    return not is_other and entry.is_dir(follow_symlinks=False)


def _read(path: Path, folder: Path) -> RunRecord:
    summary = summarise_run(path)
    try:
        slices = RunFolder(path).read_slices()
    except CheckpointError:
        slices = ()
    is_owned = any(
        StudyFolder(parent).is_study or SearchFolder(parent).is_search
        for parent in path.parents[: _DEPTH - 1]
    )
    is_alone = path.parent == folder or is_workspace(path.parent)
    record = RunRecord(
        summary=summary,
        name=_name(path, folder, is_owned=is_owned),
        is_part=is_owned or not is_alone,
        slices=slices,
        settings={} if summary.config is None else summary.config.to_dict(),
    )
    return replace(record, words=_words(record))


def _words(record: RunRecord) -> frozenset[str]:
    summary = record.summary
    date, phases = f"{summary.modified:%Y-%m-%d}", " ".join(summary.phases)
    texts = [*map(record.text, COLUMNS), date, phases]
    words = {word.casefold() for text in texts for word in text.split()}
    settings = (f"{name}={text_of(v)}" for name, v in record.settings.items())
    return frozenset(words.union(map(str.casefold, settings)))


def _name(path: Path, folder: Path, *, is_owned: bool) -> str:
    parts = path.relative_to(folder).parts or (path.name,)
    if is_owned and len(parts) > 1:
        *outer, last = parts
        inner = () if last == "run" else (last,)
        parts = (*(part for part in outer if part not in _PARTS), *inner)
    return "/".join(parts)
