"""What a comparison of several experimenters shows: tables by question."""

from collections.abc import Iterable, Sequence

from qtpy.QtWidgets import QLabel, QSizePolicy, QTabBar, QWidget

from napari_lrcs.comparison.experimenter_tables import (
    ExperimentersDict,
    experimenters_dict,
)
from napari_lrcs.comparison.experimenters import ExperimentersCompared
from napari_lrcs.plugin.parts.tables import Table
from napari_lrcs.plugin.parts.widgets import percent, vbox

_TABS = {
    "Differ": "Share of the voxels painted by both that differ",
    "IoU": "IoU of each phase, for each pair",
    "Where": "Share of the differing voxels that lie near an interface of either; the "
    "distance is in voxels, within the slice",
    "Target": "Accuracy and IoU of each phase against the target",
}
_LETTERS = 20
"""Most letters in the names of a pair that fit beside its numbers."""

_MOST_ROWS = 6
"""Most rows of a table that does not scroll."""

_TARGET = list(_TABS).index("Target")


class ExperimentersResults(QWidget):
    """Tables of experimenters compared; long names of pairs give way to numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.title = QLabel()
        self.title.setWordWrap(True)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.tables = {name: Table(most_rows=_MOST_ROWS) for name in _TABS}
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        for name, tooltip in _TABS.items():
            self.tabs.setTabToolTip(self.tabs.addTab(name), tooltip)
        self.tabs.currentChanged.connect(self._show_page)
        vbox(self, self.title, self.tabs, *self.tables.values(), top=6)
        self._show_page(0)

    def _show_page(self, place: int) -> None:
        for i, table in enumerate(self.tables.values()):
            table.setVisible(i == place)

    def show_compared(self, compared: ExperimentersCompared) -> None:
        """Show all numbers."""
        found = experimenters_dict(compared)
        names = [f"{i} {name}" for i, name in enumerate(compared.names, 1)]
        numbers = [name.split()[0] for name in names]
        phases = [phase.name for phase in compared.counted]
        differ, iou, where, against = self.tables.values()
        self.title.setText(_title(found))
        _fill(differ, numbers, zip(names, found["disagreement"], strict=True))
        tips = [f"{names[a]} – {names[b]}" for a, b in compared.confusions]
        pairs = tips
        if max(map(len, tips)) > _LETTERS:
            pairs = [f"{a + 1} – {b + 1}" for a, b in compared.confusions]
        ious = [[p["iou"] for p in pair["phases"]] for pair in found["pairs"]]
        _fill(iou, phases, zip(pairs, ious, strict=True), tips=tips)
        near = [[n["share"] for n in p["near_interfaces"]] for p in found["pairs"]]
        within = [f"Within {distance}" for distance in compared.near]
        _fill(where, within, zip(pairs, near, strict=True), tips=tips)
        target = found["target"]
        self.tabs.setTabVisible(_TARGET, target is not None)
        scores = [
            [row["accuracy"], *(phase["iou"] for phase in row["phases"])]
            for row in (() if target is None else target["experimenters"])
        ]
        _fill(against, ["Accuracy", *phases], zip(names, scores, strict=False))

    def clear(self) -> None:
        """Forget the last comparison."""
        self.title.clear()
        for table in self.tables.values():
            table.fill([])


def _fill(
    table: Table,
    columns: Sequence[str],
    rows: Iterable[tuple[str, Sequence[float]]],
    *,
    tips: Sequence[str] = (),
) -> None:
    table.set_header(["In %", *columns])
    table.fill([[name, *map(percent, shares)] for name, shares in rows], tips=tips)


def _title(found: ExperimentersDict) -> str:
    near = found["near_interfaces"]
    shares = " and ".join(f"{percent(row['share'])}%" for row in near)
    distances = " and ".join(str(row["distance"]) for row in near)
    return (
        f"{len(found['experimenters'])} experimenters: a pair differs in "
        f"{percent(found['mean_disagreement'])}% of the voxels on average; "
        f"{shares} of these lie within {distances} voxels of an interface"
    )
