import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import call, write_sample

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "command", ["", "train", "predict", "measure", "compare", "uncertainty"]
)
def test_help_loads_neither_torch_nor_napari(command: str) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "-m", "napari_lrcs"),
            *command.split(),
            "--help",
        ],
        capture_output=True,
        check=True,
        text=True,
    )

    loaded = set(re.findall(r"\|\s+([a-z_0-9]+)$", run.stderr, re.MULTILINE))
    assert "argparse" in loaded
    heavy = {"torch", "napari", "qtpy", "matplotlib", "zarr", "numpy", "rich"}
    assert not loaded & heavy
    assert "usage: napari-lrcs" in run.stdout


def test_commands_that_only_read_labels_load_no_torch(tmp_path: Path) -> None:
    write_sample(tmp_path)
    shutil.copy(tmp_path / "labels.tif", tmp_path / "other.tif")
    commands = [
        "measure labels.tif --surface-area",
        "profile image.tif --line 2,12,2:12,21",
        "evaluate labels.tif other.tif --json",
        "compare labels.tif other.tif",
        "perturb labels.tif --out set --n-members 1 --n-simulations 0",
        "baseline image.tif --method otsu --n-phases 2 --out seg.tif",
    ]
    script = (
        "import sys; from napari_lrcs.__main__ import main; "
        f"codes = [main(command.split()) for command in {commands}]; "
        "sys.exit(str(codes) if any(codes) or 'torch' in sys.modules else 0)"
    )

    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )

    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "command", ["measure labels.tif", "evaluate labels.tif other.tif"]
)
def test_measuring_a_tiff_starts_at_once(command: str, tmp_path: Path) -> None:
    write_sample(tmp_path)
    shutil.copy(tmp_path / "labels.tif", tmp_path / "other.tif")
    slow = {"torch", "zarr", "h5py", "scipy", "skimage", "sklearn", "matplotlib"}
    script = (
        "import sys; from napari_lrcs.__main__ import main; "
        f"main({command.split()}); print(*{slow} & sys.modules.keys(), file=sys.stderr)"
    )

    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )

    assert run.stderr.split() == []


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0

    assert re.fullmatch(r"[0-9]+\.[0-9.a-z]+\n", capsys.readouterr().out)
