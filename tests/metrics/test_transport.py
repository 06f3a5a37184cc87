import builtins
import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from napari_lrcs.arrays import Labels
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.records import as_json
from napari_lrcs.metrics import transport
from napari_lrcs.metrics.transport import (
    PhaseTransport,
    Solving,
    Transport,
    solve_transport,
    tortuosity,
)
from napari_lrcs.phases import PhaseTable


def straight_channels() -> Labels:
    """Make channels of phase 1 along z that fill a quarter of phase 2."""
    labels = np.full((8, 8, 8), 2, np.uint8)
    labels[:, 2:6, 1:3] = labels[:, 2:6, 5:7] = 1
    return labels


def laminate() -> Labels:
    """Make layers of phase 1 across z that phase 2 parts."""
    labels = np.ones((9, 6, 5), np.uint8)
    labels[4] = 2
    return labels


def test_without_taufactor_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def load_others(name: str, *rest: Any, **options: Any) -> Any:
        if name == "taufactor":
            raise ModuleNotFoundError("No module named 'taufactor'", name=name)
        return load(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", load_others)

    with pytest.raises(LrcsError, match=r'pip install "napari-lrcs\[transport\]"'):
        list(tortuosity(laminate(), phase=1))


def test_importing_the_module_loads_no_torch() -> None:
    code = (
        "import sys, napari_lrcs.metrics.transport, napari_lrcs.metrics.structure\n"
        "assert not {'torch', 'taufactor'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


class TestSolved:
    @pytest.fixture(autouse=True)
    def _needs_taufactor(self) -> None:
        pytest.importorskip("taufactor", reason="needs the extra transport")

    def test_empty_box_has_tortuosity_1_in_every_direction(self) -> None:
        found = list(tortuosity(np.ones((8, 6, 5), np.uint8), phase=1))

        assert [direction.axis for direction in found] == ["z", "y", "x"]
        for direction in found:
            assert direction.tortuosity == pytest.approx(1, abs=1e-5)
            assert direction.effective_diffusivity == pytest.approx(1, abs=1e-5)

    def test_straight_channel_conducts_by_its_fraction_and_only_along_itself(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        along, across, through = tortuosity(straight_channels(), phase=1)

        assert along.tortuosity == pytest.approx(1, abs=1e-5)
        assert along.effective_diffusivity == pytest.approx(1 / 4, abs=1e-5)
        assert not across.percolates
        assert not through.percolates
        assert capsys.readouterr().out == ""

    def test_laminate_does_not_percolate_across_its_layers(self) -> None:
        across, along = tortuosity(laminate(), phase=1, axes=("z", "x"))

        assert math.isinf(across.tortuosity)
        assert across.effective_diffusivity == 0
        assert along.tortuosity == pytest.approx(1, abs=1e-5)

    def test_flat_voxels_make_no_way_longer(self) -> None:
        found = list(tortuosity(laminate(), phase=1, voxel_size=(2, 1, 0.5)))

        assert [d.tortuosity for d in found] == pytest.approx(
            [math.inf, 1, 1], abs=1e-5
        )

    def test_flat_voxels_conduct_as_the_cubes_that_they_are_made_of(self) -> None:
        # A wall half across, behind another: the way winds.
        coarse = np.ones((6, 8, 8), np.uint8)
        coarse[1, :5], coarse[4, 3:] = 2, 2
        cubes = np.repeat(coarse, 2, axis=0)

        (flat,) = tortuosity(coarse, phase=1, axes=["z"], voxel_size=(2, 1, 1))
        (fine,) = tortuosity(cubes, phase=1, axes=["z"])

        assert fine.tortuosity > 1.2
        assert flat.tortuosity == pytest.approx(fine.tortuosity, rel=0.1)

    def test_flat_voxels_conduct_the_same_however_the_volume_is_turned(self) -> None:
        labels = np.ones((6, 7, 8), np.uint8)
        labels[1, :5], labels[4, :, 3:] = 2, 2
        turned = labels.transpose(2, 0, 1)

        (upright,) = tortuosity(labels, phase=1, axes=["z"], voxel_size=(2, 1, 0.5))
        (lying,) = tortuosity(turned, phase=1, axes=["y"], voxel_size=(0.5, 2, 1))

        assert lying.tortuosity == pytest.approx(upright.tortuosity, rel=1e-3)

    def test_way_round_a_wall_is_longer_and_dead_ends_change_only_the_fraction(
        self,
    ) -> None:
        labels = np.ones((9, 10, 10), np.uint8)
        labels[4, :5] = 2
        with_dead_end = np.concatenate([labels, np.full((9, 10, 10), 2, np.uint8)], 2)
        with_dead_end[:6, :, 11:] = 1

        (wall,) = tortuosity(labels, phase=1, axes=["z"])
        (dead,) = tortuosity(with_dead_end, phase=1, axes=["z"])

        assert wall.tortuosity > 1.1
        assert dead.effective_diffusivity == pytest.approx(
            wall.effective_diffusivity / 2, rel=0.02
        )

    def test_progress_leads_from_0_to_each_result(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "_PAUSE_SECONDS", -1)  # after every step
        labels = np.ones((9, 10, 10), np.uint8)
        labels[4, :5] = 2

        *steps, last = solve_transport(labels, phase=1, axes=["z"])

        assert isinstance(last, Transport)
        shares = [step.share for step in steps if isinstance(step, Solving)]
        assert len(shares) == len(steps) >= 100
        assert shares[0] == 0
        assert shares[-1] == 1

    def test_absent_phase_does_not_percolate(self) -> None:
        (found,) = tortuosity(np.ones((4, 4, 4), np.uint8), phase=2, axes=["y"])

        assert not found.percolates

    def test_what_does_not_settle_is_not_given_as_a_number(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from taufactor import AnisotropicSolver

        monkeypatch.setattr(AnisotropicSolver, "check_convergence", lambda *_: False)

        found = list(tortuosity(np.ones((4, 4, 4), np.uint8), phase=1, axes=["x"]))

        phase = PhaseTable.named("pore", "solid").phases[0]
        through = PhaseTransport(phase=phase, directions=tuple(found))
        assert json.loads(as_json(through.to_dict()))["directions"] == [
            {
                "axis": "x",
                "percolates": True,
                "tortuosity": None,
                "effective_diffusivity": None,
            }
        ]
        assert capsys.readouterr().out == ""

    def test_unpainted_voxels_and_thin_volumes_are_refused(self) -> None:
        holed = straight_channels()
        holed[0, 0, :3] = 0

        with pytest.raises(ValueError, match=r"^3 voxels are 0 .* cut one out"):
            list(tortuosity(holed, phase=1))
        with pytest.raises(ValueError, match="along y needs at least 3 voxels"):
            list(tortuosity(np.ones((4, 2, 4), np.uint8), phase=1))
        with pytest.raises(ValueError, match=r"needs a volume \(z, y, x\)"):
            list(tortuosity(np.ones((4, 4), np.uint8), phase=1))
