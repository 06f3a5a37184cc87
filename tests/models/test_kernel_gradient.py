import copy
from threading import Thread

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_lrcs.config import NetworkConfig
from napari_lrcs.models import kernel_gradient
from napari_lrcs.models.kernel_gradient import convolve, gradient_of_kernels
from napari_lrcs.models.registry import create_model


@pytest.fixture
def _without_avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the side of the kernels each time that our gradient is computed."""
    sides: list[int] = []

    def count(gradient: Tensor, image: Tensor, *, side: int) -> Tensor:
        sides.append(side)
        return gradient_of_kernels(gradient, image, side=side)

    monkeypatch.setattr(kernel_gradient, "gradient_of_kernels", count)
    return sides


def randn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def test_gradient_of_a_kernel_by_hand() -> None:
    image = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[None, None]
    gradient = torch.zeros(1, 1, 2, 3)
    gradient[..., 0, 1] = 10.0  # of the place that sees all of the image

    found = gradient_of_kernels(gradient, image, side=3)

    expected = [[[[0.0, 0.0, 0.0], [10.0, 20.0, 30.0], [40.0, 50.0, 60.0]]]]
    assert found.tolist() == expected


@pytest.mark.parametrize("band", [1, 600, 2**22], ids=["a row", "some rows", "all"])
@pytest.mark.parametrize(
    ("shape", "n_out", "side"),
    [
        ((2, 3, 7, 9), 4, 3),
        ((1, 1, 1, 1), 2, 5),
        ((3, 2, 40, 5), 2, 5),
        ((2, 4, 6, 6), 3, 1),
    ],
    ids=str,
)
def test_gradient_is_autograds(
    shape: tuple[int, int, int, int],
    n_out: int,
    side: int,
    band: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel_gradient, "_BAND", band)
    torch.manual_seed(0)
    image = randn(*shape, dtype=torch.float64)
    kernels = randn(n_out, shape[1], side, side, dtype=torch.float64)
    result = F.conv2d(image, kernels, padding="same")
    gradient = torch.randn_like(result)
    (expected,) = torch.autograd.grad(result, kernels, gradient)

    found = gradient_of_kernels(gradient, image.detach(), side=side)

    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_threads_change_no_bit_and_no_setting() -> None:
    torch.manual_seed(0)
    image, gradient = torch.randn(2, 16, 64, 300), torch.randn(2, 24, 64, 300)
    before, found, elsewhere = torch.get_num_threads(), [], []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            found.append(gradient_of_kernels(gradient, image, side=3))
            assert torch.get_num_threads() == n
        thread = Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    own = list(kernel_gradient._threads(3).map(lambda _: torch.get_num_threads(), "ab"))

    assert torch.equal(*found)
    assert own == [1, 1]
    assert elsewhere == [3]


@pytest.mark.usefixtures("_without_avx512")
@pytest.mark.parametrize("has_bias", [True, False], ids=["bias", "no bias"])
def test_convolution_and_its_gradients_are_pytorchs(
    counted: list[int], *, has_bias: bool
) -> None:
    torch.manual_seed(0)
    image, kernels = randn(2, 16, 12, 10), randn(18, 16, 3, 3)
    bias = randn(18) if has_bias else None
    given = [x for x in (image, kernels, bias) if x is not None]
    weights = torch.randn(2, 18, 12, 10)
    expected = F.conv2d(image, kernels, bias, padding="same")

    found = convolve(image, kernels, bias)

    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), given),
        torch.autograd.grad((expected * weights).sum(), given),
        rtol=1e-4,
        atol=1e-4,
    )
    assert counted == [3]


@pytest.mark.usefixtures("_without_avx512")
def test_no_gradient_is_computed_that_is_not_needed(counted: list[int]) -> None:
    image, kernels = torch.randn(1, 16, 8, 8), randn(16, 16, 3, 3)
    torch.autograd.backward(convolve(image, kernels, None).sum())
    assert image.grad is None
    assert kernels.grad is not None

    with torch.no_grad():
        assert convolve(image, kernels, None).grad_fn is None
    image.requires_grad_()
    torch.autograd.backward(convolve(image, kernels.detach(), None).sum())

    assert counted == [3]


@pytest.mark.parametrize(
    ("capability", "n_channels", "dtype"),
    [
        ("AVX512", 16, torch.float32),
        ("AVX2", 8, torch.float32),
        ("AVX2", 16, torch.float64),
    ],
    ids=str,
)
def test_pytorchs_gradient_is_taken_where_it_is_as_fast(
    capability: str,
    n_channels: int,
    dtype: torch.dtype,
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    kernels = randn(16, n_channels, 3, 3, dtype=dtype)

    torch.autograd.backward(
        convolve(randn(1, n_channels, 8, 8, dtype=dtype), kernels, None).sum()
    )

    assert counted == []
    assert kernels.grad is not None


@pytest.mark.usefixtures("_without_avx512")
def test_autocast_keeps_its_precision(counted: list[int]) -> None:
    image, kernels = randn(1, 16, 8, 8), randn(16, 16, 3, 3)

    with torch.autocast("cpu", torch.bfloat16):
        result = convolve(image, kernels, None)

    assert result.dtype == torch.bfloat16
    torch.autograd.backward(result.float().sum())
    assert counted == []


@pytest.mark.usefixtures("_without_avx512")
def test_a_network_learns_the_same_by_both(counted: list[int]) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(n_filters=16, kernel_size=3)
    ours = create_model(config, n_phases=3)
    theirs = copy.deepcopy(ours)
    image = torch.randn(1, config.n_channels, 32, 32)

    torch.autograd.backward(ours(image).square().mean())
    n_ours = len(counted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_gradient, "_is_slow", lambda *_: False)
        torch.autograd.backward(theirs(image).square().mean())

    assert n_ours == len(counted) > 10
    for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-6)
