"""Judge a segmentation by check patches, in a thread."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.comparison.measures import Measuring
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.records import as_json
from napari_lrcs.io.tables import write_csv
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import replacing
from napari_lrcs.plugin.parts.workers import Events, save_files
from napari_lrcs.uncertainty.study.folder import StudyFolder, list_studies
from napari_lrcs.uncertainty.study.summary import StudySummary
from napari_lrcs.uncertainty.trust.budget import (
    BeyondVolume,
    Budget,
    budgets_of_report,
    look_beyond,
)
from napari_lrcs.uncertainty.trust.budget_tables import (
    budget_dict,
    budget_numbers,
    write_budget,
)
from napari_lrcs.uncertainty.trust.figures import write_intervals
from napari_lrcs.uncertainty.trust.report import (
    CheckReport,
    CountedSegmentation,
    count_segmentation,
    judge_counted,
    neighbourhood_of,
)
from napari_lrcs.uncertainty.trust.tables import report_dict, write_report_csv


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A segmentation is judged.

    Parameters
    ----------
    report : CheckReport
    study : StudySummary or None
        The newest study of the same phases, to be shown beside.
    version : tuple of int
        What was painted by then; see `CheckPatches.version`.
    budgets : tuple of Budget
        The error budget.
    has_material : bool
        Whether it has the finite volume.
    """

    report: CheckReport
    study: StudySummary | None
    version: tuple[int, int]
    budgets: tuple[Budget, ...] = ()
    has_material: bool = False


class Judge:
    """Judges one segmentation again and again, and counts its voxels only once.

    Parameters
    ----------
    folder : CheckFolder
        Where the patches are.
    """

    def __init__(self, folder: CheckFolder) -> None:
        self._folder = folder
        self._counted: CountedSegmentation | None = None
        self._beyond: BeyondVolume | None = None

    def events(
        self,
        segmentation: Volume,
        *,
        half_width: float | None,
        version: tuple[int, int],
        with_material: bool = False,
    ) -> Events:
        """Judge the segmentation, whose labels are as they were the time before.

        Parameters
        ----------
        half_width : float, optional
            Wanted half width of the intervals, 0 to 1.
        with_material : bool
            Whether to look beyond the volume, which takes long; only once, too.

        Yields
        ------
        Counting or Measuring, and at last Judged
        """
        counted = self._counted
        if counted is None:
            # Whatever is wrong with the painting, before the long work.
            judge_counted([], self._folder)
            chosen = neighbourhood_of(self._folder.read(), None)
            for event in count_segmentation(
                segmentation, self._folder, neighbourhood=chosen
            ):
                if isinstance(event, CountedSegmentation):
                    counted = event
                else:
                    yield event
            self._counted = counted
        assert counted is not None
        report = judge_counted([counted], self._folder, half_width=half_width)
        if with_material and self._beyond is None:
            self._beyond = yield from _look_beyond(segmentation, self._folder, report)
        study = _newest_study(self._folder.path.parent, report)
        yield Judged(
            report=report,
            study=study,
            version=version,
            budgets=budgets_of_report(report, study=study, beyond=self._beyond),
            has_material=self._beyond is not None,
        )


def _look_beyond(
    segmentation: Volume, folder: CheckFolder, report: CheckReport
) -> Generator[Measuring, None, BeyondVolume]:
    return look_beyond(
        segmentation,
        phases=report.phases,
        view=folder.field_of_view(),
        within_slices=(report.neighbourhood, report.check.design.axis) == (8, "z"),
        confidence_level=report.confidence_level,
    )


def save_report(path: Path, judged: Judged) -> Events:
    """Write a report as CSV, as JSON or, by other suffixes, as a figure."""
    writers = {".csv": _write_csv, ".json": _write_json}
    write = writers.get(path.suffix.lower(), _write_figure)
    yield from save_files({path: lambda place: write(place, judged)})


def save_budget(path: Path, judged: Judged) -> Events:
    """Write the error budget as CSV or, by other suffixes, as a figure."""

    def write(place: Path) -> None:
        if path.suffix.lower() == ".csv":
            write_csv(place, budget_numbers(judged.budgets))
        else:
            write_budget(place, judged.budgets)

    yield from save_files({path: write})


def _write_csv(path: Path, judged: Judged) -> None:
    write_report_csv(path, judged.report)


def _write_json(path: Path, judged: Judged) -> None:
    with replacing(path) as temporary:
        budget = [*map(budget_dict, judged.budgets)]
        found = {**report_dict(judged.report), "budget": budget}
        temporary.write_text(as_json(found) + "\n", "utf-8")


def _write_figure(path: Path, judged: Judged) -> None:
    write_intervals(path, judged.report, study=judged.study)


def _newest_study(workspace: Path, report: CheckReport) -> StudySummary | None:
    """Read the newest study of these phases that has results."""
    for state in list_studies(workspace):
        try:
            summary = StudyFolder(state.path).read_findings().summary
        except LrcsError:  # told where studies are listed
            continue
        if summary.groups and summary.phases.names == report.phases.names:
            return summary
    return None
