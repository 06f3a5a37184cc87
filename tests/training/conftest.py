"""Runs that are trained once and copied by the tests that change them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.training.loop import train


@pytest.fixture(scope="session")
def finished_run(
    striped_annotation: Callable[..., Annotation],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[TrainConfig], Path]:
    """Train on the stripes to the end, once for each config; only to be read."""

    @cache
    def run_of(config: TrainConfig) -> Path:
        run = tmp_path_factory.mktemp("finished") / "run"
        list(train(striped_annotation(), config=config, run=run))
        return run

    return run_of
