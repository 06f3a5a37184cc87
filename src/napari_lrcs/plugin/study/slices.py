"""Which slices the members of a study learn from, and which one scores them all."""

from collections.abc import Iterable, Mapping

from napari_lrcs.annotation.annotation import Role
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.painting.role_fields import HOW, SliceFields


class StudySlices(SliceFields):
    """Slices for training, which validate too, and the slice for the test."""

    def __init__(self) -> None:
        super().__init__("train", "test")
        self.train, self.test = self.fields["train"], self.fields["test"]
        self.train.setToolTip(
            "Painted slices to learn from, at least ten adjacent ones if possible; by "
            f"default those marked for training and validation: {HOW}"
        )
        self.test.setPlaceholderText("a painted slice")
        self.test.setToolTip(
            "Painted slice to score all networks on: not a training slice, and "
            f"preferably far from those: {HOW}"
        )

    def follow(self, painting: Painting | None) -> None:
        """Show the slices of a painting by their roles, and follow changes."""
        super().follow(painting)
        self.train.setPlaceholderText(
            "painted slices" if painting is None else "all painted slices"
        )

    def read(self, n_slices: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Read the slices for training and those for the test.

        Raises
        ------
        ValueError
            If one is missing, a text is malformed, or a slice does not exist.
        """
        test = self._read("test", "Test slice", n_slices)
        if not test:
            raise ValueError(
                "Test slice: none is given; name a painted slice that is not for "
                "training, or mark one in Label phases"
            )
        train = self._read("train", "Training slices", n_slices)
        if not train and self._painting is not None:
            train = tuple(i for i in self._painting.painted() if i not in test)
        if not train:
            raise ValueError(
                "Training slices: none is given; name painted slices, or mark some in "
                "Label phases"
            )
        return train, test

    def _slices_of(self, role: Role, roles: Mapping[int, Role]) -> Iterable[int]:
        return (
            i for i, other in roles.items() if (other == "test") == (role == "test")
        )
