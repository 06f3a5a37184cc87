"""Whether a run is resumed, or continued as a new one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.plugin.train.job import TrainingJob
from napari_lrcs.training.run.folder import RunFolder

NOTHING: Any = None


@pytest.mark.parametrize(
    ("roles", "painted", "is_new"),
    [
        ({"train": (0, 1), "validation": (2,)}, {0, 1, 2}, False),
        ({"train": (0, 1), "validation": (2,)}, {0, 1, 2, 3}, True),  # one more
        ({"train": (0, 1), "validation": (2,)}, {0, 2}, True),  # one was erased
        ({"train": (0,), "validation": (2,), "test": (1,)}, {0, 2}, True),
        ({"train": (0,), "validation": (1, 2)}, {0, 1, 2}, True),
        ({"train": (0, 1), "validation": (2,)}, set(), False),  # labels of no painting
    ],
)
def test_run_is_resumed_while_the_same_slices_are_to_be_learnt(
    roles: Any,
    painted: set[int],
    is_new: bool,
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
    tmp_path: Path,
) -> None:
    run = RunFolder(tmp_path)
    annotation = striped_annotation(("train", "train", "validation"))
    run.write_task(annotation, tiny_config)

    job = TrainingJob(
        labels=NOTHING,
        source=NOTHING,
        roles=roles,
        config=tiny_config,
        run=run.path,
        new_run=NOTHING,
        painted=frozenset(painted),
    )

    assert job.needs_new_run(run) is is_new
