"""What is stored with labels: names and colours of phases, and provenance."""

from collections.abc import Mapping
from typing import Any

from napari_lrcs.io.provenance import PROVENANCE, Provenance, to_json
from napari_lrcs.phases import PhaseTable

PHASES_KEY = "napari_lrcs"
"""Zarr attribute, and key of the TIFF tag's JSON, under which phases are stored."""


def stored_phases(holder: Mapping[str, Any]) -> PhaseTable | None:
    """Read the phases that are stored under `PHASES_KEY`."""
    rows = holder[PHASES_KEY].get("phases")
    return None if rows is None else PhaseTable.from_dicts(rows)


def label_metadata(
    phases: PhaseTable | None, provenance: Provenance | None
) -> dict[str, Any]:
    """Return what is stored under `PHASES_KEY`; empty if nothing is known."""
    values: dict[str, Any] = {}
    if phases is not None:
        values["phases"] = phases.to_dicts()
    if provenance is not None:
        values[PROVENANCE] = to_json(provenance)
    return values
