"""What the scripts that fill a page of the documentation share."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def fill(page: Path, part: str, lines: Iterable[str]) -> None:
    """Replace the lines of a page between ``<!-- part: … -->`` and ``<!-- end -->``."""
    text = page.read_text(encoding="utf-8")
    mark = rf"(<!-- {re.escape(part)}: .*? -->\n).*?(<!-- end -->)"
    found = "\n".join(lines)
    filled, n_filled = re.subn(
        mark,
        lambda match: f"{match[1]}\n{found}\n\n{match[2]}",
        text,
        flags=re.DOTALL,
    )
    if n_filled != 1:
        raise ValueError(f"{page} has {n_filled} places for {part!r}, expected one")
    page.write_text(filled, encoding="utf-8")


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    for cells in (names, ["---"] * len(names), *rows):
        yield f"| {' | '.join(cells)} |"
