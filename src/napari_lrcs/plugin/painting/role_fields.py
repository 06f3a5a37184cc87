"""Which slices are for training, validation and test: short texts."""

from collections.abc import Iterable, Mapping

from qtpy.QtWidgets import QLineEdit

from napari_lrcs.annotation.annotation import ROLES, Role
from napari_lrcs.io.volume import SLICE_EXAMPLES, format_slices, parse_slices
from napari_lrcs.plugin.painting.painting import Painting

HOW = f"{SLICE_EXAMPLES}, counted from 0"
"""How slices are written."""

_EMPTY: Mapping[Role, str] = {
    "train": "all painted slices",
    "validation": "a part of the training slices",
    "test": "none",
}

_USE: Mapping[Role, str] = {
    "train": "Slices to learn from",
    "validation": "Slices used to choose the best epoch; far from the training slices",
    "test": "Slices that are scored once, at the end",
}


class SliceFields:
    """Texts that name slices; they follow the roles that are marked in a painting.

    Parameters
    ----------
    *roles : str
        Those that have a text each.
    """

    def __init__(self, *roles: Role) -> None:
        self._painting: Painting | None = None
        self._shown: Mapping[int, Role] = {}
        self.fields: dict[Role, QLineEdit] = {role: QLineEdit() for role in roles}

    def follow(self, painting: Painting | None) -> None:
        """Show the slices of a painting by their roles, or none, and follow changes."""
        had_one = self._painting is not None
        self.disconnect_events()
        self._painting = painting
        if painting is not None:
            painting.changed.connect(self._refill)
            self._fill(painting.roles)
        elif had_one:  # what was typed without one stays
            self._fill({})

    def disconnect_events(self) -> None:
        """Stop listening to the painting."""
        if self._painting is not None:
            self._painting.changed.disconnect(self._refill)
            self._painting = None

    def _read(self, role: Role, title: str, n_slices: int) -> tuple[int, ...]:
        text = self.fields[role].text().strip()
        try:
            return parse_slices(text, n_slices=n_slices) if text else ()
        except ValueError as error:
            raise ValueError(f"{title}: {error}") from error

    def _refill(self) -> None:
        # Strokes change a painting too: what was typed stays until a role changes.
        if self._painting is not None and dict(self._painting.roles) != self._shown:
            self._fill(self._painting.roles)

    def _fill(self, roles: Mapping[int, Role]) -> None:
        self._shown = dict(roles)
        for role, field in self.fields.items():
            field.setText(format_slices(sorted(self._slices_of(role, roles))))

    def _slices_of(self, role: Role, roles: Mapping[int, Role]) -> Iterable[int]:
        """Return the slices that a field shows; by default those of the role."""
        return (index for index, other in roles.items() if other == role)


class RoleFields(SliceFields):
    """Slices by role."""

    def __init__(self) -> None:
        super().__init__(*ROLES)
        for role, field in self.fields.items():
            field.setPlaceholderText(_EMPTY[role])
            field.setToolTip(f"{_USE[role]}: {HOW}")

    def save(self, n_slices: int) -> None:
        """Mark in the painting what was typed, so that it is there the next day.

        Raises
        ------
        ValueError, OSError, VolumeError
            As `read` does, or if the painting cannot be saved.
        """
        slices = self._typed(n_slices)  # `read` would mark all that is painted
        roles = {index: role for role in slices for index in slices[role]}
        are_distinct = len(roles) == sum(map(len, slices.values()))
        if self._painting is not None and are_distinct and roles != self._shown:
            self._painting.set_roles(roles)

    def read(self, n_slices: int) -> dict[Role, tuple[int, ...]]:
        """Read the slices of each role.

        Where none is named for training, it is all slices of the painting that are
        left; there are none without a painting.

        Raises
        ------
        ValueError
            If a text is malformed, or a slice does not exist.
        """
        roles = self._typed(n_slices)
        if self._painting is not None and not roles["train"]:
            taken = {*roles["validation"], *roles["test"]}
            painted = self._painting.painted()
            roles["train"] = tuple(z for z in painted if z not in taken)
        return roles

    def _typed(self, n_slices: int) -> dict[Role, tuple[int, ...]]:
        return {
            role: self._read(role, f"{role.capitalize()} slices", n_slices)
            for role in self.fields
        }
