import pytest
import torch

from napari_lrcs.plugin.parts.computing.devices import find_devices

pytestmark = pytest.mark.gui


@pytest.mark.parametrize(
    ("n_nvidia", "n_apple", "names", "chosen", "summary"),
    [
        (0, 0, ("auto", "cpu"), "cpu", "CPU, "),
        (1, 0, ("auto", "cpu", "cuda"), "cuda", "CUDA "),
        (2, 0, ("auto", "cpu", "cuda", "cuda:0", "cuda:1"), "cuda", "CUDA "),
        (0, 1, ("auto", "cpu", "mps"), "mps", "Apple GPU (mps)"),
    ],
)
def test_devices_that_are_there_are_offered(
    n_nvidia: int,
    n_apple: int,
    names: tuple[str, ...],
    chosen: str,
    summary: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_nvidia > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_nvidia)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**30))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: n_apple > 0)

    (devices,) = find_devices()

    assert devices.names == names
    assert devices.summary.startswith(summary)
    assert devices.installation["automatic device"] == chosen
