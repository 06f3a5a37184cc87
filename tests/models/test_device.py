import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from napari_lrcs.models import device as device_module
from napari_lrcs.models.device import (
    arithmetic,
    describe_gpus,
    describe_installation,
    device_notices,
    free_memory,
    is_out_of_memory,
    on_device,
    release_memory,
    resolve_device,
    resolve_precision,
    rounds_alike,
)

CPU, MPS = torch.device("cpu"), torch.device("mps")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "meta", "Auto", "cpu 0"])
def test_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"device must be auto, .* cuda:N, or mps;"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7", "mps", "mps:0"])
def test_absent_device_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.mps, "device_count", lambda: 0)

    with pytest.raises(ValueError, match=rf"device {name} does not exist \(.*\); use"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "expected"),
    [
        (True, True, "cuda"),
        (True, False, "cuda"),
        (False, True, "mps"),
        (False, False, "cpu"),
    ],
)
def test_auto_takes_cuda_before_mps_before_the_processor(
    has_cuda: bool, has_mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)

    assert resolve_device("auto") == torch.device(expected)


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend to be on a Mac with an Apple GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "device_count", lambda: 1)


@pytest.mark.usefixtures("apple")
def test_apple_gpu_is_taken_by_name() -> None:
    assert resolve_device("mps") == torch.device("mps")
    with pytest.raises(ValueError, match=r"device mps:1 does not exist \(Apple GPU"):
        resolve_device("mps:1")


@pytest.mark.usefixtures("apple")
def test_apple_gpu_is_described_and_computes_in_float32() -> None:
    installation = describe_installation()

    assert installation["GPU"] == "Apple GPU (mps)"
    assert installation["automatic device"] == "mps"
    assert installation["automatic precision"] == "float32"


@pytest.mark.parametrize(
    ("value", "says"), [("1", "run on the processor"), ("0", "stop with an error: set")]
)
def test_what_an_apple_gpu_lacks_is_told_once(
    value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", value)

    (notice,) = device_notices(MPS)

    assert says in notice.text
    assert "PYTORCH_ENABLE_MPS_FALLBACK" in notice.text
    assert device_notices(CPU) == []


@pytest.mark.parametrize(
    ("system", "before", "after"),
    [("darwin", None, "1"), ("darwin", "0", "0"), ("linux", None, None)],
)
def test_the_switch_is_set_on_macs_before_torch_is_loaded(
    system: str, before: str | None, after: str | None
) -> None:
    code = (
        f"import sys; sys.platform = {system!r}; import os, napari_lrcs; "
        "assert 'torch' not in sys.modules; "
        f"assert os.environ.get('PYTORCH_ENABLE_MPS_FALLBACK') == {after!r}"
    )
    env = {k: v for k, v in os.environ.items() if "MPS_FALLBACK" not in k}
    if before is not None:
        env["PYTORCH_ENABLE_MPS_FALLBACK"] = before

    subprocess.run([sys.executable, "-c", code], env=env, check=True)


@pytest.mark.parametrize(
    ("given", "spins"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
    ids=str,
)
def test_threads_soon_sleep_unless_the_user_has_chosen(
    given: dict[str, str], spins: str | None
) -> None:
    code = (
        "import os, sys, napari_lrcs; assert 'torch' not in sys.modules; "
        f"assert os.environ.get('GOMP_SPINCOUNT') == {spins!r}"
    )
    chosen = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    env = {k: v for k, v in os.environ.items() if k not in chosen} | given

    subprocess.run([sys.executable, "-c", code], env=env, check=True)


@pytest.mark.parametrize("given", [{}, {"THP_MEM_ALLOC_ENABLE": "0"}], ids=str)
def test_large_pages_are_asked_for_unless_the_user_has_chosen(
    given: dict[str, str],
) -> None:
    expected = given.get("THP_MEM_ALLOC_ENABLE", "1")
    code = (
        "import os, napari_lrcs; "
        f"assert os.environ['THP_MEM_ALLOC_ENABLE'] == {expected!r}"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("THP_")} | given

    subprocess.run([sys.executable, "-c", code], env=env, check=True)


def test_memory_of_an_apple_gpu_is_what_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 10)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 4)
    released = []
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: released.append(True))

    assert free_memory(MPS) == 6
    release_memory(MPS)
    assert released


def test_reason_is_one_line() -> None:
    assert len(describe_gpus().splitlines()) == 1


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


@pytest.mark.parametrize("deterministic", [True, False])
def test_cudnn_takes_the_fastest_kernels_unless_they_must_be_deterministic(
    deterministic: bool,
) -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark)

    with arithmetic("float32", CPU, deterministic=deterministic):
        inside = (cudnn.deterministic, cudnn.benchmark)

    assert inside == (deterministic, not deterministic)
    assert (cudnn.deterministic, cudnn.benchmark) == before


@pytest.mark.parametrize(
    ("device", "deterministic", "alike"),
    [
        ("cpu", False, True),
        ("cuda", True, True),
        ("cuda", False, False),
        ("mps", True, False),  # cuDNN's kernels are the ones that can be chosen
    ],
)
def test_one_seed_gives_equal_weights_where_kernels_are_deterministic(
    device: str, deterministic: bool, alike: bool
) -> None:
    found = rounds_alike(torch.device(device), deterministic=deterministic)

    assert found is alike


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
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


@pytest.mark.parametrize("n_channels", [1, 3])
def test_maps_of_a_moved_network_lie_channels_last(n_channels: int) -> None:
    model = nn.Conv2d(n_channels, 4, 3)

    on_device(model, CPU)

    maps = model(torch.rand(2, n_channels, 8, 8))
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_capabilities_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

    assert not device_module._multiplies_bf16(CPU)


def test_a_processor_keeps_freed_memory_until_it_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    for name in ("keep_freed_memory", "return_freed_memory"):
        monkeypatch.setattr(device_module, name, lambda name=name: calls.append(name))

    on_device(nn.Conv2d(1, 1, 3), CPU)
    assert calls == ["keep_freed_memory"]
    release_memory(CPU)

    assert calls == ["keep_freed_memory", "return_freed_memory"]
