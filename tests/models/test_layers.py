import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn

from napari_lrcs.models import layers
from napari_lrcs.models.layers import (
    Conv,
    NormalisedConv,
    halo_of,
    leaky_relu,
    max_pool,
    max_unpool,
    pad_by_reflection,
    reflect,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["native", "on a GPU", "for ONNX"])
def pooling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take PyTorch's kernels, as on a CPU, or comparisons, as elsewhere."""
    monkeypatch.setattr(layers, "_exporting", lambda: request.param != "native")
    if request.param == "on a GPU":
        by_comparison = layers._unpool_by_comparison
        monkeypatch.setattr(layers, "_unpool_without_sizes", by_comparison)


def pool_and_unpool(x: Tensor) -> tuple[Tensor, Tensor]:
    pooled, where = max_pool(x)
    return pooled, max_unpool(weighted(pooled), where)


def pytorchs_pool_and_unpool(x: Tensor) -> tuple[Tensor, Tensor]:
    pooled, where = nn.MaxPool2d(2, return_indices=True)(x)
    return pooled, nn.MaxUnpool2d(2)(weighted(pooled), where)


def weighted(x: Tensor) -> Tensor:
    """Make every element count differently."""
    return x * torch.linspace(1, 2, x.numel(), device=x.device).view(x.shape)


def gradient_of(x: Tensor, results: tuple[Tensor, Tensor]) -> Tensor:
    pooled, unpooled = results
    return torch.autograd.grad(weighted(pooled).sum() + weighted(unpooled).sum(), x)[0]


@pytest.mark.usefixtures("pooling")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("has_ties", [True, False])
def test_pooling_equals_pytorchs(layout: torch.memory_format, has_ties: bool) -> None:
    torch.manual_seed(0)
    values = torch.randint(0, 2, (2, 5, 6, 8)).float() if has_ties else None
    x = torch.randn(2, 5, 6, 8) if values is None else values
    x = x.to(memory_format=layout).requires_grad_()

    ours, pytorchs = pool_and_unpool(x), pytorchs_pool_and_unpool(x)

    for own, reference in zip(ours, pytorchs, strict=True):
        torch.testing.assert_close(own, reference, rtol=0, atol=0)
    torch.testing.assert_close(
        gradient_of(x, ours), gradient_of(x, pytorchs), rtol=1e-6, atol=0
    )


@given(arrays(np.int8, (1, 2, 4, 6), elements=st.integers(-2, 2)))
def test_comparisons_equal_pytorchs_for_all_ties(values: np.ndarray) -> None:
    x = torch.from_numpy(values).float().requires_grad_()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "_exporting", lambda: True)
        ours = pool_and_unpool(x)
    pytorchs = pytorchs_pool_and_unpool(x)

    assert torch.equal(ours[1], pytorchs[1])
    torch.testing.assert_close(gradient_of(x, ours), gradient_of(x, pytorchs))


@pytest.mark.usefixtures("pooling")
def test_maxima_return_to_where_they_were() -> None:
    x = torch.tensor([[1.0, 2, 0, 0], [3, 4, 0, 9], [7, 7, 1, 2], [7, 7, 3, 0]])

    pooled, where = max_pool(x[None, None])
    raised = max_unpool(pooled, where)

    assert pooled[0, 0].tolist() == [[4, 9], [7, 3]]
    assert raised[0, 0].tolist() == [
        [0, 0, 0, 0],
        [0, 4, 0, 9],
        [7, 0, 0, 0],
        [0, 0, 3, 0],
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pooling_is_deterministic_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    x = torch.randn(2, 5, 64, 64)
    expected = pytorchs_pool_and_unpool(x)[1]

    torch.use_deterministic_algorithms(True)
    try:
        on_gpu = x.cuda().requires_grad_()
        raised = pool_and_unpool(on_gpu)[1]
        torch.autograd.backward(raised.sum())
    finally:
        torch.use_deterministic_algorithms(False)

    torch.testing.assert_close(raised.cpu(), expected)


def test_leaky_relu_has_slope_one_fifth() -> None:
    assert leaky_relu(torch.tensor([-1.0, 0, 2])).tolist() == pytest.approx(
        [-0.2, 0, 2]
    )


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(0, 25), st.integers(0, 25)),
)
def test_padding_equals_numpys(
    shape: tuple[int, int], padding: tuple[int, int]
) -> None:
    x = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)

    padded = pad_by_reflection(torch.from_numpy(x), padding)

    expected = np.pad(x, [(0, n) for n in padding], mode="reflect")
    np.testing.assert_array_equal(padded.numpy(), expected)


def test_places_are_reflected_without_the_edge() -> None:
    places = torch.arange(-3, 7)

    assert reflect(places, 3).tolist() == [1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    assert reflect(places, 1).tolist() == [0] * 10


def test_halo_is_walked_from_the_output_back_to_the_input() -> None:
    assert halo_of([1]) == 0
    assert halo_of([3, 5]) == 1 + 2
    # 1, un-pooled ⌈½⌉, 1 + 1 = 2, pooled 4, 4 + 1 = 5, to the stride 6.
    assert halo_of([3, "down", 3, "up", 3]) == 6
    # 2, 1, 2; 1, 3; 6, 7; 14, 15; to the stride of 4: 16.
    assert halo_of([3, "down", 3, "down", 5, "up", 3, "up", 5]) == 16


def test_folding_changes_no_output() -> None:
    torch.manual_seed(0)
    conv = NormalisedConv(3, 4, kernel_size=3)
    for _ in range(5):
        conv(3 * torch.randn(4, 3, 9, 9) + 1)
    conv.eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        before = conv(x)

        conv.fold()

        torch.testing.assert_close(conv(x), before, rtol=1e-5, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in conv.modules())


def test_maps_in_parts_are_convolved_as_if_they_were_joined() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(2, n, 6, 8, requires_grad=True) for n in (3, 1, 2)]
    conv = Conv(6, 4, kernel_size=3)
    assert conv.bias is not None
    joined = nn.functional.conv2d(
        torch.cat(parts, dim=1), conv.weight, conv.bias, padding="same"
    )

    convolved = conv(*parts)

    torch.testing.assert_close(convolved, joined)
    inputs = [*parts, conv.weight, conv.bias]
    torch.testing.assert_close(
        torch.autograd.grad(weighted(convolved).sum(), inputs),
        torch.autograd.grad(weighted(joined).sum(), inputs),
    )
