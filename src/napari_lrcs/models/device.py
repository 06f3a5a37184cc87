"""Where and in which arithmetic to compute."""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar

import torch
from torch import nn

from napari_lrcs.config import Precision
from napari_lrcs.errors import one_line
from napari_lrcs.heap import keep_freed_memory, return_freed_memory
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.progress import Notice

Network = TypeVar("Network", bound=nn.Module)

_BF16_COMPUTE_CAPABILITY = (8, 0)
"""NVIDIA Ampere: the first with bf16 and tf32 tensor cores."""


def resolve_device(name: str) -> torch.device:
    """Turn "auto", "cpu", "cuda", "cuda:1" or "mps" into a device that is there.

    Parameters
    ----------
    name : str
        "auto" takes a GPU of NVIDIA before one of Apple before the processor.

    Raises
    ------
    ValueError
        If the name is unknown or the device is absent.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(
            f"device must be auto, cpu, cuda or cuda:N, or mps; got {name!r}"
        )
    if device.type == "cpu":
        return device
    if (device.index or 0) >= getattr(torch, device.type).device_count():
        raise ValueError(
            f"device {name} does not exist ({describe_gpus()}); use auto or cpu"
        )
    return device


def device_notices(device: torch.device) -> list[Notice]:
    """Say what should be known before computing on a device."""
    if device.type != "mps":
        return []
    if os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK", "0") == "0":
        how = "stop with an error: set PYTORCH_ENABLE_MPS_FALLBACK=1 beforehand"
    else:
        how = "run on the processor (PYTORCH_ENABLE_MPS_FALLBACK is set)"
    text = f"on the Apple GPU, operations that PyTorch does not have there {how}"
    return [Notice(kind="advice", text=text)]


def rounds_alike(device: torch.device, *, deterministic: bool) -> bool:
    """Tell whether trainings with one seed and number of threads give equal weights."""
    return device.type == "cpu" or (device.type == "cuda" and deterministic)


def describe_gpus() -> str:
    """Say in one line which GPUs PyTorch can use, or why none."""
    if torch.backends.mps.is_available():
        return "Apple GPU (mps)"
    if torch.cuda.is_available():
        names = (
            torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())
        )
        return f"CUDA {torch.version.cuda}: {', '.join(names)}"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    try:
        torch.cuda.current_device()
    except (RuntimeError, AssertionError) as error:
        found = f"torch {torch.__version__} has CUDA {torch.version.cuda}"
        return f"{found}, but: {one_line(error)}"
    return f"torch {torch.__version__} has CUDA {torch.version.cuda} but finds no GPU"


def describe_installation() -> dict[str, str]:
    """Gather versions and devices, for a look and for bug reports."""
    packages = ("napari-lrcs", "torch", "numpy", "scikit-image", "tifffile", "zarr")
    device = resolve_device("auto")
    return {
        "Python": platform.python_version(),
        "system": platform.platform(),
        **{name: version(name) for name in packages},
        "GPU": describe_gpus(),
        "processor threads": str(torch.get_num_threads()),
        "automatic device": str(device),
        "automatic precision": resolve_precision("auto", device),
    }


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Replace "auto" by the fastest arithmetic that the device has.

    bf16 where the processor multiplies it in hardware; else float32.
    """
    if precision != "auto":
        return precision
    return "bf16" if _multiplies_bf16(device) else "float32"


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        return capability >= _BF16_COMPUTE_CAPABILITY
    if device.type == "mps":
        return False
    # Not in the oldest supported PyTorch.
    ask: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = ask()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def convolution_kernels(
    precision: Precision, *, deterministic: bool = True
) -> Iterator[None]:
    """Say which kernels cuDNN may choose, in tf32 where that is asked for.

    Parameters
    ----------
    precision : {"float32", "tf32", "bf16"}
    deterministic : bool, default True
        Only those that give the same bits each time; else cuDNN times all that it has
        on the first maps of a size, and takes the fastest. Of the way forward nearly
        all are deterministic, so that a prediction gains little by the choice.
    """
    allow_tf32 = precision in ("tf32", "bf16")
    with torch.backends.cudnn.flags(
        enabled=True,
        benchmark=not deterministic,
        deterministic=deterministic,
        allow_tf32=allow_tf32,
    ):
        yield


@contextmanager
def arithmetic(
    precision: Precision, device: torch.device, *, deterministic: bool = True
) -> Iterator[None]:
    """Run convolutions in a resolved precision, by kernels as `convolution_kernels`."""
    with (
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"),
        convolution_kernels(precision, deterministic=deterministic),
    ):
        yield


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether PyTorch ran out of memory, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in str(error)
        for sign in (
            "not enough memory",
            "can't allocate memory",
            "MPS backend out of memory",
        )
    )


@contextmanager
def memory_error_for(device: torch.device, advice: str) -> Iterator[None]:
    """Raise `MemoryError` for each of PyTorch's own errors about a lack of memory.

    Parameters
    ----------
    device : torch.device
        Where the block computes.
    advice : str
        What there is no memory for, and what to do about it.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(f"{device} has not enough memory {advice}") from error


def free_memory(device: torch.device) -> int:
    """Count the bytes that a GPU has free."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    taken = torch.mps.driver_allocated_memory()
    return max(0, torch.mps.recommended_max_memory() - taken)


def release_memory(device: torch.device) -> None:
    """Give cached memory back to the GPU, or to the system."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    else:
        return_freed_memory()


def for_prediction(
    model: SegmentationNetwork, device: torch.device, precision: Precision
) -> SegmentationNetwork:
    """Fold the normalisations and convert the weights once, not at each call."""
    model.fold()
    if precision == "bf16":
        model.to(torch.bfloat16)
    return on_device(model, device)


def on_device(model: Network, device: torch.device) -> Network:
    """Move a network, its kernels laid out as convolutions are fastest."""
    if device.type == "cpu":
        keep_freed_memory()
    for parameter in model.parameters():
        if parameter.dim() == 4:
            # A copy is marked as such even for one channel, and its maps follow it.
            like = torch.empty_like(parameter, memory_format=torch.channels_last)
            parameter.data = like.copy_(parameter.data)
    return model.to(device)
