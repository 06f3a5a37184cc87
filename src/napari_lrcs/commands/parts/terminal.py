"""Make text and the standard streams safe to print with."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

BAD_INPUT = 2
"""Exit code of the command line for bad input."""

READER_LEFT = 1
"""Exit code if nobody reads standard output any more, as after ``| head``."""

# Control characters and line breaks, marks that change the direction of text, and
# surrogates, which stand for bytes in file names that are not text.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Escape the characters that would control a terminal.

    Examples
    --------
    >>> print(printable("pore\x1b[2J"))
    pore\x1b[2J
    """
    return _UNSAFE.sub(lambda unsafe: ascii(unsafe[0])[1:-1], text)


def print_error(message: str) -> None:
    """Print one line on standard error."""
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)


@contextmanager
def usable_streams() -> Iterator[None]:
    """Make the standard streams take any text, even where one is closed or breaks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Kept open, so that no later file gets the stream's number.
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, nowhere)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            # What is left in the buffer would fail again when Python exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
