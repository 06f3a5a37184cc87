"""Suggest which slices to paint next."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise


def suggest_slices(
    n_slices: int, *, n: int, taken: Collection[int] = ()
) -> tuple[int, ...]:
    """Choose slices as far as possible from each other and from those taken.

    The volume's ends are kept off by half as much.

    Parameters
    ----------
    n_slices : int
        Slices that there are.
    n : int
        Slices to choose.
    taken : collection of int
        Slices that are painted already.

    Returns
    -------
    tuple of int
        Ascending; fewer than `n` where no more are left.

    Examples
    --------
    >>> suggest_slices(100, n=3)
    (16, 50, 83)
    >>> suggest_slices(100, n=2, taken=(50,))
    (16, 83)
    """
    middles = [index + 0.5 for index in sorted(set(taken))]
    gaps = [_Gap(*ends) for ends in pairwise([0.0, *middles, float(n_slices)])]
    gaps[0].before = gaps[-1].after = 0.5
    for _ in range(n):
        widest = max(gaps, key=lambda gap: gap.distance(gap.n + 1))
        if widest.distance(widest.n + 1) < 1:
            break
        widest.n += 1
    return tuple(index for gap in gaps for index in gap.slices())


@dataclass(slots=True)
class _Gap:
    """Room between two taken slices, or a taken slice and an end of the volume."""

    start: float
    stop: float
    before: float = 1.0
    """Distances, in those between chosen slices, that are kept from `start`."""
    after: float = 1.0
    n: int = 0
    """Slices that are chosen in it."""

    def distance(self, n: int) -> float:
        """Distance between `n` slices that are chosen in it."""
        return (self.stop - self.start) / (self.before + n - 1 + self.after)

    def slices(self) -> list[int]:
        step = self.distance(self.n) if self.n else 0.0
        return [int(self.start + (self.before + i) * step) for i in range(self.n)]
