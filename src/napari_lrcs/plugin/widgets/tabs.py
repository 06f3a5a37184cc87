"""Tabs that are as high as the page in sight, not as the highest."""

from qtpy.QtWidgets import QSizePolicy, QTabWidget

_FRAME = 6
"""Around a page, in pixels."""


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
        height = page.heightForWidth(width - _FRAME)
        if height < 0:
            height = page.sizeHint().height()
        return int(height + bar.sizeHint().height() + _FRAME)

    def _fit(self, shown: int) -> None:
        for i in range(self.count()):
            page = self.widget(i)
            assert page is not None
            size = QSizePolicy.Policy.Preferred
            page.setSizePolicy(size, size if i == shown else QSizePolicy.Policy.Ignored)
        self.updateGeometry()
