"""A training step must not make the host wait for a GPU, unless an event is due."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.progress import StepEnded, TrainingEnded
from napari_lrcs.training import loop
from napari_lrcs.training.counts import StepCounts
from napari_lrcs.training.loop import train
from napari_lrcs.training.session import TrainingSession

pytestmark = pytest.mark.usefixtures("one_thread")

Annotate = Callable[..., Annotation]

ALL_RANDOM: dict[str, Any] = {
    "flip": True,
    "rotation": 30.0,
    "elastic": 1.0,
    "gain": 0.2,
    "noise": 0.3,
    "scaling": 0.1,
    "gamma": 0.2,
    "offset": 0.1,
    "blur": 1.0,
    "coloured_noise": 0.2,
    "rings": 0.2,
}


class HostReads(TorchFunctionMode):
    """Collects calls that copy between the host and a device, or read a number."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.is_paused = False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        is_moved = name == "to" and any(isinstance(a, torch.device) for a in args)
        if (is_moved or name in _HOST_READS) and not self.is_paused:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


_HOST_READS = {
    *("item", "tolist", "cpu", "cuda", "numpy", "__array__"),
    *("__float__", "__int__", "__index__", "__bool__", "is_nonzero"),
    *("tensor", "as_tensor", "from_numpy", "bincount", "unique"),
}


class DynamicShapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects operations whose results, or their sizes, a GPU must tell the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []
        self.is_paused = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        has_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8)
            for index in args[1]
        )
        if (has_mask or name in _DYNAMIC) and not self.is_paused:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


_DYNAMIC = {
    *("_local_scalar_dense", "nonzero", "masked_select", "bincount", "equal"),
    *("_unique2", "unique_consecutive", "repeat_interleave"),
}


def watch_steps(monkeypatch: pytest.MonkeyPatch) -> tuple[HostReads, DynamicShapes]:
    """Watch the steps of trainings, but for Adam: it counts its steps on the host."""
    watches = HostReads(), DynamicShapes()
    step, move = loop._step, torch.optim.Adam.step

    def watched_step(session: TrainingSession) -> None:
        with watches[0], watches[1]:
            step(session)

    def unwatched_move(optimiser: torch.optim.Adam) -> None:
        for watch in watches:
            watch.is_paused = True
        move(optimiser)
        for watch in watches:
            watch.is_paused = False

    monkeypatch.setattr(loop, "_step", watched_step)
    monkeypatch.setattr(torch.optim.Adam, "step", unwatched_move)
    return watches


STEPS: list[dict[str, Any]] = [
    {},
    ALL_RANDOM,
    {"loss": "cross_entropy"},
    {"balance": 0.5},
    {"loss": "dice_cross_entropy", "phase_weights": (0.3, 0.7)},
    {"model": "unet", "precision": "bf16"},
]


@pytest.mark.parametrize("changes", STEPS, ids=str)
def test_a_step_reads_nothing_from_the_device(
    changes: dict[str, Any],
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watches = watch_steps(monkeypatch)
    config = tiny_config.with_changes(**changes)

    list(train(striped_annotation(), config=config, run=tmp_path))

    assert [watch.found for watch in watches] == [[], []]


def test_reads_in_a_step_are_found(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def count(logits: Tensor, target: Tensor) -> Tensor:
        painted = target[target > 0]
        assert float(painted.sum()) > 0
        torch.tensor([1.0], device=logits.device)
        return torch.zeros((2, 2), dtype=torch.int64)

    monkeypatch.setattr(loop, "count_confusion", count)
    reads, shapes = watch_steps(monkeypatch)

    list(train(striped_annotation(), config=tiny_config, run=tmp_path))

    assert {"tensor", "__float__"} <= set(reads.found)
    assert {"index", "_local_scalar_dense"} <= set(shapes.found)


@pytest.mark.parametrize(("seconds", "n_reads"), [(0.0, 4), (math.inf, 0)])
def test_counts_are_read_only_where_an_event_is_due(
    seconds: float,
    n_reads: int,
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "_EVENT_SECONDS", seconds)
    read = StepCounts.read
    reads: list[int] = []

    def counted(counts: StepCounts) -> Any:
        found = read(counts)
        reads.append(len(found[0]))
        return found

    monkeypatch.setattr(StepCounts, "read", counted)

    events = list(train(striped_annotation(), config=tiny_config, run=tmp_path))

    assert sum(isinstance(event, StepEnded) for event in events) == n_reads
    # Else those of an epoch are read at once, at its end.
    assert [n for n in reads if n] == ([1, 1, 1, 1] if n_reads else [2, 2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("changes", STEPS, ids=str)
def test_a_step_on_cuda_synchronises_with_nothing(
    changes: dict[str, Any],
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = loop._step

    def strict_step(session: TrainingSession) -> None:
        try:
            torch.cuda.set_sync_debug_mode("error")
            step(session)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "_step", strict_step)
    config = tiny_config.with_changes(**changes, device="cuda")

    *_, ended = train(striped_annotation(), config=config, run=tmp_path)

    assert isinstance(ended, TrainingEnded)
