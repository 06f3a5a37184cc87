"""Which slices the members of a study learn from, and which one scores them all."""

from collections.abc import Mapping

from qtpy.QtWidgets import QLineEdit

from napari_lrcs.annotation.annotation import Role
from napari_lrcs.io.volume import parse_slices
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.painting.role_fields import slices_text

_HOW = "10, 10,30 or 50:60 (60 excluded), counted from 0"


class StudySlices:
    """Two short texts; they follow the roles that are marked in a painting."""

    def __init__(self) -> None:
        self._painting: Painting | None = None
        self._shown: Mapping[int, Role] = {}
        self.train, self.test = QLineEdit(), QLineEdit()
        self.train.setToolTip(
            "Painted slices to learn from, at least ten adjacent ones if you can; of a "
            f"painting, those for training and validation: {_HOW}"
        )
        self.test.setPlaceholderText("such as 60")
        self.test.setToolTip(
            "Painted slice that scores all networks, none that they learn from, best "
            f"far from those: {_HOW}"
        )

    def follow(self, painting: Painting | None) -> None:
        """Show the slices of a painting by their roles, and follow changes."""
        was_typed = self._painting is None
        self.follow_no_more()
        self._painting = painting
        self.train.setPlaceholderText(
            "such as 10:20" if painting is None else "all painted slices"
        )
        if painting is not None:
            painting.changed.connect(self._refill)
            self._fill(painting.roles)
        elif not was_typed:
            self._fill({})

    def follow_no_more(self) -> None:
        """Stop listening to the painting."""
        if self._painting is not None:
            self._painting.changed.disconnect(self._refill)
            self._painting = None

    def read(self, n_slices: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Read the slices for training and those for the test.

        Raises
        ------
        ValueError
            If one is missing, a text is malformed, or a slice does not exist.
        """
        test = _read(self.test, "Test slice", n_slices)
        if not test:
            raise ValueError(
                "Test slice: none is given; name a painted slice that is not for "
                "training, such as 60, or mark one in Label phases"
            )
        train = _read(self.train, "Training slices", n_slices)
        if not train and self._painting is not None:
            train = tuple(i for i in self._painting.painted() if i not in test)
        if not train:
            raise ValueError(
                "Training slices: none is given; name painted slices, such as 10:20, "
                "or mark some in Label phases"
            )
        return train, test

    def _refill(self) -> None:
        # Strokes change a painting too: what was typed stays until a role changes.
        if self._painting is not None and dict(self._painting.roles) != self._shown:
            self._fill(self._painting.roles)

    def _fill(self, roles: Mapping[int, Role]) -> None:
        self._shown = dict(roles)
        test = sorted(i for i, role in roles.items() if role == "test")
        train = sorted(set(roles) - set(test))
        self.train.setText(slices_text(train))
        self.test.setText(slices_text(test))


def _read(field: QLineEdit, name: str, n_slices: int) -> tuple[int, ...]:
    text = field.text().strip()
    try:
        return parse_slices(text, n_slices=n_slices) if text else ()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
