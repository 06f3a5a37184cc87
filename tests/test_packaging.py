import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
MANIFEST = (ROOT / "napari.yaml").read_text(encoding="utf-8")


def test_installed_manifest_is_the_one_at_the_top() -> None:
    installed = files("napari_lrcs").joinpath("napari.yaml")

    assert installed.read_text(encoding="utf-8") == MANIFEST


def test_package_says_that_it_is_typed() -> None:
    assert files("napari_lrcs").joinpath("py.typed").is_file()


def test_importing_the_package_loads_neither_torch_nor_napari() -> None:
    code = "import sys, napari_lrcs; print(*sys.modules)"

    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert not {"torch", "napari", "qtpy", "numpy"} & set(run.stdout.split())


@pytest.mark.slow
def test_wheel_contains_the_manifest_and_the_marker_of_types(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps"]

    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)

    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        manifest = archive.read("napari_lrcs/napari.yaml").decode("utf-8")
        assert manifest == MANIFEST
        assert "napari_lrcs/py.typed" in archive.namelist()
