"""Units of length: their names in OME-NGFF, other spellings, and lengths in metres."""

_UNITS = {
    "picometer": ("pm", 1e-12),
    "angstrom": ("Å", 1e-10),
    "nanometer": ("nm", 1e-9),
    "micrometer": ("µm", 1e-6),
    "millimeter": ("mm", 1e-3),
    "centimeter": ("cm", 1e-2),
    "meter": ("m", 1.0),
    "inch": ("in", 0.0254),
}

SYMBOLS = {unit: symbol for unit, (symbol, _) in _UNITS.items()}
"""Symbols in OME-TIFF, by the units' names in OME-NGFF."""

METRES = {unit: metres for unit, (_, metres) in _UNITS.items()}
"""Lengths of the units in metres, by their names in OME-NGFF."""

# Folding the case also turns the micro sign into the Greek letter.
_SPELLINGS = {
    **{unit: unit for unit in _UNITS},
    **{symbol.casefold(): unit for unit, symbol in SYMBOLS.items()},
    "um": "micrometer",
    "\\u00b5m": "micrometer",  # ImageJ's escape, which some readers do not decode
    "micron": "micrometer",
    "microns": "micrometer",
}


def known_unit(spelling: str | None) -> str | None:
    """Return the name of a unit in OME-NGFF.

    Parameters
    ----------
    spelling : str, optional
        Name or symbol of the unit, in upper or lower case.

    Returns
    -------
    str or None
        None if there is no unit, or if it is not a known unit of length.

    Examples
    --------
    >>> known_unit("um")
    'micrometer'
    >>> known_unit("pixel") is None
    True
    """
    return _SPELLINGS.get((spelling or "").strip().casefold())
