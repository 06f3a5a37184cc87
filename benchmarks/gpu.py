"""The parts of ``benchmarks/gpu.sh``, which says how to use them."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from runpy import run_module
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
TRIAL = bool(os.environ.get("LRCS_GPU_TRIAL"))
DEVICE = "cpu" if TRIAL else "cuda"

# ---- where there is a network ----

PYTHON = "3.12"
GLIBC = (39, 35, 34, 31, 28, 27, 24, 17)
"""Minor versions of glibc 2 that wheels are built for; the machine has the first."""

THERE = {
    "h5py",
    "matplotlib",
    "numpy",
    "safetensors",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "torch",
}
"""What a bare GPU machine has, of what we need, in a version that will do."""

TOOLS = {"hypothesis", "pydantic", "pytest", "pytest-timeout"}
"""What the tests need, of the group "test"."""

LIMIT = 64 * 2**20
"""Bytes that all wheels may have together."""


def prepare(folder: Path) -> None:
    """Fetch the wheels of what we need and the machine lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    _pip("download", "--quiet", "--no-deps", f"--dest={folder}", *_pinned(_lacking()))
    # The code is run from src; this tells its version.
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, f"--wheel-dir={folder}", str(ROOT)], check=True)
    size = sum(wheel.stat().st_size for wheel in folder.glob("*.whl"))
    if size > LIMIT:
        raise SystemExit(f"error: the wheels have {size} bytes, {LIMIT} are allowed")


def _lacking() -> list[str]:
    """Read from pyproject.toml what the machine lacks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tools = project["dependency-groups"]["test"]
    return [
        *(
            need
            for need in project["project"]["dependencies"]
            if _name(need) not in THERE
        ),
        *(need for need in tools if isinstance(need, str) and _name(need) in TOOLS),
    ]


def _pinned(needs: list[str]) -> list[str]:
    """Resolve what is needed in turn, and leave out what the machine has."""
    report = _pip(
        *("install", "--quiet", "--dry-run", "--ignore-installed", "--report=-"),
        *("--target=unused", f"--constraint={ROOT / 'constraints.txt'}", *needs),
    )
    found = [entry["metadata"] for entry in json.loads(report)["install"]]
    return [
        f"{metadata['name']}=={metadata['version']}"
        for metadata in found
        if _name(metadata["name"]) not in THERE
    ]


def _pip(*arguments: str) -> str:
    """Run pip as for the GPU machine, and return what it prints."""
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC]
    action, *rest = arguments
    command = [
        *(sys.executable, "-m", "pip", action, "--disable-pip-version-check"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"),
        *("--platform=manylinux2014_x86_64", *platforms, *rest),
    ]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _name(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


# ---- on the machine with the GPU ----


def header() -> None:
    """Say what is measured on, and begin the table."""
    import torch

    if not TRIAL and not torch.cuda.is_available():
        raise SystemExit(
            "error: PyTorch finds no CUDA device; LRCS_GPU_TRIAL=1 tries the script "
            "without one"
        )
    name = "processor, a trial" if TRIAL else torch.cuda.get_device_name()
    print(f"`benchmarks/gpu.sh run` on {name}, torch {torch.__version__}.\n")
    print("| what | goal | measured |\n|---|---|---|")


def tests() -> None:
    """Run the tests marked gpu, without plugins that the machine happens to have."""
    marked = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark.gpu" in path.read_text(encoding="utf-8")
        and "plugin" not in path.parts  # needs a window
    ]
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.xml"
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-m", "gpu", *marked),
                *("-p", "pytest_timeout", f"--junit-xml={report}"),
            ],
            check=False,
            cwd=ROOT,
            env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdout=sys.stderr,
        )
        (suite,) = ET.parse(report).getroot()
    counts = ("tests", "failures", "errors", "skipped")
    measured = ", ".join(f"{suite.get(count)} {count}" for count in counts)
    row("tests marked `gpu`", "all pass, none skipped", measured)


def train() -> None:
    """Take the time of a step of the paper's network, by either choice of kernels."""
    for kernels in ("fastest", "deterministic"):
        _time_steps(kernels)


def _time_steps(kernels: str) -> None:
    """Take the time of a step as the difference of a short and a longer run."""
    side, few, many = (64, 2, 6) if TRIAL else (512, 50, 250)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = _phantom(folder, side=side)
        _, *measured = (
            _train(inputs, folder / f"{i}", n_steps=n, side=side, kernels=kernels)
            for i, n in enumerate((2, few, many))  # the first warms up
        )
    seconds, waits = (
        (last - first) / (many - few) for first, last in zip(*measured, strict=True)
    )
    patches = f"2 patches of {side} × {side}"
    what = f"training step, preset `paper`, {patches}, {kernels} kernels"
    row(f"{what}: time", "–", f"{seconds * 1000:.1f} ms")
    if not TRIAL:
        row(f"{what}: host waits for the GPU", "0, but for events", f"{waits:.2f}")


