import pytest

from napari_lrcs.config import PRESETS
from napari_lrcs.search import estimate
from napari_lrcs.search.estimate import largest_memory, memory_needed
from searches import search_task

MIB = 2**20


def test_memory_is_that_of_a_measured_step() -> None:
    # The growth of the process in a step with these settings, in PyTorch 2.13.
    wide = PRESETS["quick"].with_changes(n_filters=32, batch_size=16, kernel_size=5)
    measured = {PRESETS["quick"].with_changes(batch_size=16): 384, wide: 696}

    for config, expected in measured.items():
        needed = memory_needed(config, n_phases=3) / MIB
        assert 0.8 * expected < needed < 1.25 * expected


def test_memory_grows_with_the_batch_and_the_area_of_a_patch() -> None:
    quick = PRESETS["quick"]
    small, batch, side = (
        memory_needed(quick.with_changes(**changes), n_phases=3)
        for changes in ({}, {"batch_size": 16}, {"patch_size": 256})
    )

    assert batch / small == pytest.approx(2, rel=0.1)
    assert side / small == pytest.approx(4, rel=0.1)


def test_settings_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    task = search_task("batch_size=2,4096", "n_filters=2,32", "gain=0.1,0.2")
    monkeypatch.setattr(estimate, "free_memory", lambda: 100 * MIB)

    with pytest.raises(MemoryError, match="2 of the 4 combinations") as error:
        largest_memory(task, n_phases=2)

    assert "batch_size 4096, n_filters 2 needs about" in str(error.value)
    assert "a training may take only 80% of the 100.0 MiB that are free" in str(
        error.value
    )
