"""Tables of what is measured of one or several volumes of labels side by side."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.comparison.measures import Measures
from napari_lrcs.io.records import as_json
from napari_lrcs.io.tables import Row, as_text, write_csv
from napari_lrcs.io.units import SYMBOLS
from napari_lrcs.io.writing import replacing
from napari_lrcs.metrics.composition import measure_dict
from napari_lrcs.phases import Phase

if TYPE_CHECKING:
    from napari_lrcs.metrics.structure import ParticlesDict
    from napari_lrcs.metrics.transport import PhaseTransport

KINDS: Mapping[str, str] = {
    "volume_fraction": "Volume",
    "interface_fraction": "Interface",
    "surface_fraction": "Surface",
    "surface_area": "Surface area / volume",
    "surface_to_volume": "Surface / own volume",
    "n_particles": "Particles",
    "n_particles_at_border": "Particles at the border",
    "median_diameter": "Median diameter",
    "mean_diameter": "Mean diameter",
    "largest_diameter": "Largest diameter",
    "tortuosity_z": "Tortuosity along z",
    "tortuosity_y": "Tortuosity along y",
    "tortuosity_x": "Tortuosity along x",
    "effective_diffusivity_z": "Effective diffusivity along z",
    "effective_diffusivity_y": "Effective diffusivity along y",
    "effective_diffusivity_x": "Effective diffusivity along x",
}
"""Titles of all that is measured, in the order of the tables.

The dock shows them in tabs: `plugin.measure.results`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number about one phase, or about the interface of two.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    phases : tuple of Phase
        The phase, or both.
    value : float
        Fractions are from 0 to 1; NaN where undefined, infinite for the tortuosity of
        a phase without a path.
    unit : str
        Such as "micrometer" or "1/voxel"; empty for a mere number.
    """

    kind: str
    phases: tuple[Phase, ...]
    value: float
    unit: str = ""

    @property
    def name(self) -> str:
        """Name of the phase or the interface."""
        return " – ".join(phase.name for phase in self.phases)

    @property
    def title(self) -> str:
        """Title of the kind, with the unit."""
        symbol = SYMBOLS.get(self.unit.removeprefix("1/"), self.unit.removeprefix("1/"))
        unit = f"1/{symbol}" if self.unit.startswith("1/") else symbol
        return f"{KINDS[self.kind]} ({unit})" if unit else KINDS[self.kind]


def quantities(measures: Measures) -> list[Quantity]:
    """List all numbers of one volume, sorted by their kind."""
    found = [*_fractions(measures), *_areas(measures)]
    known = {phase.label: phase for phase in measures.phases}
    for part in measures.particles:
        found += _sizes(part.summary, known[part.summary["phase"]])
    for through in measures.transport:
        found += _transport(through)
    order = list(KINDS)
    return sorted(found, key=lambda quantity: order.index(quantity.kind))


def _fractions(measures: Measures) -> Iterator[Quantity]:
    shares = measure_dict(measures.composition, measures.phases)
    known = {phase.label: phase for phase in measures.phases}
    for row in shares["phases"]:
        phases = (known[row["label"]],)
        for kind, value in (
            ("volume_fraction", row["volume_fraction"]),
            ("surface_fraction", row["surface_fraction"]),
            ("surface_to_volume", row["surface_to_volume"]),
        ):
            yield Quantity(kind=kind, phases=phases, value=value)
    for interface in shares["interfaces"]:
        yield Quantity(
            kind="interface_fraction",
            phases=tuple(known[label] for label in interface["phases"]),
            value=interface["fraction"],
        )


def _areas(measures: Measures) -> Iterator[Quantity]:
    if measures.surface_area is None:
        return
    unit = f"1/{measures.unit or 'unknown unit'}"
    for phase, area in zip(measures.phases, measures.surface_area, strict=True):
        yield Quantity(
            kind="surface_area", phases=(phase,), value=float(area), unit=unit
        )


def _sizes(particles: "ParticlesDict", phase: Phase) -> list[Quantity]:
    sizes, unit = particles["equivalent_diameter"], particles["unit"] or "unknown unit"
    of = (phase,)
    return [
        Quantity(kind="n_particles", phases=of, value=particles["count"]),
        Quantity(kind="n_particles_at_border", phases=of, value=particles["at_border"]),
        Quantity(kind="median_diameter", phases=of, value=sizes["median"], unit=unit),
        Quantity(kind="mean_diameter", phases=of, value=sizes["mean"], unit=unit),
        Quantity(kind="largest_diameter", phases=of, value=sizes["max"], unit=unit),
    ]


def _transport(through: "PhaseTransport") -> Iterator[Quantity]:
    of = (through.phase,)
    for d in through.directions:
        for kind, value in (
            (f"tortuosity_{d.axis}", d.tortuosity),
            (f"effective_diffusivity_{d.axis}", d.effective_diffusivity),
        ):
            yield Quantity(kind=kind, phases=of, value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One quantity of several volumes.

    Parameters
    ----------
    quantity : Quantity
        Of the first volume that has it.
    values : tuple of float
        A value per volume; NaN where it is undefined or not measured.
    """

    quantity: Quantity
    values: tuple[float, ...]


