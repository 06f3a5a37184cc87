import pytest
import torch
from torch import Tensor

from napari_lrcs.config import TrainConfig
from napari_lrcs.training.augment import augment
from napari_lrcs.training.schedule import generator_of

CPU = torch.device("cpu")

STRENGTHS = ("gamma", "gain", "offset", "blur", "noise", "coloured_noise", "rings")


def noisy_images(n: int = 64, n_channels: int = 3, side: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, n_channels, side, side, generator=generator)


def change(images: Tensor, config: TrainConfig, *, step: int = 0) -> Tensor:
    generator = generator_of(0, step, device=CPU)
    return augment(images, config=config.augmentation, generator=generator)


def spread(x: Tensor) -> Tensor:
    """Return what a patch's pixels and channels differ by, shape (B,)."""
    return x.flatten(1).amax(1) - x.flatten(1).amin(1)


def test_no_strength_changes_nothing(tiny_config: TrainConfig) -> None:
    images = noisy_images()

    assert torch.equal(change(images, tiny_config), images)


@pytest.mark.parametrize("name", STRENGTHS)
def test_each_strength_changes_each_patch_in_its_own_way(
    name: str, tiny_config: TrainConfig
) -> None:
    images = noisy_images(1, side=16).expand(6, 3, 16, 16)
    before = images.clone()

    # A blur by much less than a pixel leaves it as it is.
    strength = 5.0 if name == "blur" else 0.5

    changed = change(images, tiny_config.with_changes(**{name: strength}))

    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    for i in range(6):
        for other in (images[i], *changed[:i]):
            assert not torch.allclose(changed[i], other)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", STRENGTHS)
def test_same_generator_gives_the_same_change(
    name: str, tiny_config: TrainConfig
) -> None:
    images = noisy_images(4)
    config = tiny_config.with_changes(**{name: 0.5})

    assert torch.equal(change(images, config), change(images, config))
    assert not torch.equal(change(images, config), change(images, config, step=1))


def test_gain_stretches_a_patch_and_all_its_channels(tiny_config: TrainConfig) -> None:
    images = noisy_images(500) + 10

    factor = change(images, tiny_config.with_changes(gain=0.3)) / images

    assert spread(factor).max() < 1e-5
    assert 0.7 <= factor.min() < 0.75
    assert 1.25 < factor.max() <= 1.3


def test_offset_shifts_a_patch_and_all_its_channels(tiny_config: TrainConfig) -> None:
    images = noisy_images(500)

    shift = change(images, tiny_config.with_changes(offset=0.4)) - images

    assert spread(shift).max() < 1e-5
    assert -0.4 <= shift.min() < -0.35
    assert 0.35 < shift.max() <= 0.4 + 1e-5


def test_gamma_bends_monotonously_between_the_extremes(
    tiny_config: TrainConfig,
) -> None:
    images = noisy_images()

    bent = change(images, tiny_config.with_changes(gamma=1.0))

    order = images.flatten(1).argsort(dim=1)
    assert (bent.flatten(1).gather(1, order).diff(dim=1) >= 0).all()
    for extreme in (torch.amin, torch.amax):
        torch.testing.assert_close(extreme(bent, (1, 2, 3)), extreme(images, (1, 2, 3)))
    middle = bent.mean(dim=(1, 2, 3)) - images.mean(dim=(1, 2, 3))
    assert middle.min() < -0.2
    assert middle.max() > 0.2


def test_gamma_leaves_a_constant_patch(tiny_config: TrainConfig) -> None:
    images = torch.full((2, 1, 8, 8), 3.0)

    bent = change(images, tiny_config.with_changes(gamma=1.0))

    torch.testing.assert_close(bent, images)


def test_segmentpy_fault_4_noise_adds_no_offset(tiny_config: TrainConfig) -> None:
    images = torch.zeros(400, 3, 32, 32)

    for name in ("noise", "coloured_noise", "rings"):
        added = change(images, tiny_config.with_changes(**{name: 1.0}))

        patch_means = added.mean(dim=(1, 2, 3))
        standard_error = (patch_means.std() / 400**0.5).item()
        assert abs(patch_means.mean().item()) < 4 * standard_error


