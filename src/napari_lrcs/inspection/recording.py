"""Record what a network computes on its way, through PyTorch's hooks.

Hooks of the modules see what modules return. A `TorchFunctionMode` sees functions, such
as the poolings and activations that most of our networks call without a module. So no
network needs to know that it is being watched.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from napari_lrcs.inspection.findings import Layer
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.responses import N_RESPONSES

Keep = Callable[[str, str, Tensor], None]
"""Takes the name of a layer, its kind, and its maps, shape (1, n_maps, rows, columns).

The maps are only valid during the call: activations may change them in place.
"""

ACTIVATIONS = ("leaky ReLU", "ReLU", "sigmoid")

NORMALISATION, POOLING, PLACES = (
    "batch normalisation",
    "max pooling",
    "places of maxima",
)

_MODULES: Mapping[type[nn.Module], str] = {
    nn.Conv2d: "convolution",
    nn.ConvTranspose2d: "transposed convolution",
    nn.BatchNorm2d: NORMALISATION,
}

_FUNCTIONS: Mapping[str, tuple[str, str]] = {
    "cat": ("cat", "concatenation"),
    "interpolate": ("interpolate", "interpolation"),
    "leaky_relu": ("leaky_relu", "leaky ReLU"),
    "leaky_relu_": ("leaky_relu", "leaky ReLU"),
    "max_pool2d": ("max_pool", POOLING),
    "max_pool2d_with_indices": ("max_pool", POOLING),
    "max_unpool2d": ("max_unpool", "max unpooling"),
    "relu": ("relu", "ReLU"),
    "relu_": ("relu", "ReLU"),
    "sigmoid": ("sigmoid", "sigmoid"),
}
"""Name and kind of the layer that a function makes, by the function's own name."""


@contextmanager
def recording(
    network: nn.Module, keep: Keep, *, only: str | None = None
) -> Iterator[None]:
    """Call a function with the maps of each layer that is computed in the block.

    Parameters
    ----------
    keep : callable
        See `Keep`; layers come in the order in which they are computed.
    only : str, optional
        Name of the one layer to record; all by default.
    """
    recorder = _Recorder(keep, only)
    with ExitStack() as stack:
        for name, module in network.named_modules():
            if name:
                before = module.register_forward_pre_hook(partial(recorder.enter, name))
                after = module.register_forward_hook(partial(recorder.leave, name))
                stack.callback(before.remove)
                stack.callback(after.remove)
        stack.enter_context(recorder)
        yield


class _Recorder(TorchFunctionMode):
    """Names what is computed by the modules that are running, or have just run."""

    def __init__(self, keep: Keep, only: str | None) -> None:
        super().__init__()
        self._keep, self._only = keep, only
        self._running: list[str] = []
        self._last = "input"
        """Outermost module that has run."""
        self._counts: dict[str, int] = {}

    def enter(self, name: str, _module: nn.Module, _inputs: object) -> None:
        self._running.append(name)

    def leave(
        self, name: str, module: nn.Module, _inputs: object, output: object
    ) -> None:
        self._running.pop()
        if not self._running:
            self._last = name
        for type_, kind in _MODULES.items():
            if isinstance(module, type_):
                self._record(name, kind, lambda: output)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch, and record what it returns."""
        del types
        output = func(*args, **(kwargs or {}))
        name, kind = _FUNCTIONS.get(getattr(func, "__name__", ""), ("", ""))
        if name:
            caller = self._running[-1] if self._running else self._last
            first = output[0] if isinstance(output, tuple) else output
            self._record(f"{caller}.{name}", kind, lambda: first)
            if kind == POOLING:
                places = partial(_places_of_maxima, args[0], first)
                self._record(f"{caller}.{name}.places", PLACES, places)
        return output

    def _record(self, name: str, kind: str, compute: Callable[[], object]) -> None:
        """Keep the maps of a layer, if they are wanted and are maps."""
        n_before = self._counts.get(name, 0)
        self._counts[name] = n_before + 1
        if n_before:  # a module that is used again
            name = f"{name} ({n_before + 1})"
        if self._only not in (None, name):
            return
        maps = compute()
        if isinstance(maps, Tensor) and maps.dim() == 4 and maps.is_floating_point():
            self._keep(name, kind, maps.detach())


def _places_of_maxima(x: Tensor, pooled: Tensor) -> Tensor:
    """Return 1 where the maximum of each window was found, 0 elsewhere."""
    side = x.shape[-1] // pooled.shape[-1]
    maxima, where = F.max_pool2d(x, side, return_indices=True)
    return F.max_unpool2d(torch.ones_like(maxima), where, [side, side])


def layers_of(network: SegmentationNetwork) -> tuple[Layer, ...]:
    """List the layers of a network, in the order in which they are computed."""
    side = network.stride
    found: list[Layer] = []

    def keep(name: str, kind: str, maps: Tensor) -> None:
        _, n_maps, rows, _ = maps.shape
        step = side // rows
        found.append(Layer(name=name, kind=kind, n_maps=n_maps, step=step))

    _, first = convolutions_of(network)[0]
    n_channels = first.in_channels - N_RESPONSES * network.n_scales
    image = torch.zeros(1, n_channels, side, side, dtype=network.dtype)
    with torch.inference_mode(), recording(network, keep):
        network.logits(image)
    return tuple(found)


def convolutions_of(
    network: SegmentationNetwork,
) -> list[tuple[str, nn.Conv2d | nn.ConvTranspose2d]]:
    """List the convolutions of a network with their names, the first one first."""
    return [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]


def layer_named(layers: tuple[Layer, ...], name: str) -> Layer:
    """Find a layer by its name.

    Raises
    ------
    ValueError
        If there is none of that name; names the most similar ones.
    """
    from difflib import get_close_matches

    by_name = {layer.name: layer for layer in layers}
    if name in by_name:
        return by_name[name]
    close = get_close_matches(name, by_name, cutoff=0.0)
    raise ValueError(
        f"the network has no layer named {name!r}; choose one of its {len(layers)} "
        f"layers, such as {', '.join(close)}"
    )
