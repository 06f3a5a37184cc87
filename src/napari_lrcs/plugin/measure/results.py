"""What the dock "Measure phases" shows: tables, and the sizes of particles."""

import math
from collections.abc import Sequence

from napari.viewer import Viewer
from qtpy.QtWidgets import QSizePolicy, QTabBar, QWidget

from napari_lrcs.comparison.figures import draw_diameters, shortened
from napari_lrcs.comparison.measure_tables import TableRow, table_rows
from napari_lrcs.comparison.measures import Measures
from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.tables import Table, make_dense
from napari_lrcs.plugin.parts.widgets import hbox, percent, vbox

_TABS = {
    "Fractions": "Shares of the labelled voxels",
    "Areas": "Surface area of each phase per volume of the whole, by the gradient of "
    "the smoothed phase, as TauFactor computes it",
    "Particles": "Number and sizes of the particles of a phase",
    "Tortuosity": "Tortuosity factor of a phase along each axis, by TauFactor",
}

_KINDS = {
    "Fractions": ("volume_fraction", "interface_fraction", "surface_fraction"),
    "Areas": ("surface_area", "surface_to_volume"),
    "Particles": (
        *("n_particles", "n_particles_at_border"),
        *("median_diameter", "largest_diameter"),
    ),
    "Tortuosity": tuple(
        f"{kind}_{axis}"
        for kind in ("tortuosity", "effective_diffusivity")
        for axis in "zyx"
    ),
}
"""What is in the table of each tab."""

_MEANINGS = {
    "volume_fraction": "Voxels of the phase, as a share of all labelled voxels",
    "interface_fraction": "Voxels on either side that touch the other phase, as a "
    "share of all labelled voxels",
    "surface_fraction": "Voxels of the phase that touch another one, as a share of "
    "all labelled voxels",
    "surface_to_volume": "Voxels of the phase that touch another one, as a share of "
    "its own voxels",
    "median_diameter": "Diameter of a sphere (in 2D, a circle) of the particle's "
    "volume; half of the particles are smaller",
}

_IN_PERCENT = ("fraction", "surface_to_volume")

_LETTERS = 26
"""Letters of all names of layers together that fit beside the phases."""

_FEWEST_LETTERS = 8

_LEGEND_LETTERS = 8
"""Letters of a layer's name in a legend, of which three stand in a row."""


class MeasuresResults(QWidget):
    """Tables of measures with a column per layer, and the sizes of particles.

    Parameters
    ----------
    viewer : Viewer
        Its theme gives the colours of the plot.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.tables = {name: _dense_table() for name in _TABS}
        self.plot = Plot(viewer, height=230)
        # Not a QTabWidget, in which all pages are as high as the highest.
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        self.tabs.setUsesScrollButtons(False)
        for name, tooltip in _TABS.items():
            self.tabs.setTabToolTip(self.tabs.addTab(name), tooltip)
        self.tabs.currentChanged.connect(self._show_page)
        self._column = vbox(self, self.tabs, self.plot, *self.tables.values(), top=4)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._show_page(0)

    def add_buttons(self, *buttons: QWidget) -> None:
        """Put buttons in a row under the tables."""
        self._column.addLayout(hbox(*buttons))

    def show_tab(self, name: str) -> None:
        """Show the page of this name."""
        self.tabs.setCurrentIndex(list(_TABS).index(name))

    def _show_page(self, place: int) -> None:
        for i, table in enumerate(self.tables.values()):
            table.setVisible(i == place)
        self.plot.setVisible(list(_TABS)[place] == "Particles")

    def show_measures(self, measured: Sequence[Measures]) -> None:
        """Show all that is measured, a column per layer."""
        rows = table_rows(measured)
        for place, (name, kinds) in enumerate(_KINDS.items()):
            found = [row for row in rows if row.quantity.kind in kinds]
            self.tabs.setTabEnabled(place, bool(found) or place == 0)
            _fill(self.tables[name], found, [measures.name for measures in measured])
        (ax,) = self.plot.axes
        ax.clear()
        draw_diameters(ax, measured, n_letters=_LEGEND_LETTERS)
        self.plot.place_legends_above()


def _dense_table() -> Table:
    table = Table()
    make_dense(table)
    return table


def _fill(table: Table, rows: Sequence[TableRow], names: Sequence[str]) -> None:
    """Show the quantities of each kind under the title of the kind."""
    letters = max(_LETTERS // max(len(names), 1), _FEWEST_LETTERS)
    table.set_header(["", *(shortened(name, letters) for name in names)])
    for column, name in enumerate(names, start=1):
        item = table.horizontalHeaderItem(column)
        assert item is not None
        item.setToolTip(name)
    cells: list[list[str]] = []
    colours: list[tuple[str, ...]] = []
    titles: dict[int, str] = {}
    for row in rows:
        kind, title = row.quantity.kind, row.quantity.title
        title += " (%)" if kind.endswith(_IN_PERCENT) else ""
        if not titles or cells[max(titles)] != [title]:
            titles[len(cells)] = _MEANINGS.get(kind, "")
            cells.append([title])
            colours.append(())
        cells.append([row.quantity.name, *(_text(kind, v) for v in row.values)])
        colours.append(tuple(phase.colour for phase in row.quantity.phases))
    table.clearSpans()
    table.fill(cells, colours=colours)
    for place, meaning in titles.items() if names else ():
        table.setSpan(place, 0, 1, 1 + len(names))
        item = table.item(place, 0)
        assert item is not None
        item.setToolTip(meaning or item.text())
        font = item.font()
        font.setBold(True)
        item.setFont(font)


def _text(kind: str, value: float) -> str:
    if kind.endswith(_IN_PERCENT):
        return percent(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "no path"
    is_whole = kind.startswith("n_") or value >= 100
    return f"{value:,.0f}" if is_whole else f"{value:#.3g}"
