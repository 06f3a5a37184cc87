import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from napari_lrcs.io.tables import as_text
from napari_lrcs.metrics.composition import measure_dict
from napari_lrcs.metrics.counting import compose
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study.figures import (
    draw_interfaces,
    draw_iou_distributions,
    draw_surface_against_volume,
    draw_surface_areas,
    draw_tortuosities,
)
from napari_lrcs.uncertainty.study.quantities import Kind, Quantity
from napari_lrcs.uncertainty.study.results import Tortuosity
from napari_lrcs.uncertainty.study.summary import Group, Member, summarise
from napari_lrcs.uncertainty.study.tables import (
    mean_and_sd,
    member_rows,
    summary_rows,
    write_summary_csv,
)

PHASES = PhaseTable.named("pore", "solid")


def member(
    number: int,
    *,
    group: Group = "perturbed",
    iou: tuple[float, float] = (0.5, 0.5),
    n_pore: int = 2,
) -> Member:
    """Make a member whose segmentation is a row of pore, then solid, of 10 voxels."""
    row = np.array([[1] * n_pore + [2] * (10 - n_pore)], np.uint8)
    return Member(
        name=f"{group}-{number}",
        group=group,
        number=number,
        seed=number,
        changed_share=0.1,
        accuracy=0.8,
        iou=iou,
        measures=measure_dict(compose(row, n_phases=2), PHASES),
        seconds=1.5,
    )


def failed(number: int) -> Member:
    return Member(
        name="bad", group="perturbed", number=number, seed=number, error="no disk"
    )


def quantity(members: list[Member], kind: Kind, place: int = 0) -> Quantity:
    return summarise(members, PHASES).groups["perturbed"].of_kind(kind)[place]


def test_mean_and_deviation_are_those_of_a_sample() -> None:
    members = [member(0, n_pore=2), member(1, n_pore=4), member(2, n_pore=6)]

    pore = quantity(members, "volume_fraction")

    assert (pore.name, pore.values) == ("pore", (0.2, 0.4, 0.6))
    assert pore.mean == pytest.approx(0.4)
    assert pore.sd == pytest.approx(0.2)  # √((0.2² + 0 + 0.2²) / 2)
    assert mean_and_sd(pore) == "40.0 ± 20.0%"


def test_each_kind_is_there_for_each_phase_and_pair() -> None:
    group = summarise([member(0), member(1)], PHASES).groups["perturbed"]

    found = {(q.kind, q.name): q.mean for q in group.quantities}
    assert found == {
        ("accuracy", "all"): pytest.approx(0.8),
        ("iou", "pore"): 0.5,
        ("iou", "solid"): 0.5,
        ("volume_fraction", "pore"): 0.2,
        ("volume_fraction", "solid"): 0.8,
        ("surface_fraction", "pore"): 0.1,
        ("surface_fraction", "solid"): 0.1,
        ("interface_fraction", "pore – solid"): 0.2,
    }


def test_undefined_scores_are_left_out_and_counted() -> None:
    ious = [(0.4, 0.5), (math.nan, 0.5), (0.6, 0.5)]

    pore = quantity([member(i, iou=iou) for i, iou in enumerate(ious)], "iou")

    assert pore.mean == pytest.approx(0.5)
    assert pore.sd == pytest.approx(math.sqrt(0.02))
    assert pore.n_missing == 1
    assert mean_and_sd(pore) == "50.0 ± 14.1% (2 of 3)"


def test_one_value_has_no_deviation_and_none_no_mean() -> None:
    undefined = (math.nan, 0.5)

    one = quantity([member(0, iou=(0.4, 0.5)), member(1, iou=undefined)], "iou")
    none = quantity([member(0, iou=undefined), member(1, iou=undefined)], "iou")

    assert math.isnan(one.sd)
    assert mean_and_sd(one) == "40.0% (1 of 2)"
    assert math.isnan(none.mean)
    assert mean_and_sd(none) == "–"


def test_failed_members_count_but_do_not_enter_and_groups_stay_apart() -> None:
    members = [member(0), failed(1), member(0, group="same_labels", n_pore=6)]

    groups = summarise(members, PHASES).groups

    perturbed, same = groups["perturbed"], groups["same_labels"]
    assert (perturbed.n, perturbed.n_failed, perturbed.names) == (
        1,
        1,
        ("perturbed-0",),
    )
    assert (same.n, same.n_failed) == (1, 0)
    assert same.of_kind("volume_fraction")[0].values == (0.6,)


