import pytest

from napari_lrcs.config import TrainConfig
from napari_lrcs.export.description import describe
from napari_lrcs.export.readme import notice_of_filters, readme
from napari_lrcs.metrics.calibration import ConfidenceCurve
from napari_lrcs.models.header import Header, NetworkInfo
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.normalisation import Normalisation

SCALE = Normalisation(low=10.0, high=30.0, mean=18.0, sd=4.0)


def _header(**changes: object) -> Header:
    return Header(
        config=TrainConfig().with_changes(context_slices=1, **changes),
        phases=PhaseTable.named("pore", "solid"),
        normalisation=SCALE,
        voxel_size=(0.5, 0.25, 0.25),
        unit="micrometer",
        temperature=1.5,
        confidence_curve=ConfidenceCurve(rising=0.5, falling=2.0, shift=-0.25),
        history=({"validation_mean_iou": 0.75, "validation_iou_1": 0.75},),
        versions={"napari-lrcs": "0.1"},
    )


def test_preprocessing_is_in_the_order_in_which_it_is_done() -> None:
    network: NetworkInfo = _header(median_size=3, unsharp_radius=6.0, axis="y")

    found = describe(network, stride=8, halo=56)

    assert found["preprocessing"] == [
        {"step": "convert", "dtype": "float32"},
        {"step": "median", "size": [3, 3, 3], "beyond_the_ends": "reflect"},
        {
            "step": "unsharp_mask",
            "sigma": 6.0,
            "weight": 0.6,
            "beyond_the_ends": "reflect",
        },
        {"step": "clip", "low": -10.0, "high": 50.0},  # 20 beyond either limit
        {"step": "subtract", "value": 18.0},
        {"step": "divide", "value": 4.0},
        {
            "step": "slices",
            "across": "y",
            "rows": "z",
            "columns": "x",
            "offsets": [-1, 0, 1],
            "beyond_the_ends": "reflect",
        },
    ]
    assert found["phases"] == [
        {"label": 1, "name": "pore", "colour": "#0072b2"},
        {"label": 2, "name": "solid", "colour": "#e69f00"},
    ]
    assert found["postprocessing"]["temperature"] == 1.5
    curve = {"rising": 0.5, "falling": 2.0, "shift": -0.25}
    assert found["postprocessing"]["confidence_curve"] == curve
    assert (found["voxel_size"], found["unit"]) == ([0.5, 0.25, 0.25], "micrometer")
    assert found["tiles"] == {"stride": 8, "halo": 56}
    assert found["output"]["shape"] == [None, 2, None, None]


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({}, ""),
        ({"median_size": 3}, "a 3D median of 3 × 3 × 3 voxels"),
        (
            {"median_size": 5, "unsharp_radius": 6.0},
            "a 3D median of 5 × 5 × 5 voxels and then a 2D unsharp mask (sigma 6 px, "
            "weight 0.6)",
        ),
    ],
)
def test_notice_names_the_filters_that_a_package_cannot_describe(
    filters: dict[str, float], says: str
) -> None:
    header = _header(**filters)

    notice, text = notice_of_filters(header), readme(header, name="A network")

    assert bool(notice) == bool(filters)
    assert says in notice
    assert notice[1:] in text


def test_readme_has_the_phases_and_the_scores() -> None:
    text = readme(_header(), name="A network")

    assert text.startswith("# A network\n")
    assert "| 2 | solid | `#e69f00` |" in text
    assert "0.5 × 0.25 × 0.25 µm" in text
    assert "| mean | 0.750 |\n| pore | 0.750 |\n| solid | – |" in text
