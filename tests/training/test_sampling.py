from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_lrcs.annotation.annotation import AnnotatedSlice
from napari_lrcs.config import TrainConfig
from napari_lrcs.preprocessing.normalisation import Normalisation
from napari_lrcs.training.sampling import Patches, PatchSampler
from napari_lrcs.training.schedule import generator_of

CPU = torch.device("cpu")
SIZE = 16
AS_IT_IS = Normalisation(low=-1e6, high=1e6, mean=0.0, sd=1.0)
STRONG: dict[str, Any] = {
    "rotation": 180.0,
    "scaling": 0.5,
    "elastic": 3.0,
    "warp_share": 1.0,
}


def numbered_slice(
    shape: tuple[int, int], *, first: int = 0, labels: NDArray[np.uint8] | None = None
) -> AnnotatedSlice:
    """Make a slice whose grey levels number its pixels."""
    image = np.arange(first, first + shape[0] * shape[1], dtype=np.float32)
    return slice_of(image.reshape(1, *shape), labels)


def slice_of(
    image: NDArray[np.float32], labels: NDArray[np.uint8] | None = None
) -> AnnotatedSlice:
    if labels is None:
        labels = np.ones(image.shape[1:], np.uint8)
    return AnnotatedSlice(read=image.copy, labels=labels, role="train", index=0)


def sampler(slices: Sequence[AnnotatedSlice], config: TrainConfig) -> PatchSampler:
    return PatchSampler(
        slices,
        normalisation=AS_IT_IS,
        config=config.augmentation,
        patch_size=SIZE,
        balance=config.optimisation.balance,
        device=CPU,
    )


def sample(
    slices: Sequence[AnnotatedSlice], config: TrainConfig, n: int, *, step: int = 0
) -> Patches:
    generator = generator_of(0, step, device=CPU)
    return sampler(slices, config).sample(n, generator=generator)


def test_segmentpy_fault_1_patches_cover_the_whole_slice_uniformly(
    tiny_config: TrainConfig,
) -> None:
    shape = (40, 24)
    config = tiny_config.with_changes(flip=True)
    source = sampler([numbered_slice(shape)], config)
    coverage = np.zeros(shape[0] * shape[1], np.int64)

    for step in range(10):
        patches = source.sample(2000, generator=generator_of(0, step, device=CPU))
        seen = patches.images.long().flatten().numpy()
        coverage += np.bincount(seen, minlength=coverage.size)

    # Some 5,000 each; a pixel in a corner comes up to four times in a patch.
    relative = coverage / coverage.mean()
    assert relative.min() > 0.85
    assert relative.max() < 1.15


