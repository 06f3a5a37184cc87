"""Make the figures and all numbers of docs/uncertainty.md, from two studies.

python docs/study.py WORK [--data ../shared/data]

The larger study takes about half an hour on two cores. One that was stopped or killed
goes on when the command is given again; one that is complete is not computed again.
"""

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from reporting import fill, table

from napari_lrcs.classical.phantom import electrode_phantom
from napari_lrcs.comparison.evaluate import measure_volume
from napari_lrcs.config import PRESETS, StudyConfig
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.metrics.composition import measure_dict
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.progress import Notice
from napari_lrcs.uncertainty.perturbation.suggestion import suggest_perturbation
from napari_lrcs.uncertainty.study.ensemble import run_study
from napari_lrcs.uncertainty.study.events import MemberFailed, MemberStarted, StudyEnded
from napari_lrcs.uncertainty.study.figures import FIGURES, write_study_figures
from napari_lrcs.uncertainty.study.folder import StudyFolder
from napari_lrcs.uncertainty.study.quantities import KINDS
from napari_lrcs.uncertainty.study.summary import StudySummary
from napari_lrcs.uncertainty.study.tables import mean_and_sd
from napari_lrcs.uncertainty.study.task import StudyTask

DOCS = Path(__file__).parent
PAPER = {"NMC": "92.7 ± 0.2%", "CBD": "37.6 ± 1.4%", "pore": "65.9 ± 1.3%"}
"""IoU of the paper's fifteen networks, "Perturbation of labels" and Fig. 4c."""

AGREEMENTS = (0.0, 0.6, 0.8, 0.999, 1.001)
"""Limits between the shares of members that agree; the last are all of them."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A volume with labels, and the slices that a study of it takes."""

    name: str
    image: Volume
    labels: Volume
    train: range
    test: tuple[int, ...]
    study: StudyConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder for the studies")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    arguments.work.mkdir(exist_ok=True)
    page = DOCS / "uncertainty.md"
    for case in cases(arguments.data):
        out = arguments.work / case.name
        run(case, out)
        fill(page, case.name, report(case, out))
        write_study_figures(out, StudyFolder(out).read_findings().summary)
        for figure in FIGURES:
            shutil.copy(out / figure, DOCS / "images" / f"study-{case.name}-{figure}")


def cases(data: Path) -> Iterator[Case]:
    if data.is_dir():
        yield Case(
            name="nmc-electrode",
            image=open_volume(data / "nmc-electrode-raw.tif"),
            labels=open_labels(data / "nmc-electrode-labels.tif"),
            train=range(10, 20),
            test=(60,),
            study=StudyConfig(),
        )
    phantom = electrode_phantom()
    yield Case(
        name="sample",
        image=as_volume(phantom.volume, name="sample"),
        labels=as_labels(as_volume(phantom.labels)),
        train=range(8, 18),
        test=(48,),
        study=StudyConfig(n_members=8, n_repeats=4),
    )


def run(case: Case, out: Path) -> None:
    folder = StudyFolder(out)
    if folder.is_study and folder.read_state().is_complete:
        return
    painted = np.stack([case.labels.slab(z, z + 1)[0] for z in case.train])
    task = StudyTask(
        image=case.image,
        labels=case.labels,
        train=tuple(case.train),
        test=case.test,
        config=PRESETS["quick"],
        perturb=suggest_perturbation(painted).config,
        study=case.study,
        phases=ELECTRODE,
    )
    for event in run_study(task, out=out, resume=folder.is_study):
        if isinstance(event, Notice | MemberStarted | MemberFailed | StudyEnded):
            print(datetime.now(UTC).isoformat(timespec="seconds"), event, flush=True)


def report(case: Case, out: Path) -> Iterator[str]:
    folder = StudyFolder(out)
    findings = folder.read_findings()
    members, summary = findings.members, findings.summary
    task = folder.record.read()["task"]
    changed = [m.changed_share for m in members if m.group == "perturbed"]
    perturb = task["perturb"]
    yield (
        f"Slices {case.train.start} to {case.train.stop - 1} are painted, slice "
        f"{case.test[0]} is the test. The kernel `{perturb['kernel']}` with a picked "
        f"fraction of {perturb['picked_fraction']:g} changes "
        f"{100 * np.mean(changed):.2f} ± {100 * np.std(changed, ddof=1):.2f}% of the "
        f"painted voxels. Preset `quick`; {len(changed)} members on perturbed labels, "
        f"{len(members) - len(changed)} with the labels as painted."
    )
    yield ""
    yield from quantities(case, summary, with_paper=case.name == "nmc-electrode")
    yield ""
    for figure, text in zip(
        FIGURES,
        (
            "IoU of each phase, member by member",
            "IoU against the ratio of surface to volume",
            "Share of voxels on each interface",
        ),
        strict=True,
    ):
        yield f"![{text}](images/study-{case.name}-{figure})"
        yield ""
    yield "The more members agree, the more often the majority is right:"
    yield ""
    yield from reliability(case, out)


def quantities(case: Case, summary: StudySummary, *, with_paper: bool) -> Iterator[str]:
    groups = [summary.groups[name] for name in ("perturbed", "same_labels")]
    true = truth(case)
    columns = ["", "perturbed labels", "same labels, other seeds", "truth"]
    columns += ["paper"] * with_paper
    rows = []
    for own, other in zip(*(group.quantities for group in groups), strict=True):
        name = "" if own.kind == "accuracy" else f" {own.name}"
        cells = [f"{KINDS[own.kind]}{name}", mean_and_sd(own), mean_and_sd(other)]
        cells.append(true.get((own.kind, own.labels), ""))
        if with_paper:
            cells.append(PAPER.get(own.name, "") if own.kind == "iou" else "")
        rows.append(cells)
    yield from table(columns, rows)


def truth(case: Case) -> dict[tuple[str, tuple[int, ...]], str]:
    """Measure the labels, which are known in the whole volume here."""
    composition = measure_volume(case.labels, phases=ELECTRODE)
    measures = measure_dict(composition, ELECTRODE)
    found = {
        (kind, (phase["label"],)): share
        for phase in measures["phases"]
        for kind, share in phase.items()
    } | {
        ("interface_fraction", tuple(pair["phases"])): pair["fraction"]
        for pair in measures["interfaces"]
    }
    return {key: f"{share:.1%}" for key, share in found.items() if key[0] in KINDS}


def reliability(case: Case, out: Path) -> Iterator[str]:
    """Tell how often the majority is right where so many members agree."""
    z = case.test[0]
    target, majority = (
        volume.slab(z, z + 1)[0]
        for volume in (case.labels, open_labels(out / "majority.zarr"))
    )
    agreement = open_volume(out / "agreement.zarr").slab(z, z + 1)[0] / 255
    yield "| members that agree | share of the test slice | majority is right |"
    yield "|---|---|---|"
    for low, high in pairwise(AGREEMENTS):
        chosen = (agreement > low) & (agreement <= high)
        text = f"more than {low:.0%}, up to {high:.0%}" if low else ""
        text = "all" if high > 1 else text or f"up to {high:.0%}"
        right = np.mean((target == majority)[chosen]) if chosen.any() else np.nan
        yield f"| {text} | {chosen.mean():.1%} | {right:.1%} |"


if __name__ == "__main__":
    main()
