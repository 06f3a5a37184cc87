from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from check_places import AFTER, BEFORE, DRAWN_AT, check_at
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.io.provenance import Learnt, LearntSlice, Provenance
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.uncertainty.trust.seen import check_unseen, seen

SHAPE = (20, 64, 64)
CHECK = check_at((3, 0, 0), (12, 8, 16), (15, 40, 40), shape=SHAPE)
"""With their margins, in rows 0 to 8, 7 to 16 and 39 to 48."""


def learnt(
    index: int,
    rows: tuple[int, int] = (0, 64),
    columns: tuple[int, int] = (0, 64),
    *,
    begun_at: datetime = AFTER,
    **changes: Any,
) -> LearntSlice:
    entry = LearntSlice(
        volume="image.tif",
        fingerprint="this",
        axis="z",
        index=index,
        rows=rows,
        columns=columns,
        begun_at=begun_at,
    )
    return replace(entry, **changes)


def of_image(*slices: LearntSlice, is_complete: bool = True) -> Provenance:
    known = Learnt(slices=slices, is_complete=is_complete)
    return Provenance(image="renamed.tif", fingerprint="this", learnt=known)


def segmentation(provenance: Provenance | None) -> Volume:
    labels = as_labels(as_volume(np.zeros(SHAPE, np.uint8), name="seg.tif"))
    return replace(labels, provenance=provenance)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([learnt(3)], (1,)),
        ([learnt(12), learnt(15)], (2, 3)),
        ([learnt(11)], ()),
        # The last row of the margin, and the one after it.
        ([learnt(12, rows=(16, 20))], (2,)),
        ([learnt(12, rows=(17, 20))], ()),
        ([learnt(12, columns=(0, 15))], ()),
        ([learnt(12, columns=(0, 16))], (2,)),
        # Across y, the rows are along z.
        ([learnt(7, rows=(12, 13), axis="y")], (2,)),
        ([learnt(7, rows=(13, 14), axis="y")], ()),
        ([learnt(6, rows=(12, 13), axis="y")], ()),
        # Before the drawing, at that moment, of another image, or left out.
        ([learnt(3, begun_at=BEFORE)], ()),
        ([learnt(3, begun_at=DRAWN_AT)], (1,)),
        ([learnt(3, fingerprint="other")], ()),
        ([learnt(3, left_out=("other",))], (1,)),
        ([learnt(3, left_out=("other", CHECK.id))], ()),
        # A network that another training was continued from.
        ([learnt(3, begun_at=BEFORE), learnt(12, left_out=(CHECK.id,))], ()),
    ],
)
def test_patches_are_seen_where_a_later_training_meets_them(
    slices: Sequence[LearntSlice], expected: tuple[int, ...]
) -> None:
    assert seen(of_image(*slices), CHECK) == expected


def test_the_outer_slices_of_a_thick_patch_are_seen() -> None:
    check = check_at((3, 0, 0), shape=SHAPE, thickness=3)

    seen_in = [i for i in range(7) if seen(of_image(learnt(i)), check)]
    assert seen_in == [2, 3, 4]


def test_a_network_that_has_seen_patches_is_not_judged_by_them() -> None:
    labels = segmentation(of_image(learnt(12), learnt(15)))
    when = AFTER.astimezone().strftime("%Y-%m-%d %H:%M")

    with pytest.raises(ValueError, match="was made by") as refused:
        check_unseen(labels, CHECK)

    assert str(refused.value) == (
        "seg.tif was made by a network that has learnt from check patches 2 and 3 "
        f"(training of {when}, slices 12 and 15); it cannot be judged by them: draw "
        "new patches, or train again, which leaves them out"
    )


@pytest.mark.parametrize(
    ("provenance", "is_warned"),
    [
        (None, True),
        (of_image(is_complete=False), True),
        (of_image(learnt(11), is_complete=False), True),
        (of_image(learnt(11)), False),
        (of_image(), False),
    ],
)
def test_what_is_not_known_is_warned_of(
    provenance: Provenance | None, *, is_warned: bool
) -> None:
    warning = check_unseen(segmentation(provenance), CHECK)

    assert ("it is not known what seg.tif was trained on" in warning) == is_warned
    assert bool(warning) == is_warned


def test_what_is_known_of_a_network_counts_even_if_the_rest_is_not() -> None:
    labels = segmentation(of_image(learnt(12), is_complete=False))

    with pytest.raises(ValueError, match="check patch 2 "):
        check_unseen(labels, CHECK)


def test_patches_of_another_check_do_not_help() -> None:
    other: Check = check_at((12, 8, 16), shape=SHAPE, drawn_at=BEFORE)

    assert seen(of_image(learnt(12, left_out=(other.id,))), CHECK) == (2,)
