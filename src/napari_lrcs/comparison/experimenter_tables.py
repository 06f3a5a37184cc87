"""Tables of experimenters compared: for JSON, spreadsheets and files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from napari_lrcs.arrays import Confusion
from napari_lrcs.comparison.experimenters import ExperimentersCompared
from napari_lrcs.io.tables import Row, as_text, write_csv
from napari_lrcs.metrics.overlap import (
    PhaseIouDict,
    accuracy,
    iou_per_phase,
    mean_iou,
    not_learnt,
    not_learnt_dicts,
)
from napari_lrcs.phases import Phase


class NearDict(TypedDict):
    """Share of the differing voxels that are near an interface, as in JSON."""

    distance: int
    share: float


class PairDict(TypedDict):
    """Two experimenters as they stand in JSON."""

    experimenters: list[str]
    n_voxels: int
    disagreement: float
    mean_iou: float
    phases: list[PhaseIouDict]
    near_interfaces: list[NearDict]


class ScoredDict(TypedDict):
    """An experimenter against the target as it stands in JSON."""

    experimenter: str
    n_voxels: int
    accuracy: float
    mean_iou: float
    phases: list[PhaseIouDict]
    not_learnt: list[PhaseIouDict]


class TargetDict(TypedDict):
    """All experimenters against the target as they stand in JSON."""

    name: str
    experimenters: list[ScoredDict]


class ExperimentersDict(TypedDict):
    """What ``compare --json`` prints; NaN where undefined, which it prints as null."""

    experimenters: list[str]
    mean_disagreement: float
    disagreement: list[list[float]]
    pairs: list[PairDict]
    near_interfaces: list[NearDict]
    target: TargetDict | None


def experimenters_dict(compared: ExperimentersCompared) -> ExperimentersDict:
    """Gather all numbers for JSON, unrounded."""
    names = compared.names
    pairs = [
        PairDict(
            experimenters=[names[i] for i in pair],
            n_voxels=int(confusion.sum()),
            disagreement=1 - accuracy(confusion),
            mean_iou=mean_iou(confusion),
            phases=_ious(confusion, compared.counted),
            near_interfaces=_near(compared, pair),
        )
        for pair, confusion in compared.confusions.items()
    ]
    scored = [
        ScoredDict(
            experimenter=name,
            n_voxels=int(confusion.sum()),
            accuracy=accuracy(confusion),
            mean_iou=mean_iou(confusion),
            phases=_ious(confusion, compared.counted),
            not_learnt=not_learnt_dicts(not_learnt(confusion, compared.phases)),
        )
        for name, confusion in zip(names, compared.against_target, strict=False)
    ]
    target = None
    if compared.target is not None:
        target = TargetDict(name=compared.target, experimenters=scored)
    return ExperimentersDict(
        experimenters=[*names],
        mean_disagreement=compared.mean_disagreement,
        disagreement=compared.disagreement.tolist(),
        pairs=pairs,
        near_interfaces=_near(compared, *compared.confusions),
        target=target,
    )


def _ious(confusion: Confusion, phases: Iterable[Phase]) -> list[PhaseIouDict]:
    ious = iou_per_phase(confusion).tolist()
    return [
        PhaseIouDict(label=phase.label, name=phase.name, iou=ious[phase.label - 1])
        for phase in phases
    ]


def _near(compared: ExperimentersCompared, *pairs: tuple[int, int]) -> list[NearDict]:
    shares = compared.share_near(*pairs).tolist()
    return [
        NearDict(distance=distance, share=share)
        for distance, share in zip(compared.near, shares, strict=True)
    ]


def experimenter_rows(compared: ExperimentersCompared) -> list[Row]:
    """Make a row per pair, then one per experimenter against the target.

    Returns
    -------
    list of dict
        All with the same columns. Numbers are shares from 0 to 1, unrounded; NaN where
        undefined, None where a column does not apply.
    """
    found = experimenters_dict(compared)
    rows: list[Row] = [
        {
            "first": pair["experimenters"][0],
            "second": pair["experimenters"][1],
            "voxels": pair["n_voxels"],
            "disagreement": pair["disagreement"],
            **_iou_cells(pair),
            **{f"within {n['distance']}": n["share"] for n in pair["near_interfaces"]},
        }
        for pair in found["pairs"]
    ]
    columns = dict.fromkeys(rows[0])
    target = found["target"]
    for scored in () if target is None else target["experimenters"]:
        cells: Row = {
            "first": scored["experimenter"],
            "second": compared.target,
            "voxels": scored["n_voxels"],
            "disagreement": 1 - scored["accuracy"],
            **_iou_cells(scored),
        }
        rows.append(columns | cells)
    return rows


def _iou_cells(found: PairDict | ScoredDict) -> Mapping[str, float]:
    ious = {f"iou {phase['name']}": phase["iou"] for phase in found["phases"]}
    return {"mean iou": found["mean_iou"], **ious}


def as_text_table(compared: ExperimentersCompared) -> str:
    """Lay out the matrix of disagreement and `experimenter_rows` with tabs."""
    names = compared.names
    shares = compared.disagreement.tolist()
    matrix: list[Row] = [
        {"disagreement": name, **dict(zip(names, row, strict=True))}
        for name, row in zip(names, shares, strict=True)
    ]
    parts = (matrix, experimenter_rows(compared))
    return "\n".join(as_text(rows) for rows in parts)


def write_experimenters_csv(path: Path, compared: ExperimentersCompared) -> None:
    """Write `experimenter_rows`; the file is replaced only when complete."""
    write_csv(path, experimenter_rows(compared))
