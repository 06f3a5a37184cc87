"""How far a segmentation can be trusted: check patches and the error budget."""

CONFIDENCE_LEVEL = 0.95
"""Share of intervals that contain the truth, unless another one is given."""


def level_text(confidence_level: float) -> str:
    """Write a confidence level as people read it.

    Examples
    --------
    >>> level_text(0.95), level_text(0.975)
    ('95%', '97.5%')
    """
    return f"{100 * confidence_level:g}%"
