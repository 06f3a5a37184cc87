"""Tables and tabs as high as what they show."""

from qtpy.QtWidgets import QHeaderView, QSizePolicy, QTableWidget, QTabWidget

_ROW = 26
_HEADER = 24
_TABLE_FRAME = 4
_SCROLL_BAR = 14
_PAGE_FRAME = 6
"""Around a page, in pixels."""


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
    table.setFixedHeight(_HEADER + n * _ROW + _TABLE_FRAME + bar)


class Tabs(QTabWidget):
    """Tabs in a dock whose body scrolls no further than the page in sight is long."""

    def __init__(self) -> None:
        super().__init__()
        self.currentChanged.connect(self._fit)

    def heightForWidth(self, width: int) -> int:  # noqa: N802 Qt's name
        """Ask the page in sight alone; Qt's own asks all of them."""
        page, bar = self.currentWidget(), self.tabBar()
        if page is None or bar is None:
            return int(super().heightForWidth(width))
        height = page.heightForWidth(width - _PAGE_FRAME)
        if height < 0:
            height = page.sizeHint().height()
        return int(height + bar.sizeHint().height() + _PAGE_FRAME)

    def _fit(self, shown: int) -> None:
        for i in range(self.count()):
            page = self.widget(i)
            assert page is not None
            size = QSizePolicy.Policy.Preferred
            page.setSizePolicy(size, size if i == shown else QSizePolicy.Policy.Ignored)
        self.updateGeometry()
