"""What is recorded of each network of the registry, and where it lies on the slice."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_lrcs.config import TrainConfig
from napari_lrcs.inspection import maps as inspected
from napari_lrcs.inspection.findings import Computing, Layer, Maps
from napari_lrcs.inspection.maps import compute_maps, compute_way
from napari_lrcs.inspection.recording import PLACES, layers_of, recording
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.registry import MODELS, create_model
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.normalisation import Normalisation

pytestmark = pytest.mark.usefixtures("one_thread")

MakeCheckpoint = Callable[..., Checkpoint]

SHAPE = (3, 61, 45)
POINT = (37, 22)

every_network = pytest.mark.parametrize("name", sorted(MODELS))


def noise() -> Volume:
    return as_volume(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))


def maps_of(volume: Volume, checkpoint: Checkpoint, layer: str) -> Maps:
    *shares, maps = compute_maps(volume, checkpoint, 1, layer=layer)
    assert isinstance(maps, Maps)
    assert all(isinstance(share, Computing) for share in shares)
    return maps


def padded_image(volume: Volume, checkpoint: Checkpoint) -> Tensor:
    """Prepare the slice as `forward` of the networks does."""
    grey = checkpoint.normalisation(np.asarray(volume.array)[1])
    stride = checkpoint.build().stride
    ends = [(0, -n % stride) for n in grey.shape]
    return torch.from_numpy(np.pad(grey, ends, mode="reflect"))[None, None]


def record(checkpoint: Checkpoint, volume: Volume) -> list[tuple[str, str, Tensor]]:
    """Record all layers at once: names, kinds and maps."""
    found: list[tuple[str, str, Tensor]] = []
    network = checkpoint.build()
    with (
        torch.inference_mode(),
        recording(network, lambda name, kind, x: found.append((name, kind, x.clone()))),
    ):
        network.logits(padded_image(volume, checkpoint))
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in network.modules()]
    assert not any(before or after for before, after in hooks)
    return found


@every_network
def test_modules_are_recorded_as_by_hooks_by_hand(
    name: str, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(model=name))
    volume, network = noise(), checkpoint.build()
    by_hand: dict[str, Tensor] = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            module.register_forward_hook(
                lambda _m, _i, output, path=path: by_hand.update({path: output.clone()})
            )
    with torch.inference_mode():
        network.logits(padded_image(volume, checkpoint))

    recorded = {name: maps for name, _, maps in record(checkpoint, volume)}

    assert by_hand.keys() <= recorded.keys()
    assert by_hand.keys() == {n for n in recorded if n in dict(network.named_modules())}
    for path, output in by_hand.items():
        torch.testing.assert_close(recorded[path], output)
    chosen = list(recorded)[:: len(recorded) // 4]
    for path in chosen:
        found = maps_of(volume, checkpoint, path)
        rows, columns = found.layer.shape(SHAPE[1:])
        assert found.values.shape == (found.layer.n_maps, rows, columns)
        expected = recorded[path][0, :, :rows, :columns].numpy()
        np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-3)


@every_network
def test_functions_are_recorded_as_they_follow_the_modules(
    name: str, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(model=name))

    recorded = record(checkpoint, noise())

    places = iter(x for _, kind, x in recorded if kind == PLACES)
    maps = [found for found in recorded if found[1] != PLACES]
    for (_, _, before), (_, kind, after) in itertools.pairwise(maps):
        if kind in ("ReLU", "leaky ReLU"):
            torch.testing.assert_close(after.clamp(min=0), before.clamp(min=0))
        elif kind == "sigmoid":
            torch.testing.assert_close(after, torch.sigmoid(before))
        elif kind == "max pooling":
            torch.testing.assert_close(after, F.max_pool2d(before, 2))
            where = next(places)
            assert where.sum() == after.numel()
            torch.testing.assert_close(F.avg_pool2d(where * before, 2) * 4, after)
        elif kind == "max unpooling":
            torch.testing.assert_close(F.avg_pool2d(after, 2) * 4, before)
    assert "max pooling" in {kind for _, kind, _ in maps}
    assert len({name for name, _, _ in recorded}) == len(recorded)
    image = padded_image(noise(), checkpoint)
    torch.testing.assert_close(maps[-1][2], checkpoint.build().logits(image))


def point_source() -> Volume:
    image = np.zeros(SHAPE, np.float32)
    image[1, *POINT] = 3
    return as_volume(image)


def passing_on(config: TrainConfig) -> Checkpoint:
    """Build a network whose kernels look at their own pixel alone."""
    network = create_model(config.network, n_phases=2)
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            nn.init.constant_(module.weight, 1 / module.in_channels)
        elif isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            centre = module.kernel_size[0] // 2
            module.weight.data[:, :, centre, centre] = 1 / module.in_channels
    return Checkpoint(
        config=config,
        phases=PhaseTable.numbered(2),
        normalisation=Normalisation(low=-3.0, high=3.0, mean=0.0, sd=1.0),
        state=network.state_dict(),
    )


@every_network
def test_a_point_lands_on_its_pixel_in_every_layer(
    name: str, tiny_config: TrainConfig
) -> None:
    checkpoint = passing_on(tiny_config.with_changes(model=name))
    layers = layers_of(checkpoint.build())

    recorded = record(checkpoint, point_source())

    assert [name for name, _, _ in recorded] == [layer.name for layer in layers]
    coarsest = 1
    for layer, (_, _, (maps,)) in zip(layers, recorded, strict=True):
        row, column = (round((n - layer.offset) / layer.step) for n in POINT)
        assert (maps[:, row, column] == maps.amax(dim=(1, 2))).all()
        coarsest = max(coarsest, layer.step)
        if layer.step == coarsest and layer.kind == "convolution":  # on the way down
            (brightest,) = np.argwhere(maps[0].numpy() == maps.max().item())
            assert tuple(brightest) == (row, column)


@every_network
def test_tiles_give_the_maps_of_the_whole_slice(
    name: str,
    make_checkpoint: MakeCheckpoint,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(model=name))
    rng = np.random.default_rng(0)
    volume = as_volume(rng.normal(size=(3, 70, 333)).astype(np.float32))
    layers = [layer.name for layer in layers_of(checkpoint.build())]
    chosen = layers[1 :: len(layers) // 2]
    whole = [maps_of(volume, checkpoint, layer).values for layer in chosen]

    monkeypatch.setattr(inspected, "tile_size_for", lambda *_, **__: 32)

    for layer, expected in zip(chosen, whole, strict=True):
        shares = list(compute_maps(volume, checkpoint, 1, layer=layer))
        assert len(shares) > 3
        tiled = shares[-1]
        assert isinstance(tiled, Maps)
        np.testing.assert_allclose(tiled.values, expected, rtol=1e-3, atol=1e-3)


def test_slices_across_another_axis_with_neighbours_have_maps(
    make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    config = tiny_config.with_changes(axis="y", context_slices=1)

    maps = maps_of(noise(), make_checkpoint(config), "encoder.0")

    assert maps.axis == "y"
    assert maps.values.shape == (4, SHAPE[0], SHAPE[2])


def test_bad_requests_say_what_is_there(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, volume = make_checkpoint(), noise()

    with pytest.raises(ValueError, match=r"no layer named 'encoder\.9'; choose one"):
        maps_of(volume, checkpoint, "encoder.9")
    with pytest.raises(ValueError, match=r"slice z=3 does not exist: .* slices 0 to 2"):
        list(compute_maps(volume, checkpoint, 3, layer="encoder.0"))
    with pytest.raises(ValueError, match="complex"):
        as_volume(np.zeros(SHAPE, np.complex64))
    monkeypatch.setattr(inspected, "fits_memory", lambda _needed: False)
    with pytest.raises(MemoryError, match="choose a coarser layer"):
        maps_of(volume, checkpoint, "encoder.0")


# ---- the way of an image ----


@every_network
def test_way_goes_through_all_resolutions_and_ends_in_the_prediction(
    name: str, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(model=name))
    volume = noise()

    way = compute_way(volume, checkpoint, 1)

    steps = [stop.layer.step for stop in way.stops]
    stride = checkpoint.build().stride
    levels = [2**n for n in range(stride.bit_length())]
    assert list(dict.fromkeys(steps)) == levels
    assert list(dict.fromkeys(reversed(steps))) == levels
    assert way.stops[-1].layer.name == "classifier"
    logits = maps_of(volume, checkpoint, "classifier").values
    np.testing.assert_array_equal(way.labels, logits.argmax(axis=0) + 1)
    stop = way.stops[1]
    values = maps_of(volume, checkpoint, stop.layer.name).values
    shown = list(stop.numbers)
    np.testing.assert_allclose(stop.values, values[shown], rtol=1e-3, atol=1e-3)
    spread = values.std(axis=(1, 2))
    assert spread[shown].min() >= np.sort(spread)[-4:].min() - 1e-3


def test_way_of_a_large_slice_is_that_of_its_middle(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspected, "_WAY_SIDE", 32)

    way = compute_way(noise(), make_checkpoint(), 1)

    own = np.asarray(noise().array)[1, 14:46, 6:38]
    np.testing.assert_allclose(way.image, own, rtol=1e-6)


def test_a_pixel_of_a_map_lies_over_its_pixels_of_the_slice() -> None:
    layer = Layer(name="a", kind="convolution", n_maps=1, step=8)

    covered = [n * layer.step + layer.offset for n in range(2)]

    assert covered == [3.5, 11.5]  # the middles of 0 to 7 and of 8 to 15
    assert layer.shape((61, 8)) == (8, 1)