def predict() -> None:
    """Predict a large volume from OME-Zarr to OME-Zarr, and look at GPU memory."""
    side = 64 if TRIAL else 1000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = _phantom(folder, side=64 if TRIAL else 512)
        _train(inputs, folder / "run", n_steps=2, side=64, kernels="fastest")
        volume = _ome_zarr(folder / "volume.zarr", side=side)
        before = _gpu_memory()
        start = time.perf_counter()
        command(
            *("predict", volume, folder / "run", "--out", folder / "labels.zarr"),
            *("--device", DEVICE),
        )
        seconds = time.perf_counter() - start
    what = f"prediction of {side}³ from OME-Zarr to OME-Zarr, preset `paper`, no median"
    speed = side**3 / seconds / 1e6
    row(what, "–", f"{seconds:.1f} s, {speed:.1f} million voxels a second")
    if not TRIAL:
        import torch

        peak = torch.cuda.max_memory_allocated() / 2**30
        row("the same: most GPU memory that was in use", "–", f"{peak:.1f} GiB")
        left = _gpu_memory() - before
        row("GPU memory still in use afterwards", "0 B", f"{left} B")


def command(*arguments: str | Path) -> None:
    """Run a subcommand in this process."""
    sys.argv = ["napari-lrcs", *(str(argument) for argument in arguments)]
    with redirect_stdout(sys.stderr):
        try:
            run_module("napari_lrcs", run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                raise


def row(what: str, goal: str, measured: str) -> None:
    """Print a line of the table."""
    print(f"| {what} | {goal} | {measured} |", flush=True)


def _phantom(folder: Path, *, side: int) -> tuple[Path, Path]:
    """Write a volume and its labels, large enough for the paper's patches."""
    from tifffile import imwrite

    from napari_lrcs.classical.phantom import electrode_phantom

    phantom = electrode_phantom(shape=(8, side, side))
    image, labels = folder / "image.tif", folder / "labels.tif"
    imwrite(image, phantom.volume)
    imwrite(labels, phantom.labels)
    return image, labels


def _train(
    inputs: tuple[Path, Path], run: Path, *, n_steps: int, side: int, kernels: str
) -> tuple[float, float]:
    """Train for so many steps; return the seconds, and how often the host waited."""
    import torch

    flags = (
        ("--train-z", 2),
        ("--validation-z", 6),
        ("--out", run),
        ("--preset", "paper"),
        ("--median-size", 0),
        ("--n-epochs", 1),
        ("--patches-per-epoch", 2 * n_steps),
        ("--patch-size", side),
        ("--device", DEVICE),
        ("--deterministic",) if kernels == "deterministic" else (),
    )
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not TRIAL:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            command("train", *inputs, *(str(part) for flag in flags for part in flag))
        finally:
            if not TRIAL:
                torch.cuda.set_sync_debug_mode("default")
    waits = sum("synchronizing" in str(warning.message) for warning in caught)
    return time.perf_counter() - start, waits


def _ome_zarr(path: Path, *, side: int) -> Path:
    """Write noise as OME-Zarr 0.5: one block of slices, over and over."""
    import numpy as np
    import zarr

    depth = max(1, side // 10)
    block = np.random.default_rng(0).integers(0, 4096, (depth, side, side), np.uint16)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = {"type": "scale", "scale": [0.1, 0.1, 0.1]}
    levels = [{"path": "0", "coordinateTransformations": [scale]}]
    group = zarr.create_group(path)
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": levels}],
    }
    volume = group.create_array(
        "0",
        shape=(side, side, side),
        chunks=(min(20, depth), *(2 * (min(500, side),))),
        dtype="u2",
        compressors=None,
    )
    for z in range(0, side, depth):
        volume[z : z + depth] = block[: side - z]
    return path


def _gpu_memory() -> int:
    import torch

    return 0 if TRIAL else torch.cuda.memory_allocated()


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("prepare", *PARTS))
    parser.add_argument("folder", type=Path, nargs="?", default="benchmarks/wheels")
    given = parser.parse_args()
    prepare(given.folder) if given.part == "prepare" else PARTS[given.part]()


PARTS = {f.__name__: f for f in (header, tests, train, predict)}

if __name__ == "__main__":
    main()
