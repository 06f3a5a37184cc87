import pytest
import torch
from torch import nn

from napari_lrcs.models import device as device_module
from napari_lrcs.models.device import (
    arithmetic,
    is_out_of_memory,
    on_device,
    resolve_device,
    resolve_precision,
    why_cuda_or_not,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "meta", "Auto", "cpu 0"])
def test_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_absent_device_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    with pytest.raises(ValueError, match=rf"device {name} is not there \(.*\); use"):
        resolve_device(name)


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=is_there: there)

        assert resolve_device("auto") == torch.device(expected)


def test_reason_is_one_line() -> None:
    assert len(why_cuda_or_not().splitlines()) == 1


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "avx2": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_takes_bf16_where_the_processor_multiplies_it(
    capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: capabilities, raising=False
    )

    assert resolve_precision("auto", CPU) == expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), "float32"), ((8, 0), "bf16")]
)
def test_auto_takes_bf16_on_ampere(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    assert resolve_precision("auto", torch.device("cuda")) == expected


def test_chosen_precision_is_kept() -> None:
    assert resolve_precision("tf32", CPU) == "tf32"


def test_convolutions_run_in_the_precision() -> None:
    conv, x = nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 4, 4)

    with arithmetic("bf16", CPU):
        short = conv(x)
    with arithmetic("float32", CPU):
        long = conv(x)

    assert (short.dtype, long.dtype) == (torch.bfloat16, torch.float32)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("Given groups=1, weight of size"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(
    error: RuntimeError, expected: bool
) -> None:
    assert is_out_of_memory(error) is expected


def test_lack_of_memory_on_the_cpu_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)

    assert is_out_of_memory(caught.value)


def test_moved_network_keeps_its_values() -> None:
    model = nn.Conv2d(3, 4, 3)
    before = model.weight.detach().clone()

    on_device(model, CPU)

    assert model.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(model.weight, before)


def test_capabilities_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

    assert not device_module._multiplies_bf16(CPU)
