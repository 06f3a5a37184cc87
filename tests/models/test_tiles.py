from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from napari_lrcs.config import TrainConfig
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.lrcsnet import LRCSNet
from napari_lrcs.models.registry import MODELS
from napari_lrcs.models.tiles import (
    Tile,
    TiledNetwork,
    apply_in_tiles,
    plan_tiles,
    tile_size_for,
)
from napari_lrcs.progress import Notice

pytestmark = pytest.mark.usefixtures("one_thread")

Settle = Callable[..., SegmentationNetwork]


def textured_image(shape: tuple[int, int], *, seed: int = 0) -> Tensor:
    """Make particles with noise, mean 0 and sd 1, as a batch of one."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    image = 2 * np.sign(ndimage.gaussian_filter(noise, 6)) + 0.3 * noise
    return torch.from_numpy((image / image.std()).astype(np.float32))[None, None]


def predict(model: SegmentationNetwork, image: Tensor, tiles: list[Tile]) -> Tensor:
    labels = torch.zeros(image.shape[-2:], dtype=torch.int64)
    with torch.inference_mode():
        for tile, logits in apply_in_tiles(model, image, tiles):
            labels[tile.rows, tile.columns] = logits.argmax(dim=1)[0]
    return labels


def tiles_for(
    model: SegmentationNetwork, image: Tensor, tile_size: int, *, halo: int
) -> list[Tile]:
    height, width = image.shape[-2:]
    return plan_tiles(
        (height, width), tile_size=tile_size, halo=halo, stride=model.stride
    )


def n_differing(
    model: SegmentationNetwork, image: Tensor, tile_size: int, *, halo: int
) -> int:
    whole = predict(model, image, tiles_for(model, image, 10_000, halo=halo))
    tiled = predict(model, image, tiles_for(model, image, tile_size, halo=halo))
    assert whole.min() < whole.max()  # else any tiling would pass
    return int((whole != tiled).sum())


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.integers(1, 200),
    st.sampled_from([(0, 1), (6, 2), (56, 8), (96, 16)]),
)
def test_tiles_cover_each_pixel_once_on_the_stride(
    shape: tuple[int, int], tile_size: int, halo_and_stride: tuple[int, int]
) -> None:
    halo, stride = halo_and_stride

    tiles = plan_tiles(shape, tile_size=tile_size, halo=halo, stride=stride)

    covered = np.zeros(shape, np.int64)
    for tile in tiles:
        covered[tile.rows, tile.columns] += 1
        for inner, read, length in (
            (tile.rows, tile.read_rows, shape[0]),
            (tile.columns, tile.read_columns, shape[1]),
        ):
            padded = -(-length // stride) * stride
            assert inner.stop - inner.start <= -(-tile_size // stride) * stride
            assert read.start == max(0, inner.start - halo)
            assert read.stop >= min(inner.stop + halo, padded)
            assert (
                inner.start % stride == read.start % stride == read.stop % stride == 0
            )
            assert read.stop <= padded
    assert (covered == 1).all()


def test_image_that_fits_is_one_tile_without_halo() -> None:
    tiles = plan_tiles((30, 41), tile_size=48, halo=56, stride=8)

    everything = Tile(
        rows=slice(0, 30),
        columns=slice(0, 41),
        read_rows=slice(0, 32),
        read_columns=slice(0, 48),
    )
    assert tiles == [everything]


def test_tiles_are_of_about_the_same_size() -> None:
    tiles = plan_tiles((8, 104), tile_size=96, halo=8, stride=8)

    assert [tile.columns for tile in tiles] == [slice(0, 56), slice(56, 104)]
    assert [tile.read_columns for tile in tiles] == [slice(0, 64), slice(48, 104)]


def test_tile_size_is_what_memory_holds() -> None:
    model = LRCSNet(n_channels=1, n_phases=3, n_filters=2, kernel_size=3)
    pixels = 200 * 200  # tiles with a halo of 56 on each side: 200 - 112 = 88

    side = tile_size_for(model, (1000, 1100), memory=pixels * model.bytes_per_pixel)

    assert side == 88
    assert (
        tile_size_for(model, (200, 150), memory=pixels * model.bytes_per_pixel) == 200
    )
    assert tile_size_for(model, (1000, 1100), memory=0) == model.stride


def test_tile_size_is_rounded_up_to_the_stride() -> None:
    tiles = plan_tiles((8, 40), tile_size=9, halo=0, stride=8)

    assert [tile.columns for tile in tiles] == [
        slice(0, 16),
        slice(16, 32),
        slice(32, 40),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel_size": 5},
        {"skip_connections": True, "filter_scales": 3},
        {"model": "unet", "filter_scales": 1},
        *({"model": name} for name in sorted(MODELS)),
    ],
    ids=str,
)
def test_tiled_equals_untiled(
    changes: dict[str, object], tiny_config: TrainConfig, settled_model: Settle
) -> None:
    config = tiny_config.with_changes(**changes)
    model = settled_model(config).double()
    image = textured_image((150, 323)).double()

    assert n_differing(model, image, 48, halo=model.halo) == 0


@pytest.mark.parametrize(
    ("model_name", "kernel_size"),
    [("lrcsnet", 5), *((name, 3) for name in sorted(MODELS))],
)
def test_logits_depend_on_the_last_stride_of_the_halo_and_on_nothing_beyond(
    model_name: str, kernel_size: int, tiny_config: TrainConfig, settled_model: Settle
) -> None:
    config = tiny_config.with_changes(model=model_name, kernel_size=kernel_size)
    model = settled_model(config).double()
    # A tile between two halos, with another tile's width beyond each of them.
    side = model.stride
    middle = slice(model.halo + side, model.halo + 2 * side)
    width = 2 * model.halo + 3 * side
    column = torch.zeros(width, dtype=torch.bool)
    for seed in range(10):
        image = textured_image((side, width), seed=seed).double().requires_grad_()
        for part in model.logits(image)[..., middle].unbind(1):
            (slope,) = torch.autograd.grad(part.sum(), image, retain_graph=True)
            column |= (slope != 0).any(dim=-2)[0, 0]

    first = int(column.nonzero().min())

    assert side <= first < 2 * side


def test_too_short_a_halo_shows(
    tiny_config: TrainConfig, settled_model: Settle
) -> None:
    """Show that equality of tiled and untiled is no matter of course."""
    model = settled_model(tiny_config)
    image = textured_image((150, 323))

    assert n_differing(model, image, 48, halo=model.stride) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_name", "kernel_size"), [("lrcsnet", 3), ("lrcsnet", 5), ("unet", 3)]
)
def test_tiled_equals_untiled_on_a_large_slice(
    model_name: str, kernel_size: int, tiny_config: TrainConfig, settled_model: Settle
) -> None:
    config = tiny_config.with_changes(
        model=model_name, kernel_size=kernel_size, n_filters=4
    )
    model = settled_model(config)
    image = textured_image((700, 800))

    # Convolutions of another size round otherwise: in float32 a tie or two of a
    # million may fall to the other side, in float64 none.
    assert n_differing(model, image, 256, halo=model.halo) <= 10
    assert n_differing(model.double(), image.double(), 256, halo=model.halo) == 0


# ---- a network that takes less when memory runs out ----


def limit_pixels(monkeypatch: pytest.MonkeyPatch, largest: int) -> list[int]:
    """Let memory run out beyond some pixels; returns those of each call."""
    sizes: list[int] = []
    logits = LRCSNet.logits

    def limited(self: LRCSNet, x: Tensor) -> Tensor:
        sizes.append(x.shape[0] * x.shape[2] * x.shape[3])
        if sizes[-1] > largest:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return logits(self, x)

    monkeypatch.setattr(LRCSNet, "logits", limited)
    return sizes


def labels_of(network: TiledNetwork, images: Tensor) -> tuple[Tensor, list[object]]:
    labels = torch.zeros((len(images), *images.shape[2:]), dtype=torch.int64)
    events: list[object] = list(
        network.fill([(labels, lambda x: x.argmax(dim=1))], images)
    )
    return labels, events


def test_lack_of_memory_halves_batches_then_tiles_and_changes_no_label(
    tiny_config: TrainConfig,
    settled_model: Settle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = settled_model(tiny_config).double()
    images = torch.cat([textured_image((150, 131), seed=s) for s in range(3)]).double()
    memory = 3 * 152 * 136 * model.bytes_per_pixel

    def network() -> TiledNetwork:
        return TiledNetwork(model, (150, 131), precision="float32", memory=memory)

    whole, shares = labels_of(network(), images)
    sizes = limit_pixels(monkeypatch, 130 * 136)
    small, events = labels_of(network(), images)

    assert shares == [1.0]
    assert torch.equal(small, whole)
    notices = [event for event in events if isinstance(event, Notice)]
    assert [notice.kind for notice in notices] == ["out_of_memory"] * len(notices)
    assert sizes[:2] == [3 * 152 * 136, 152 * 136]  # fewer images, then smaller tiles
    assert "continuing with tiles of" in notices[-1].text
    assert events[-1] == 1.0
    assert sum(size > 130 * 136 for size in sizes) == len(notices)


def test_tensors_are_filled_with_what_is_made_of_the_logits(
    tiny_config: TrainConfig, settled_model: Settle
) -> None:
    model = settled_model(tiny_config)
    image = textured_image((40, 56))
    network = TiledNetwork(
        model, (40, 56), precision="float32", memory=2**29, tile_size=24
    )
    phases_first = torch.zeros((3, 1, 40, 56))
    highest = torch.zeros((1, 40, 56))

    shares = list(
        network.fill(
            [
                (phases_first, lambda logits: logits.transpose(0, 1)),
                (highest, lambda logits: logits.amax(dim=1)),
            ],
            image,
        )
    )

    with torch.no_grad():
        expected = model(image)
    torch.testing.assert_close(phases_first[:, 0], expected[0])
    torch.testing.assert_close(highest, expected.amax(dim=1))
    assert shares == [(i + 1) / len(network.tiles) for i in range(len(network.tiles))]
    assert len(network.tiles) > 1


def test_no_memory_for_the_smallest_tile_says_what_to_do(
    tiny_config: TrainConfig,
    settled_model: Settle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = TiledNetwork(
        settled_model(tiny_config), (150, 131), precision="float32", memory=2**29
    )
    limit_pixels(monkeypatch, 0)

    with pytest.raises(
        MemoryError, match=r"cpu has not enough memory .* or use another device"
    ):
        labels_of(network, textured_image((150, 131)))
