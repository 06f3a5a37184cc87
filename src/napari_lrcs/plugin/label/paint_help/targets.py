"""What a painting, and its image, give to work that fills or suggests."""

from napari.layers import Image

from napari_lrcs.inference.painting.fill import SliceToFill
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.parts.layers.layers import checks_of, labels_of, volume_of


def left_out(painting: Painting) -> frozenset[int]:
    """Return the slices that nothing is learnt from."""
    return frozenset(
        i for i, role in painting.roles.items() if role in ("validation", "test")
    )


def volume_painted(painting: Painting, image: Image) -> Volume:
    """Save the last strokes, and return the image as a volume.

    Raises
    ------
    ValueError
        If it has another shape than the painting.
    LrcsError, OSError
        If it cannot be read, or the painting cannot be saved.
    """
    painting.save()  # and count the last strokes
    volume = volume_of(image)
    if volume.shape != (expected := painting.state.image.shape):
        raise ValueError(
            f"{image.name} is {volume.shape} (z, y, x), the painting is of an "
            f"image of {expected}; choose that image"
        )
    return volume


def slice_to_fill(
    painting: Painting, image: Image, index: int, *, only_unpainted: bool
) -> SliceToFill:
    """Describe a slice that is to be filled; raises as `volume_painted`."""
    volume = volume_painted(painting, image)
    return SliceToFill(
        image=volume,
        axis=painting.axis,
        index=index,
        labels=painting.plane(index),
        phases=painting.phases,
        mask=painting.mask_volume(volume.shape),
        only_unpainted=only_unpainted,
        painting=labels_of(painting.layer),
        learnt=tuple(i for i in painting.painted() if i not in left_out(painting)),
        checks=checks_of(image),
    )