def test_rows_of_members_have_a_column_for_each_quantity() -> None:
    good, bad = member_rows([member(0, iou=(math.nan, 0.5)), failed(1)], PHASES)

    assert list(good) == list(bad)
    assert good["interface_fraction_1_2"] == 0.2
    assert good["error"] == ""
    assert (bad["error"], bad["seed"]) == ("no disk", 1)
    table = as_text([good, bad]).splitlines()
    assert table[1].split("\t")[:8] == [
        "perturbed-0",
        "perturbed",
        "0",
        "0",
        "0.1",
        "0.8",
        "",  # undefined
        "0.5",
    ]


def test_summary_is_written_as_csv(tmp_path: Path) -> None:
    summary = summarise([member(0, n_pore=2), member(1, n_pore=4)], PHASES)

    write_summary_csv(tmp_path / "summary.csv", summary)

    with (tmp_path / "summary.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(summary_rows(summary)) == 8
    assert (rows[3]["kind"], rows[3]["name"]) == ("volume_fraction", "pore")
    assert float(rows[3]["mean"]) == pytest.approx(0.3)


def test_figures_show_each_value_of_both_groups() -> None:
    members = [member(i, iou=(0.1 * i, 0.5), n_pore=2 + i) for i in range(3)]
    members += [member(0, group="same_labels", iou=(math.nan, 0.7))]
    summary = summarise(members, PHASES)
    ious, ratios, interfaces = Figure().subplots(3)

    draw_iou_distributions(ious, summary)
    draw_surface_against_volume(ratios, summary)
    draw_interfaces(interfaces, summary)

    heights = [np.asarray(c.get_offsets())[:, 1].tolist() for c in ious.collections]
    np.testing.assert_allclose(np.concatenate(heights), [0, 10, 20, 50, 50, 50, 70])
    across = [np.asarray(c.get_offsets())[:, 0] for c in ratios.collections]
    np.testing.assert_allclose(across[0], [1 / 2, 1 / 3, 1 / 4])  # 1 surface voxel
    assert [t.get_text() for t in interfaces.get_xticklabels()] == ["pore –\nsolid"]
    assert [t.get_text() for t in ious.get_legend().get_texts()] == [
        "perturbed labels (3)",
        "same labels, other seeds (1)",
    ]


def test_figures_of_a_study_without_a_member_are_empty() -> None:
    axes = Figure().subplots(3)
    summary = summarise([], PHASES)

    draw_iou_distributions(axes[0], summary)
    draw_surface_against_volume(axes[1], summary)
    draw_interfaces(axes[2], summary)

    assert not any(ax.collections for ax in axes)


def test_networks_that_have_not_learnt_a_phase_are_counted_over_all_groups() -> None:
    members = [
        replace(member(0), not_learnt=(2,)),
        member(1),
        replace(member(0, group="same_labels"), not_learnt=(2,)),
        failed(2),
    ]

    summary = summarise(members, PHASES)

    assert summary.shortcoming == "2 of 3 networks have not learnt solid"
    assert summary.to_dict()["not_learnt"] == [
        {"label": 2, "name": "solid", "n_networks": 2}
    ]
    assert summarise(members[:2], PHASES).shortcoming == (
        "1 of 2 networks has not learnt solid"
    )
    assert summarise(members[1:2], PHASES).shortcoming == ""


def test_what_a_member_has_not_learnt_is_saved_and_checked() -> None:
    saved: Any = replace(member(0), not_learnt=(2,)).to_dict()
    older: Any = {name: value for name, value in saved.items() if name != "not_learnt"}

    assert Member.from_dict(saved, n_phases=2).not_learnt == (2,)
    assert Member.from_dict(older, n_phases=2).not_learnt == ()
    with pytest.raises(ValueError, match="unknown labels"):
        Member.from_dict(saved | {"not_learnt": (3,)}, n_phases=2)


# Surface area, tortuosity, and the ensemble


def extended(number: int, *, area: float, through: float) -> Member:
    """Make a member that also has a surface area and two tortuosities of the pores."""
    return replace(
        member(number),
        surface_areas=(area, 2 * area),
        length_unit="micrometer",
        tortuosity=(
            Tortuosity(label=1, axis="z", value=through),
            Tortuosity(label=1, axis="y", value=2.0),
        ),
    )


EXTENDED = [
    extended(0, area=0.5, through=1.5),
    extended(1, area=0.6, through=math.nan),  # no way through
    extended(2, area=0.7, through=1.7),
]


def test_areas_and_tortuosities_keep_their_units_and_are_no_shares() -> None:
    summary = summarise([failed(3), *EXTENDED], PHASES)

    found = {q.title: q for q in summary.quantities if not q.is_share}
    assert {title: mean_and_sd(q) for title, q in found.items()} == {
        "Surface area, pore (1/micrometer)": "0.600 ± 0.100",
        "Surface area, solid (1/micrometer)": "1.20 ± 0.20",
        "Tortuosity, pore along z": "1.60 ± 0.14 (2 of 3)",
        "Tortuosity, pore along y": "2.00 ± 0.00",
    }
    assert found["Tortuosity, pore along z"].n_missing == 1
    assert summary.has("tortuosity")
    assert not summarise([member(0)], PHASES).has("surface_area")
    assert summary_rows(summary)[8]["unit"] == "1/micrometer"


def test_small_and_large_numbers_are_shown_with_three_digits() -> None:
    def shown(*values: float) -> str:
        name = "pore along z"
        return mean_and_sd(
            Quantity(kind="tortuosity", name=name, labels=(1,), values=values)
        )

    assert shown(0.000123, 0.000125) == "0.000124 ± 0.000001"
    assert shown(1234.0) == "1234"
    assert shown(0.0) == "0.00"
    assert shown(2.0, 2.001) == "2.000 ± 0.001"


def test_columns_of_members_name_phase_and_axis() -> None:
    rows = member_rows([failed(3), *EXTENDED], PHASES)

    assert [*rows[0]] == [*rows[1]]
    assert rows[1]["surface_area_2"] == 1.0
    assert rows[1]["tortuosity_1_z"] == 1.5
    assert math.isnan(float(rows[2]["tortuosity_1_z"]))


def test_the_ensemble_stands_beside_the_groups() -> None:
    ensemble = replace(member(0, n_pore=6), group="same_labels")

    summary = summarise([member(0), member(1)], PHASES, ensemble=ensemble)

    assert {*summary.groups} == {"perturbed"}
    assert [title for title, _ in summary.columns.values()] == [
        "perturbed labels (2)",
        "ensemble",
    ]
    rows = [row for row in summary_rows(summary) if row["group"] == "ensemble"]
    assert [row["mean"] for row in rows if row["kind"] == "volume_fraction"] == [
        0.6,
        0.4,
    ]
    printed = summary.to_dict()["ensemble"]
    assert (printed[3]["mean"], printed[3]["sd"]) == (0.6, None)
    assert summarise([member(0)], PHASES).to_dict()["ensemble"] is None


def test_what_the_members_lack_is_missing_in_the_ensemble() -> None:
    summary = summarise(EXTENDED, PHASES, ensemble=member(0))

    assert summary.ensemble is not None
    (pore, solid) = summary.ensemble.of_kind("surface_area")
    assert (pore.n_missing, mean_and_sd(solid)) == (1, "–")
    assert len(summary.ensemble.quantities) == len(summary.quantities)


def test_figures_show_areas_and_tortuosities_as_they_are_with_the_ensemble() -> None:
    summary = summarise(EXTENDED, PHASES, ensemble=EXTENDED[0])
    areas, through = Figure().subplots(2)

    draw_surface_areas(areas, summary)
    draw_tortuosities(through, summary)

    points = [np.asarray(c.get_offsets())[:, 1].tolist() for c in areas.collections]
    np.testing.assert_allclose(points, [[0.5, 0.6, 0.7], [1.0, 1.2, 1.4]])
    stars = [line for line in areas.lines if line.get_marker() == "*"]
    assert [float(*line.get_ydata()) for line in stars] == [0.5, 1.0]
    assert "1/micrometer" in areas.get_ylabel()
    names = [text.get_text() for text in through.get_xticklabels()]
    assert names == ["pore\nalong z", "pore\nalong y"]
    assert areas.get_legend().get_texts()[-1].get_text() == "ensemble"