def test_noise_has_up_to_its_standard_deviation(tiny_config: TrainConfig) -> None:
    added = change(torch.zeros(500, 1, 64, 64), tiny_config.with_changes(noise=0.4))

    deviation = added.std(dim=(1, 2, 3))
    assert deviation.min() < 0.01
    assert 0.38 < deviation.max() < 0.415
    assert deviation.mean().item() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("name", "correlation"), [("noise", 0.0), ("coloured_noise", 0.9)]
)
def test_only_coloured_noise_is_alike_in_neighbouring_pixels(
    name: str, correlation: float, tiny_config: TrainConfig
) -> None:
    zeros = torch.zeros(200, 1, 64, 64)

    added = change(zeros, tiny_config.with_changes(**{name: 1.0}))

    left, right = added[..., :-1].flatten(), added[..., 1:].flatten()
    pair = torch.corrcoef(torch.stack([left, right]))[0, 1].item()
    assert pair == pytest.approx(correlation, abs=0.1)


def test_coloured_noise_has_up_to_its_standard_deviation(
    tiny_config: TrainConfig,
) -> None:
    zeros = torch.zeros(300, 2, 32, 32)

    added = change(zeros, tiny_config.with_changes(coloured_noise=0.5))

    deviation = added.std(dim=(1, 2, 3))
    assert 0.47 < deviation.max() <= 0.5 + 1e-5
    assert deviation.mean().item() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("name", "is_shared"),
    [("noise", False), ("coloured_noise", False), ("rings", True)],
)
def test_channels_share_rings_but_not_noise(
    name: str, is_shared: bool, tiny_config: TrainConfig
) -> None:
    added = change(torch.zeros(50, 2, 32, 32), tiny_config.with_changes(**{name: 1.0}))

    first, second = added[:, 0].flatten(), added[:, 1].flatten()
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1].item()
    assert correlation == pytest.approx(1.0 if is_shared else 0.0, abs=0.2)


def test_rings_have_up_to_their_standard_deviation_at_each_pixel(
    tiny_config: TrainConfig,
) -> None:
    zeros = torch.zeros(6000, 1, 8, 8)

    added = change(zeros, tiny_config.with_changes(rings=0.6))

    # The strength is uniform from 0 to 0.6, and so its mean square 0.6² / 3.
    deviation = added.square().mean(dim=0).sqrt()
    torch.testing.assert_close(
        deviation, torch.full((1, 8, 8), 0.6 / 3**0.5), rtol=0.08, atol=0
    )


def test_rings_are_round(tiny_config: TrainConfig) -> None:
    added = change(torch.zeros(200, 1, 32, 32), tiny_config.with_changes(rings=1.0))

    # Structure across, none along: the gradient has one direction at each place.
    rows, columns = torch.gradient(added[:, 0], dim=(1, 2))
    window = (slice(None), slice(12, 20), slice(12, 20))
    xx = (columns[window] ** 2).mean(dim=(1, 2))
    yy = (rows[window] ** 2).mean(dim=(1, 2))
    xy = (rows[window] * columns[window]).mean(dim=(1, 2))
    coherence = ((xx - yy) ** 2 + 4 * xy**2).sqrt() / (xx + yy)
    assert coherence.median() > 0.9


def test_blur_softens_and_keeps_the_mean(tiny_config: TrainConfig) -> None:
    images = noisy_images(100, side=48) + 5

    blurred = change(images, tiny_config.with_changes(blur=2.0))

    deviations = blurred.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
    assert deviations.min() < 0.2  # 1 / (2 √π 2) = 0.14 for a blur by 2 pixels
    assert deviations.max() <= 1 + 1e-5
    torch.testing.assert_close(
        blurred.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)), rtol=0.02, atol=0
    )


def test_blur_leaves_a_constant_patch_to_its_borders(tiny_config: TrainConfig) -> None:
    images = torch.full((3, 2, 8, 8), 3.0)

    blurred = change(images, tiny_config.with_changes(blur=10.0))

    torch.testing.assert_close(blurred, images)
