from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from napari_lrcs.config import TrainConfig
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.models.registry import MODELS, create_model
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.transfer import KeptPart, Origin

CATHODE = PhaseTable.named("pore", "CBD", "NMC")

State = dict[str, Tensor]
Fill = Callable[..., tuple[State, State, State, str]]


@pytest.fixture
def fill(
    make_checkpoint: Callable[..., Checkpoint], tiny_config: TrainConfig, tmp_path: Path
) -> Fill:
    """Fill a network from another; return their states before and after, and the text.

    In the order: the other network, the own one before, the own one after.
    """

    def fill(
        theirs: PhaseTable,
        own: PhaseTable,
        *,
        kept: KeptPart = "all",
        config: TrainConfig = tiny_config,
    ) -> tuple[State, State, State, str]:
        made = make_checkpoint(config, n_phases=len(theirs), seed=1)
        save_checkpoint(tmp_path / "nmc.safetensors", replace(made, phases=theirs))
        model = create_model(config.network, n_phases=len(own))
        before = {name: t.clone() for name, t in model.state_dict().items()}
        origin = Origin(path=tmp_path / "nmc.safetensors", kept=kept)
        text = origin.fill(model, config.network, own)
        return dict(made.state), before, dict(model.state_dict()), text

    return fill


def test_phases_are_matched_by_name(fill: Fill) -> None:
    own = PhaseTable.named("nmc", "crack", "Pore", "void")

    theirs, before, after, text = fill(CATHODE, own)

    for name in ("classifier.weight", "classifier.bias"):
        assert torch.equal(after[name][0], theirs[name][2])
        assert torch.equal(after[name][1], before[name][1])
        assert torch.equal(after[name][2], theirs[name][0])
        assert torch.equal(after[name][3], before[name][3])
    others = [name for name in after if not name.startswith("classifier.")]
    assert all(torch.equal(after[name], theirs[name]) for name in others)
    assert text == (
        "crack and void start fresh: nmc.safetensors predicts pore, CBD, NMC"
    )


@pytest.mark.parametrize("own", [CATHODE, PhaseTable.numbered(3)], ids=["named", ""])
def test_the_same_phases_take_over_all(own: PhaseTable, fill: Fill) -> None:
    theirs, _, after, text = fill(CATHODE, own)

    assert all(torch.equal(after[name], theirs[name]) for name in theirs)
    assert text == ""


def test_phases_with_other_names_start_fresh(
    fill: Fill,
) -> None:
    _, before, after, text = fill(CATHODE, PhaseTable.named("YSZ", "nickel", "pores"))

    assert torch.equal(after["classifier.weight"], before["classifier.weight"])
    assert text.startswith("YSZ and nickel and pores start fresh")


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_encoder_alone_can_be_kept(
    model: str, tiny_config: TrainConfig, fill: Fill
) -> None:
    config = tiny_config.with_changes(model=model, n_filters=4)

    theirs, before, after, text = fill(CATHODE, CATHODE, kept="encoder", config=config)

    weights = [name for name in after if name.endswith("weight")]
    taken = [name for name in weights if torch.equal(after[name], theirs[name])]
    fresh = [name for name in weights if torch.equal(after[name], before[name])]
    assert any(name.startswith("encoder.") for name in taken)
    assert any(name.startswith("decoder.") for name in fresh)
    assert "classifier.weight" in fresh
    assert "only the encoder of nmc.safetensors is taken over" in text