def test_centres_lie_on_painted_pixels_all_alike(tiny_config: TrainConfig) -> None:
    labels = np.zeros((30, 30), np.uint8)
    labels[0, :10] = labels[29, 5:] = labels[12, 13] = 2
    source = numbered_slice((30, 30), labels=labels)

    patches = sample([source], tiny_config.with_changes(flip=True), 20_000)

    centres = patches.images[:, 0, SIZE // 2, SIZE // 2].long().numpy()
    counts = np.bincount(centres, minlength=900)
    painted = counts[labels.ravel() > 0]
    assert painted.sum() == 20_000
    expected = 20_000 / painted.size
    chi_square = ((painted - expected) ** 2 / expected).sum()
    assert chi_square < painted.size + 5 * np.sqrt(2 * painted.size)


def test_patches_that_are_not_warped_are_pixels_as_they_are(
    tiny_config: TrainConfig,
) -> None:
    shape = (21, 30)
    source = numbered_slice(shape)
    padded = np.pad(source.image[0], SIZE, mode="symmetric")

    patches = sample([source], tiny_config, 50)

    for patch in patches.images[:, 0].numpy():
        row, column = divmod(int(patch[SIZE // 2, SIZE // 2]), shape[1])
        top, left = row + SIZE // 2, column + SIZE // 2
        np.testing.assert_array_equal(
            patch, padded[top : top + SIZE, left : left + SIZE]
        )


def test_flips_show_all_eight_symmetries(tiny_config: TrainConfig) -> None:
    shape = (60, 60)

    patches = sample(
        [numbered_slice(shape)], tiny_config.with_changes(flip=True), 200
    ).images[:, 0]

    middle = SIZE // 2
    steps = {
        (
            int(p[middle + 1, middle] - p[middle, middle]),
            int(p[middle, middle + 1] - p[middle, middle]),
        )
        for p in patches
        if 600 < p[middle, middle] < 3000 and 2 < p[middle, middle] % 60 < 57
    }
    assert steps == {
        (a * s, b * t) for a, b in ((60, 1), (1, 60)) for s in (1, -1) for t in (1, -1)
    }


@pytest.mark.parametrize("name", ["rotation", "scaling", "elastic"])
def test_no_share_to_warp_leaves_pixels_as_they_are(
    name: str, tiny_config: TrainConfig
) -> None:
    slices = [numbered_slice((40, 40))]
    config = tiny_config.with_changes(**{name: STRONG[name]}, warp_share=0.0)

    patches = sample(slices, config, 20)

    assert torch.equal(patches.images, patches.images.round())


def test_share_of_the_patches_is_warped(tiny_config: TrainConfig) -> None:
    config = tiny_config.with_changes(**STRONG | {"warp_share": 0.25}, flip=True)

    images = sample([numbered_slice((40, 40))], config, 1000).images

    is_exact = (images == images.round()).all(dim=(1, 2, 3))
    assert is_exact.double().mean().item() == pytest.approx(0.75, abs=0.05)


def test_scaling_and_rotation_keep_to_their_ranges(tiny_config: TrainConfig) -> None:
    rows, columns = np.mgrid[:400, :400].astype(np.float32)
    labels = np.zeros((400, 400), np.uint8)
    labels[180:220, 180:220] = 1
    source = slice_of(np.stack([rows, columns, rows]), labels)
    config = tiny_config.with_changes(rotation=30.0, scaling=0.2, warp_share=1.0)

    images = sample([source], config, 2000).images

    along = images[:, :2, 8, 9] - images[:, :2, 8, 8]
    length = along.norm(dim=1)
    angle = torch.rad2deg(torch.atan2(along[:, 0], along[:, 1])).abs()
    assert 1 / 1.2 - 1e-3 < length.min() < 0.85
    assert 1.18 < length.max() < 1.2 + 1e-3
    assert 29 < angle.max() < 30.01


def test_elastic_displacement_has_its_standard_deviation(
    tiny_config: TrainConfig,
) -> None:
    rows, columns = np.mgrid[:400, :400].astype(np.float32)
    labels = np.zeros((400, 400), np.uint8)
    labels[200, 200] = 1
    source = slice_of(np.stack([rows, columns, rows]), labels)
    config = tiny_config.with_changes(elastic=2.0, warp_share=1.0)

    images = sample([source], config, 4000).images

    # In the patch's corner an independent displacement counts undiluted.
    corner = images[:, :2, 0, 0] - (200 - SIZE // 2)
    assert corner.mean().item() == pytest.approx(0, abs=0.15)
    assert corner.std().item() == pytest.approx(2, rel=0.05)


def test_image_and_labels_move_together(tiny_config: TrainConfig) -> None:
    rows, columns = np.mgrid[:50, :70].astype(np.float32)
    labels = (1 + (rows >= 20) + 2 * (columns >= 31)).astype(np.uint8)
    source = slice_of(np.stack([rows, columns, rows]), labels)
    config = tiny_config.with_changes(**STRONG, flip=True)

    patches = sample([source], config, 300)

    row, column = patches.images[:, 0], patches.images[:, 1]
    expected = 1 + (row > 19.5).byte() + 2 * (column > 30.5).byte()
    is_clear = ((row - 19.5).abs() > 1e-3) & ((column - 30.5).abs() > 1e-3)
    # Folding takes the middle of a pixel's edge to either side of it.
    inside = (row > 0.6) & (row < 48.4) & (column > 0.6) & (column < 68.4)
    agrees = patches.labels == expected
    assert agrees[is_clear & inside].all()
    assert set(patches.labels.flatten().tolist()) == {1, 2, 3, 4}


def test_segmentpy_fault_4_labels_are_never_interpolated(
    tiny_config: TrainConfig,
) -> None:
    checkered = np.where(np.indices((40, 40)).sum(0) // 3 % 2, 5, 1).astype(np.uint8)
    checkered[:5] = 0
    config = tiny_config.with_changes(**STRONG)

    patches = sample([numbered_slice((40, 40), labels=checkered)], config, 100)

    assert patches.labels.dtype == torch.uint8
    assert set(patches.labels.flatten().tolist()) == {0, 1, 5}


def test_slices_of_different_sizes_never_mix(tiny_config: TrainConfig) -> None:
    shapes = [(9, 50), (33, 7), (6, 6)]
    slices = [
        numbered_slice(
            shape,
            first=10_000 * i,
            labels=np.full(shape, i + 1, np.uint8),
        )
        for i, shape in enumerate(shapes)
    ]

    patches = sample(slices, tiny_config.with_changes(**STRONG, flip=True), 500)

    origin = patches.images[:, 0].div(10_000).round() + 1
    assert torch.equal(origin, patches.labels.float())
    assert (
        patches.labels.flatten(1).amin(1) == patches.labels.flatten(1).amax(1)
    ).all()
    assert set(patches.labels.flatten().tolist()) == {1, 2, 3}


def test_same_generator_gives_the_same_patches(tiny_config: TrainConfig) -> None:
    slices = [numbered_slice((40, 40))]
    config = tiny_config.with_changes(**STRONG, flip=True)

    first, again = (sample(slices, config, 8, step=3) for _ in range(2))
    other = sample(slices, config, 8, step=4)

    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images)


def test_grey_levels_are_normalised(tiny_config: TrainConfig) -> None:
    source = slice_of(np.full((1, 20, 20), 7, np.float32))
    normalisation = Normalisation(low=0.0, high=10.0, mean=5.0, sd=4.0)

    patches = PatchSampler(
        [source],
        normalisation=normalisation,
        config=tiny_config.augmentation,
        patch_size=SIZE,
        device=CPU,
    ).sample(2, generator=generator_of(0, 0, device=CPU))

    assert patches.images.shape == (2, 1, SIZE, SIZE)
    assert (patches.images == 0.5).all()


# ---- balance ----


def rare_crack() -> list[AnnotatedSlice]:
    """Make two slices: 890 pixels of phase 1, 10 of phase 3 at borders, no phase 2."""
    labels = np.ones((2, 30, 15), np.uint8)
    labels[0, 0, :5] = labels[1, 29, 10:] = 3
    return [
        numbered_slice((30, 15), first=450 * i, labels=part)
        for i, part in enumerate(labels)
    ]


def centres_of(patches: Patches) -> NDArray[np.int64]:
    """Count how often each pixel of `rare_crack` is the centre of a patch."""
    centres = patches.images[:, 0, SIZE // 2, SIZE // 2].long().numpy()
    return np.bincount(centres, minlength=900)


@pytest.mark.parametrize(
    ("balance", "share"), [(0.0, 10 / 900), (0.5, 0.25 + 5 / 900), (1.0, 0.5)]
)
def test_a_rare_phase_is_as_often_in_the_centre_as_balance_says(
    balance: float, share: float, tiny_config: TrainConfig
) -> None:
    config = tiny_config.with_changes(flip=True, balance=balance)

    counts = centres_of(sample(rare_crack(), config, 20_000))

    labels = np.concatenate([s.labels.ravel() for s in rare_crack()])
    found = counts[labels == 3].sum() / 20_000
    assert found == pytest.approx(share, abs=0.015)


def test_all_pixels_of_a_balanced_phase_are_alike(tiny_config: TrainConfig) -> None:
    config = tiny_config.with_changes(balance=1.0)

    counts = centres_of(sample(rare_crack(), config, 20_000))

    labels = np.concatenate([s.labels.ravel() for s in rare_crack()])
    for label, n_pixels in ((1, 890), (3, 10)):
        own = counts[labels == label]
        expected = own.sum() / n_pixels
        chi_square = ((own - expected) ** 2 / expected).sum()
        assert chi_square < n_pixels + 5 * np.sqrt(2 * n_pixels)


def test_a_balanced_patch_at_the_border_is_reflected_as_any_other(
    tiny_config: TrainConfig,
) -> None:
    source = rare_crack()[0]
    padded = np.pad(source.image[0], SIZE, mode="symmetric")

    patches = sample([source], tiny_config.with_changes(balance=1.0), 50)

    for patch in patches.images[:, 0].numpy():
        row, column = divmod(int(patch[SIZE // 2, SIZE // 2]), 15)
        top, left = row + SIZE // 2, column + SIZE // 2
        np.testing.assert_array_equal(
            patch, padded[top : top + SIZE, left : left + SIZE]
        )


def test_without_balance_patches_are_those_of_the_first_version(
    tiny_config: TrainConfig,
) -> None:
    patches = sample(rare_crack(), tiny_config, 6, step=3)

    centres = patches.images[:, 0, SIZE // 2, SIZE // 2].tolist()
    assert centres == [178, 893, 197, 738, 787, 89]  # as f39a554 draws them


def test_balanced_patches_depend_on_the_seed_alone(tiny_config: TrainConfig) -> None:
    config = tiny_config.with_changes(flip=True, balance=0.5)

    first, again = (sample(rare_crack(), config, 8, step=3) for _ in range(2))
    other = sample(rare_crack(), config, 8, step=4)

    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
