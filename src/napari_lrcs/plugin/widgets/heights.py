"""Tables as high as what they hold."""

from qtpy.QtWidgets import QHeaderView, QTableWidget

_ROW = 26
_HEADER = 24
_FRAME = 4
_SCROLL_BAR = 14


def fit_height(table: QTableWidget, *, most_rows: int) -> None:
    """Make a table as high as its rows; beyond `most_rows` it scrolls."""
    rows, columns = table.verticalHeader(), table.horizontalHeader()
    assert rows is not None
    assert columns is not None
    rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    rows.setMinimumSectionSize(_ROW)
    rows.setDefaultSectionSize(_ROW)
    columns.setFixedHeight(_HEADER)
    viewport = table.viewport()
    assert viewport is not None
    is_wide = columns.length() > viewport.width()
    bar = _SCROLL_BAR if is_wide else 0
    n = min(table.rowCount(), most_rows)
    table.setFixedHeight(_HEADER + n * _ROW + _FRAME + bar)