def table_rows(measured: Sequence[Measures]) -> list[TableRow]:
    """Put the quantities of several volumes side by side, matched by phases' names.

    Phases that have only numbers are those of the same numbers elsewhere.
    """
    names = {
        phase.label: phase.name
        for measures in reversed(measured)
        for phase in measures.phases
        if not phase.has_default_name
    }
    columns = [
        {(q.kind, _names_in(names, q), q.unit): q for q in quantities(measures)}
        for measures in measured
    ]
    every: dict[tuple[str, frozenset[str], str], Quantity] = {}
    for key, q in (pair for column in columns for pair in column.items()):
        if key not in every or any(p.has_default_name for p in every[key].phases):
            every[key] = q
    order = list(KINDS)
    return [
        TableRow(
            quantity=every[key],
            values=tuple(
                column[key].value if key in column else math.nan for column in columns
            ),
        )
        for key in sorted(every, key=lambda key: order.index(key[0]))
    ]


def _names_in(names: Mapping[int, str], quantity: Quantity) -> frozenset[str]:
    """Name a quantity's phases, by their numbers where they have only numbers.

    Without an order: an interface is the same from both sides.
    """
    return frozenset(
        names.get(phase.label, phase.name) if phase.has_default_name else phase.name
        for phase in quantity.phases
    )


def measures_rows(measured: Sequence[Measures]) -> list[Row]:
    """Make a row per quantity with a column per volume; numbers are unrounded."""
    rows: list[Row] = []
    for row in table_rows(measured):
        quantity = row.quantity
        cells: Row = {
            "quantity": quantity.kind,
            "phase": quantity.name,
            "unit": quantity.unit,
        }
        for measures, value in zip(measured, row.values, strict=True):
            name = measures.name
            cells[f"{name} (labels)" if name in cells else name] = value
        rows.append(cells)
    return rows


def as_text_table(measured: Sequence[Measures]) -> str:
    """Lay out `measures_rows` with tabs, to be pasted into a spreadsheet."""
    return as_text(measures_rows(measured))


def write_measures_csv(path: Path, measured: Sequence[Measures]) -> None:
    """Write `measures_rows`; the file is replaced only when complete."""
    write_csv(path, measures_rows(measured))


def write_measures_json(path: Path, measured: Sequence[Measures]) -> None:
    """Write what ``measure --json`` prints; of several volumes, an object by name."""
    found = {measures.name: measures.to_dict() for measures in measured}
    values = found if len(measured) > 1 else measured[0].to_dict()
    with replacing(path) as temporary:
        temporary.write_text(as_json(values) + "\n", encoding="utf-8")
