"""The error budget: sources that add up by hand, and what is unknown."""

import math
from dataclasses import replace
from typing import Any

import pytest

from napari_lrcs.io.tables import as_text
from napari_lrcs.metrics.composition import MeasuresDict
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study.summary import Group, Member, StudySummary, summarise
from napari_lrcs.uncertainty.trust.budget import (
    UNKNOWN_BIAS,
    Budget,
    budgets_of_study,
    scatter_of,
)
from napari_lrcs.uncertainty.trust.budget_tables import (
    budget_dict,
    budget_numbers,
    budget_rows,
)
from napari_lrcs.uncertainty.trust.finite_volume import FiniteVolume

PHASES = PhaseTable.named("pore", "NMC")


def member(group: Group, number: int, *, pore: float) -> Member:
    shares: list[Any] = [
        {
            "label": label,
            "name": name,
            "volume_fraction": share,
            "surface_fraction": 0.1,
            "surface_to_volume": 0.2,
        }
        for label, name, share in ((1, "pore", pore), (2, "NMC", 1 - pore))
    ]
    return Member(
        name=f"{group}-{number:03}",
        group=group,
        number=number,
        seed=number,
        accuracy=0.9,
        iou=(0.8, 0.9),
        measures=MeasuresDict(
            phases=shares,
            interfaces=[{"phases": [1, 2], "fraction": 0.2, "sides": [0.1, 0.1]}],
            neighbourhood=26,
        ),
    )


@pytest.fixture(scope="module")
def study() -> StudySummary:
    # Standard deviations of .05 with perturbed labels, and .03 with other seeds.
    perturbed = [
        member("perturbed", i, pore=p) for i, p in enumerate((0.35, 0.40, 0.45))
    ]
    repeats = [
        member("same_labels", i, pore=p) for i, p in enumerate((0.37, 0.40, 0.43))
    ]
    return summarise([*perturbed, *repeats], PHASES)


BUDGET = Budget(
    kind="volume_fraction",
    labels=(1,),
    name="pore",
    predicted=0.42,
    correction=-0.02,
    correction_half_width=0.03,
)


def test_the_scatter_of_seeds_is_not_added_twice(study: StudySummary) -> None:
    pore = study.groups["perturbed"].of_kind("volume_fraction")[0]

    found = scatter_of(study, pore)

    assert found["seed_scatter"] == pytest.approx(0.03)
    assert found["label_scatter"] == pytest.approx(0.04)  # .05² = .04² + .03²
    assert (found["n_label"], found["n_seed"]) == (3, 3)


def test_the_scatter_of_a_single_network_is_unknown() -> None:
    study = summarise([member("perturbed", 0, pore=0.4)], PHASES)
    pore = study.groups["perturbed"].of_kind("volume_fraction")[0]

    assert math.isnan(scatter_of(study, pore)["label_scatter"])


def test_this_volume_combines_correction_labels_and_seeds() -> None:
    budget = replace(
        BUDGET, label_scatter=0.01, n_label=3, seed_scatter=0.005, n_seed=3
    )

    # Student's t of two degrees of freedom is 4.303.
    expected = math.hypot(0.03, 4.303 * 0.01, 4.303 * 0.005)
    assert budget.value == pytest.approx(0.40)
    assert budget.this_volume == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("n_label", "n_seed", "said"), [(2, 0, 2), (15, 3, 3), (15, 5, 0), (0, 0, 0)]
)
def test_a_scatter_of_few_networks_is_called_rough(
    n_label: int, n_seed: int, said: int
) -> None:
    budget = replace(BUDGET, n_label=n_label, n_seed=n_seed)

    assert (f"of only {said} networks" in budget.reason) == (said > 0)
    assert bool(budget.reason) == (said > 0)


def test_the_material_adds_the_finite_volume_at_the_corrected_fraction() -> None:
    finite = FiniteVolume(
        fraction=0.5, integral_range=100, n_effective=50, sd=0.02, half_width=0.04
    )
    budget = replace(BUDGET, finite_volume=finite)

    # The share .4 scatters less than .5 does: by the root of .24 / .25.
    width = 0.04 * math.sqrt(0.24 / 0.25)
    assert budget.material_half_width == pytest.approx(width)
    assert budget.material == pytest.approx(math.hypot(0.03, width))


def test_without_check_patches_the_bias_is_unknown(study: StudySummary) -> None:
    first, *_ = budgets_of_study(study)

    assert first.predicted == pytest.approx(0.40)
    assert first.label_scatter == pytest.approx(0.04)
    assert math.isnan(first.this_volume)
    assert math.isnan(first.material)
    assert first.reason == UNKNOWN_BIAS
    assert budget_rows([first])[0]["This volume"] == "unknown"


def test_without_a_study_the_patches_judge_alone() -> None:
    assert BUDGET.this_volume == pytest.approx(0.03)
    assert math.isnan(BUDGET.material)


def test_a_spreadsheet_gets_numbers() -> None:
    finite = FiniteVolume(
        fraction=0.4, integral_range=100, n_effective=50, sd=0.02, half_width=0.04
    )
    budget = replace(
        BUDGET, correction=0.02, finite_volume=finite, resolution=(0.42, 0.41, 0.38)
    )

    (row,) = budget_numbers([budget])

    assert row["quantity"] == "Volume, pore"
    assert row["correction"] == 0.02
    assert row["correction_half_width"] == BUDGET.correction_half_width
    assert row["finite_volume_half_width"] == budget.material_half_width
    assert row["at_4x_voxels"] == 0.38
    assert "'" not in as_text([row])
    (plain,) = budget_numbers([BUDGET])
    assert [*plain] == [*row]


def test_rows_and_json_name_every_source() -> None:
    budget = replace(BUDGET, resolution=(0.42, 0.41, 0.38))

    (row,) = budget_rows([budget])
    found = budget_dict(budget)

    assert row["Quantity"] == "Volume, pore"
    assert row["Correction"] == "−2.0 ± 3.0"
    assert row["This volume"] == "40.0 ± 3.0"
    assert row["At 1×, 2×, 4× voxels"] == "42.0 41.0 38.0"
    assert found["finite_volume"] is None
    assert found["this_volume"] == pytest.approx(0.03)
