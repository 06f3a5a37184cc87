from pathlib import Path

import pytest

from napari_lrcs import presets
from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.errors import ResultExistsError
from napari_lrcs.presets import (
    check_preset_name,
    preset_names,
    read_preset,
    read_presets,
    save_preset,
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "_folder", lambda: tmp_path / "presets")


CONFIG = TrainConfig().with_changes(n_filters=4, phase_weights=(1.0, 2.0))


def test_a_saved_preset_is_offered_after_the_built_in_ones() -> None:
    save_preset("wide", CONFIG)
    save_preset("balanced", CONFIG.with_changes(device="cpu", balance=0.5))

    assert preset_names() == [*PRESETS, "balanced", "wide"]
    assert read_preset("wide") == CONFIG
    assert read_presets() == {
        **PRESETS,
        "balanced": CONFIG.with_changes(balance=0.5),
        "wide": CONFIG,
    }


def test_a_damaged_preset_is_left_out_and_named() -> None:
    path = save_preset("wide", CONFIG)
    path.write_text('{"n_filters": 0}')

    assert read_presets() == PRESETS
    with pytest.raises(ValueError, match=r"wide\.json is damaged: n_filters must be"):
        read_preset("wide")


def test_an_unknown_preset_is_refused_with_those_known() -> None:
    save_preset("wide", CONFIG)

    known = "quick, best, paper, wide"
    with pytest.raises(ValueError, match=f"no preset 'wild'; known: {known}"):
        read_preset("wild")


def test_a_name_must_be_free_and_that_of_a_file() -> None:
    save_preset("wide", CONFIG)

    check_preset_name("wide", overwrite=True)
    with pytest.raises(ResultExistsError, match="there is a preset wide already"):
        check_preset_name("wide", overwrite=False)
    for name in ("", ".hidden", "a/b", "quick"):
        with pytest.raises(ValueError, match="preset"):
            check_preset_name(name, overwrite=True)
