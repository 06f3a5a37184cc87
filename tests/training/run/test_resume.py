import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.progress import StepEnded
from napari_lrcs.training import loop
from napari_lrcs.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")

Resume = Callable[[], object]
NOT_OF_THIS_RUN = r"resume\.pt in .* does not belong to this run: "


@pytest.fixture(scope="module")
def stopped_run(
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Stop a run of two epochs of two steps after its third step."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_EVENT_SECONDS", 0.0)
        events = train(striped_annotation(), config=tiny_config, run=run)
        next(e for e in events if isinstance(e, StepEnded) and e.epoch == 2)
        events.close()  # type: ignore[attr-defined] # a generator
    return run


@pytest.fixture
def run(stopped_run: Path, tmp_path: Path) -> Path:
    """Copy the run that was stopped."""
    return shutil.copytree(stopped_run, tmp_path / "run")


@pytest.fixture
def resume(
    run: Path, tiny_config: TrainConfig, striped_annotation: Callable[..., Annotation]
) -> Resume:
    annotation = striped_annotation()
    return lambda: next(train(annotation, config=tiny_config, run=run, resume=True))


@pytest.mark.parametrize("saved", [5, None, torch.zeros(2), [], {}, "text"], ids=repr)
def test_something_else_than_a_state_is_refused(
    saved: object, run: Path, resume: Resume
) -> None:
    torch.save(saved, run / "resume.pt")

    with pytest.raises(CheckpointError, match=NOT_OF_THIS_RUN):
        resume()


HARM: list[tuple[object, ...]] = [
    ("state", 5),
    ("state", "history", 5),
    ("state", "history", []),
    ("state", "history", [{"epoch": "first"}]),
    ("state", "seconds", None),
    ("state", "seconds", math.inf),
    ("state", "step", -1),
    ("state", "step", 10**9),
    ("state", "step", 1.5),
    ("state", "seed", -1),
    ("state", "n_micro_batches", 0),
    ("state", "best_score", "best"),
    ("state", "training", "many"),
    ("state", "training", []),
    ("state", "training", [[1, 2, 3]]),
    ("state", "training", [[10**30, 0], [0, 0]]),
    ("optimiser", 5),
    ("optimiser", "state", []),
    ("optimiser", "state", 99, {}),
    ("optimiser", "state", 0, {}),
    ("optimiser", "state", 0, "step", torch.tensor(-1.0)),
    ("optimiser", "state", 0, "step", torch.tensor(math.nan)),
    ("optimiser", "state", 0, "step", 1),
    ("optimiser", "state", 0, "exp_avg", torch.zeros(3)),
    ("optimiser", "param_groups", []),
    ("optimiser", "param_groups", 0, "lr", "fast"),
    ("model", 5),
    ("model", {}),
    ("model", {"weight": 5}),
    ("model", "classifier.bias", torch.zeros(7)),
    ("model", "classifier.bias", torch.zeros(2, dtype=torch.complex64)),
    ("model", "classifier.bias", torch.zeros(2).to_sparse()),
    ("precision", 5),
    ("precision", "exact"),
    ("n_threads", 1_000_000),
    ("n_threads", 0),
    ("n_threads", -1),
    ("n_threads", "all"),
    ("labels_hash", None),
]


@pytest.mark.parametrize("harm", HARM, ids=str)
def test_a_damaged_state_is_refused_and_changes_nothing(
    harm: tuple[Any, ...], run: Path, resume: Resume
) -> None:
    *way, last, value = harm
    saved = torch.load(run / "resume.pt", weights_only=True)
    holder = saved
    for key in way:
        holder = holder[key]
    holder[last] = value
    torch.save(saved, run / "resume.pt")
    before = {file.name: file.read_bytes() for file in run.iterdir()}

    with pytest.raises(CheckpointError, match=NOT_OF_THIS_RUN) as caught:
        resume()

    assert "\n" not in str(caught.value)
    assert torch.get_num_threads() == 1
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before


def test_a_run_of_a_machine_with_more_cores_is_resumed(
    run: Path,
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
) -> None:
    saved = torch.load(run / "resume.pt", weights_only=True)
    torch.save(saved | {"n_threads": 64}, run / "resume.pt")
    events = train(striped_annotation(), config=tiny_config, run=run, resume=True)

    next(events)

    assert torch.get_num_threads() == 64
    events.close()  # type: ignore[attr-defined] # a generator
