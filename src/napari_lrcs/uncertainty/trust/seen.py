"""Which check patches a network has learnt from: it is not judged by them."""

from collections.abc import Sequence

from napari_lrcs.annotation.check_patches import Check, Region
from napari_lrcs.io.provenance import LearntSlice, Provenance
from napari_lrcs.io.volume import Volume
from napari_lrcs.preprocessing.slices import AXES


def check_unseen(segmentation: Volume, check: Check) -> str:
    """Refuse to judge a segmentation by patches that its network has learnt from.

    Patches that are drawn after a training may lie in its slices: these are part of the
    volume. A training that begins later must have left them out.

    Parameters
    ----------
    segmentation : Volume of uint8
        As `open_labels` returns it: its `provenance` tells what was learnt from.
    check : Check

    Returns
    -------
    str
        A warning if it is not known what the network has learnt from; else empty.

    Raises
    ------
    ValueError
        If it has learnt from patches.
    """
    provenance = segmentation.provenance
    learnt = seen_slices(provenance, check)
    if learnt:
        numbers = [str(n) for n in seen(provenance, check)]
        patches = "patches" if len(numbers) > 1 else "patch"
        raise ValueError(
            f"{segmentation.name} was made by a network that has learnt from check "
            f"{patches} {_listed(numbers)} ({_described(learnt)}); it cannot be judged "
            "by them: draw new patches, or train again, which leaves them out"
        )
    if provenance is None or not provenance.learnt.is_complete:
        return (
            f"it is not known what {segmentation.name} was trained on: if that was on "
            "the voxels of check patches, after they were drawn, the result looks too "
            "good"
        )
    return ""


def seen(provenance: Provenance | None, check: Check) -> tuple[int, ...]:
    """Return the numbers of the patches that were learnt from, counted from 1."""
    learnt = seen_slices(provenance, check)
    return tuple(
        number
        for number, patch in enumerate(check.patches, 1)
        if any(_meets(entry, check.design.region(patch)) for entry in learnt)
    )


def seen_slices(provenance: Provenance | None, check: Check) -> list[LearntSlice]:
    """Return the slices with voxels of patches that were learnt from.

    A patch counts with its margin and thickness, and a slice with all rows and columns
    between its painted ones.
    """
    if provenance is None:
        return []
    regions = [check.design.region(patch) for patch in check.patches]
    return [
        entry
        for entry in provenance.learnt.slices
        if entry.fingerprint == provenance.fingerprint
        and entry.begun_at >= check.drawn_at
        and check.id not in entry.left_out
        and any(_meets(entry, region) for region in regions)
    ]


def _meets(entry: LearntSlice, region: Region) -> bool:
    box = [entry.rows, entry.columns]
    box.insert(AXES[entry.axis], (entry.index, entry.index + 1))
    return all(
        max(first, part.start) < min(stop, part.stop)
        for (first, stop), part in zip(box, region, strict=True)
    )


def _described(learnt: Sequence[LearntSlice]) -> str:
    first = min(learnt, key=lambda entry: (entry.begun_at, entry.index))
    when = first.begun_at.astimezone().strftime("%Y-%m-%d %H:%M")
    slices = sorted({e.index for e in learnt if e.begun_at == first.begun_at})
    some = f"slice{'s' * (len(slices) > 1)} {_listed([str(i) for i in slices])}"
    return f"training of {when}, {some}"


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
