import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import pytest

from napari_lrcs import __version__

ROOT = Path(__file__).parents[1]
MANIFEST = (ROOT / "napari.yaml").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
CONDA_NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_installed_manifest_is_the_one_at_the_top() -> None:
    installed = files("napari_lrcs").joinpath("napari.yaml")

    assert installed.read_text(encoding="utf-8") == MANIFEST


def test_package_says_that_it_is_typed() -> None:
    assert files("napari_lrcs").joinpath("py.typed").is_file()


def test_icon_of_the_manifest_is_in_the_package() -> None:
    (name,) = re.findall(r"^icon: napari_lrcs:(.+)$", MANIFEST, re.MULTILINE)

    assert files("napari_lrcs").joinpath(name).is_file()


def test_version_to_cite_is_that_of_the_package() -> None:
    assert f"\nversion: {__version__}\n" in read("CITATION.cff")
    assert f'version: "{__version__}"' in read("docs/publishing.md")


@pytest.mark.parametrize(
    "name",
    [
        "CITATION.cff",
        "README.md",
        "docs/publishing.md",
        "mkdocs.yml",
        "pyproject.toml",
    ],
)
def test_address_of_the_repository_is_the_same_everywhere(name: str) -> None:
    address = r"https://github\.com/[\w.-]+/napari-lrcs\b"

    assert set(re.findall(address, read(name))) == {PROJECT["urls"]["Source"]}


def test_links_in_the_readme_work_on_pypi() -> None:
    targets = re.findall(r"\]\(([^)]*)\)", read("README.md"))

    assert targets
    assert [t for t in targets if not t.startswith("https://")] == []


@pytest.mark.skipif(
    not (ROOT / ".github").is_dir(), reason="the source distribution has no pictures"
)
def test_pictures_in_the_readme_exist() -> None:
    pictures = re.findall(r"/raw/main/(docs/images/[^)]+)\)", read("README.md"))

    assert pictures
    assert [p for p in pictures if not (ROOT / p).is_file()] == []


def test_conda_recipe_needs_what_the_package_needs() -> None:
    recipe = re.findall(
        r"^    - ([\w-]+) (>=[\d.,<]+)$", read("docs/publishing.md"), re.M
    )
    needed = (re.split("(?=>=)", entry) for entry in PROJECT["dependencies"])

    run = {name: bound for name, bound in recipe if name not in {"hatchling", "napari"}}
    assert run == {CONDA_NAMES.get(name, name): bound for name, bound in needed}


def test_importing_the_package_loads_neither_torch_nor_napari() -> None:
    code = "import sys, napari_lrcs; print(*sys.modules)"

    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert not {"torch", "napari", "qtpy", "numpy"} & set(run.stdout.split())


@pytest.mark.slow
def test_wheel_contains_the_manifest_the_icon_and_the_marker_of_types(
    tmp_path: Path,
) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps"]

    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)

    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        manifest = archive.read("napari_lrcs/napari.yaml").decode("utf-8")
        assert manifest == MANIFEST
        assert {"napari_lrcs/py.typed", "napari_lrcs/icon.svg"} <= {*archive.namelist()}
