"""Text fields for the slices of each role: training, validation and test."""

from collections.abc import Mapping, Sequence

from qtpy.QtWidgets import QLineEdit

from napari_lrcs.annotation.annotation import ROLES, Role
from napari_lrcs.io.volume import parse_slices
from napari_lrcs.plugin.painting.painting import Painting

_EMPTY: Mapping[Role, str] = {
    "train": "all painted slices",
    "validation": "a part of the training slices",
    "test": "none",
}

_USE: Mapping[Role, str] = {
    "train": "Slices to learn from",
    "validation": "Slices that choose the best epoch; best far from those for training",
    "test": "Slices that are scored once, at the end",
}


class RoleFields:
    """A text field for each role; follows the roles in a painting."""

    def __init__(self) -> None:
        self._painting: Painting | None = None
        self._shown: Mapping[int, Role] = {}
        self.fields: dict[Role, QLineEdit] = {}
        for role in ROLES:
            field = QLineEdit()
            field.setPlaceholderText(_EMPTY[role])
            field.setToolTip(
                f"{_USE[role]}: 10, 10,30 or 50:60 (60 excluded), counted from 0"
            )
            self.fields[role] = field

    def follow(self, painting: Painting | None) -> None:
        """Show the roles of a painting, or none, and follow their changes."""
        self.follow_no_more()
        self._painting = painting
        if painting is not None:
            painting.changed.connect(self._refill)
        self._fill({} if painting is None else painting.roles)

    def follow_no_more(self) -> None:
        """Stop listening to the painting."""
        if self._painting is not None:
            self._painting.changed.disconnect(self._refill)
            self._painting = None

    def read(self, n_slices: int) -> dict[Role, tuple[int, ...]]:
        """Read the slices of each role.

        Raises
        ------
        ValueError
            If a text is malformed, or a slice does not exist.
        """
        roles: dict[Role, tuple[int, ...]] = {}
        for role, field in self.fields.items():
            text = field.text().strip()
            try:
                roles[role] = parse_slices(text, n_slices=n_slices) if text else ()
            except ValueError as error:
                raise ValueError(f"{role.capitalize()} slices: {error}") from error
        return roles

    def _refill(self) -> None:
        # Strokes change a painting too: what was typed stays until a role changes.
        if self._painting is not None and dict(self._painting.roles) != self._shown:
            self._fill(self._painting.roles)

    def _fill(self, roles: Mapping[int, Role]) -> None:
        self._shown = dict(roles)
        for role, field in self.fields.items():
            places = sorted(index for index, other in roles.items() if other == role)
            field.setText(slices_text(places))


def slices_text(places: Sequence[int]) -> str:
    """Write ascending slices as `parse_slices` reads them.

    Examples
    --------
    >>> slices_text([3, 10, 11, 12])
    '3,10:13'
    """
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return ",".join(
        f"{run[0]}:{run[-1] + 1}" if len(run) > 2 else ",".join(map(str, run))
        for run in runs
    )
