"""Good files of every kind that the command line reads, tiny, in a folder."""

import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INTERRUPTED = 130

SHAPE = (18, 24, 24)
"""More slices than a prediction takes at once, so that it can be interrupted."""

TINY = [
    *("--n-filters", "2", "--context-slices", "0", "--n-epochs", "2"),
    *("--patches-per-epoch", "4", "--patch-size", "16", "--batch-size", "2"),
    *("--device", "cpu", "--precision", "float32"),
]
SLICES = ["--train-z", "1", "--validation-z", "4"]
STUDY = [
    *("--train-z", "1:3", "--test-z", "5", "--n-members", "2", "--n-repeats", "0"),
]
DEVICE = ["--device", "cpu"]

TRAIN = ["train", "plain.tif", "labels.tif", *SLICES, *TINY]
"""Without ``--out``, as those that follow."""
PREDICT = ["predict", "plain.tif", "run", *DEVICE]
SERIES = ["predict", "scan-*.tif", "run", *DEVICE]
UNCERTAINTY = ["uncertainty", "plain.tif", "labels.tif", *STUDY, *TINY]

IMAGES = (
    "plain.tif",
    "zlib.tif",
    "ome.tif",
    "imagej.tif",
    "big.tif",
    "tiled.tif",
    "planar.tif",
    "slices",
    "contiguous.h5",
    "chunked.h5",
    "virtual.h5",
    "linked.h5",
    "outside.h5",
    "nabu.h5",
    "nexus.h5",
    "gzip-2.zarr",
    "blosc-2.zarr",
    "zstd-3.zarr",
    "blosc-3.zarr",
    "ome-2.zarr",
    "ome-3.zarr",
    "image.npy",
)
REFUSED = {"linked.h5", "outside.h5"}
"""What lies elsewhere may be refused."""

LABELS = (
    "labels.tif",
    "plain-labels.tif",
    "foreign.tif",
    "labels.zarr",
    "labels.h5",
    "labels.npy",
)

NEEDS = {
    "virtual.h5": ("part-0.h5", "part-1.h5"),
    "linked.h5": ("chunked.h5",),
    "outside.h5": ("outside.raw",),
    "project.toml": ("plain.tif", "labels.tif"),
    "scan-*.tif": ("scan-0.tif", "scan-1.tif", "scan-2.tif"),
    "half.zarr": ("half.zarr.partial",),
    "ready.zarr": ("ready.zarr.partial",),
}
"""Files that go with those of the command line."""


def build() -> int:
    """Write all files into the working directory; returns an exit code."""
    labels = np.ones(SHAPE, np.uint8)
    labels[:, :, 12:] = 2
    noise = np.random.default_rng(0).integers(0, 50, SHAPE, np.uint16)
    grey = 500 * labels.astype(np.uint16) + noise
    _write_tiffs(grey)
    _write_hdf5(grey)
    _write_layouts(grey)
    _write_zarrs(grey)
    np.save("image.npy", grey)
    _write_labels(labels)
    Path("project.toml").write_text(
        '[[volume]]\nimage = "plain.tif"\nlabels = "labels.tif"\n'
        'train = "1"\nvalidation = "4"\ntest = "6:8"\n',
        encoding="utf-8",
    )
    return _write_states()


def _write_tiffs(grey: NDArray[np.uint16]) -> None:
    import tifffile

    spacing = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "zlib": {"compression": "zlib"},
        "ome": {"ome": True, "metadata": spacing, "compression": "lzw"},
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
        "big": {"bigtiff": True},
        "tiled": {"tile": (16, 16), "compression": "zlib"},
    }
    for name, options in kinds.items():
        tifffile.imwrite(f"{name}.tif", grey, **options)
    tifffile.imwrite("planar.tif", grey[:3].astype(np.float32))
    for number in range(3):
        tifffile.imwrite(f"scan-{number}.tif", np.roll(grey, number, axis=1))
    Path("slices").mkdir()
    for z, image in enumerate(grey):
        tifffile.imwrite(f"slices/s{z}.tif", image)


def _write_hdf5(grey: NDArray[np.uint16]) -> None:
    import h5py

    place = "exchange/data"
    with h5py.File("contiguous.h5", "w") as file:
        file[place] = grey
    with h5py.File("chunked.h5", "w") as file:
        data = file.create_dataset(place, data=grey, chunks=(4, 8, 8), compression=4)
        data.attrs["element_size_um"] = (0.5, 0.5, 0.5)
    layout = h5py.VirtualLayout(grey.shape, grey.dtype)
    for number, part in enumerate(np.split(grey, 2)):
        with h5py.File(f"part-{number}.h5", "w") as file:
            file["data"] = part
        where = slice(number * len(part), (number + 1) * len(part))
        layout[where] = h5py.VirtualSource(f"part-{number}.h5", "data", part.shape)
    with h5py.File("virtual.h5", "w") as file:
        file.create_virtual_dataset(place, layout)
    with h5py.File("linked.h5", "w") as file:
        file[place] = h5py.ExternalLink("chunked.h5", place)
    with h5py.File("outside.h5", "w") as file:
        outside = [("outside.raw", 0, grey.nbytes)]
        data = file.create_dataset(place, grey.shape, grey.dtype, external=outside)
        data[...] = grey


def _write_layouts(grey: NDArray[np.uint16]) -> None:
    import h5py

    with h5py.File("nabu.h5", "w") as file:
        process = file.create_group("entry/reconstruction")
        process["results/data"] = grey
        sizes = "configuration/processing_options/reconstruction/voxel_size_cm"
        process[sizes] = (5e-5, 5e-5, 5e-5)
    with h5py.File("nexus.h5", "w") as file:
        entry = file.create_group("recon")
        entry["definition"] = "NXtomoproc"
        entry["data/volume"] = grey
        entry["data"].attrs["signal"] = "volume"
        for axis, n in zip("xyz", grey.shape, strict=True):
            entry[f"data/{axis}"] = np.arange(n) * 0.5
            entry[f"data/{axis}"].attrs["units"] = "um"


def _write_zarrs(grey: NDArray[np.uint16]) -> None:
    import numcodecs
    import zarr
    from zarr.codecs import BloscCodec, ZstdCodec

    kinds: dict[str, dict[str, Any]] = {
        "gzip-2": {"zarr_format": 2, "compressors": numcodecs.GZip()},
        "blosc-2": {"zarr_format": 2, "compressors": numcodecs.Blosc()},
        "zstd-3": {"compressors": ZstdCodec()},
        "blosc-3": {"compressors": BloscCodec(), "shards": (18, 24, 24)},
    }
    for name, options in kinds.items():
        zarr.create_array(f"{name}.zarr", data=grey, chunks=(6, 12, 24), **options)
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    scale = {"type": "scale", "scale": [0.5, 0.5, 0.5]}
    level = {"path": "0", "coordinateTransformations": [scale]}
    image = {"axes": axes, "datasets": [level], "name": "grey"}
    for version, attributes in {
        2: {"multiscales": [{**image, "version": "0.4"}]},
        3: {"ome": {"version": "0.5", "multiscales": [image]}},
    }.items():
        group = zarr.create_group(
            f"ome-{version}.zarr",
            zarr_format=version,  # type: ignore[arg-type]
            attributes=attributes,  # type: ignore[arg-type]
        )
        group.create_array("0", data=grey, chunks=(6, 12, 24))


def _write_labels(labels: NDArray[np.uint8]) -> None:
    import h5py
    import tifffile

    from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
    from napari_lrcs.io.formats.tiff import write_labels_tiff
    from napari_lrcs.phases import PhaseTable

    phases = PhaseTable.named("pore", "solid")
    write_labels_tiff(Path("labels.tif"), [labels], shape=SHAPE, phases=phases)
    array = create_ome_zarr(
        Path("labels.zarr"), shape=SHAPE, chunks=(6, 24, 24), phases=phases
    )
    array[:] = labels
    tifffile.imwrite("plain-labels.tif", labels)
    tifffile.imwrite("mask.tif", np.ones_like(labels))
    theirs = [(65311, "s", 0, '{"somebody": "else"}', True)]
    tifffile.imwrite("foreign.tif", labels, extratags=theirs)
    with h5py.File("labels.h5", "w") as file:
        file["exchange/data"] = labels
    np.save("labels.npy", labels)
    moved = labels.copy()
    moved[:, :, 12:14] = 1
    for name in ("second", "third"):
        tifffile.imwrite(f"{name}.tif", moved)


# ---- what commands leave, finished and not ----


def _write_states() -> int:
    codes = [
        _call("", *TRAIN, "--out", "run"),
        _call("", *PREDICT, "--out", "expected.tif"),
        _call("perturb labels.tif --out set --n-members 2 --n-simulations 2"),
        _call("", *UNCERTAINTY, "--out", "study"),
        _call("baseline plain.tif --method otsu --n-phases 2 --out done.tif"),
        _call("check draw second.tif --out check --n-patches 6 --size 8"),
    ]
    _paint_check()
    # As if the study had been killed during its last member.
    *_, last = sorted(Path("study/members").iterdir())
    (last / "member.json").unlink()
    with _interrupted_after("EpochEnded"):
        codes += [_call("", *TRAIN, "--out", "unfinished") - INTERRUPTED]
    with _interrupted_after("SlabPredicted"):
        codes += [_call("", *PREDICT, "--out", "half.zarr") - INTERRUPTED]
        codes += [_call("", *SERIES, "--out", "series") - INTERRUPTED]
    with _interrupted_before_rename_to("ready.zarr"):
        codes += [_call("", *PREDICT, "--out", "ready.zarr") - INTERRUPTED]
    # These are here for what they import.
    forest = "baseline plain.tif --method forest --labels labels.tif --train-z 1"
    codes += [
        _call("measure labels.tif --particles 1 --csv particles.csv"),
        _call("compare labels.tif second.tif --majority m.tif --csv c.csv"),
        _call("evaluate labels.tif second.tif"),
        _call("check report second.tif check --budget"),
        _call(f"{forest} --out b.tif"),
        _call("info"),
    ]
    for name in ("particles.csv", "m.tif", "c.csv", "b.tif"):
        Path(name).unlink()
    return max(map(abs, codes))


def _paint_check() -> None:
    import tifffile

    from napari_lrcs.annotation.check_folder import CheckFolder

    painting = CheckFolder(Path("check")).painting
    painting.labels.array[:] = tifffile.imread("labels.tif")


def _call(text: str, *more: str) -> int:
    from napari_lrcs.__main__ import main

    return main([*text.split(), *more])


def _interrupted_after(event: str) -> Any:
    """Interrupt commands as Ctrl-C would, after the first event of a kind."""
    from unittest import mock

    from napari_lrcs.commands.parts import progress

    follow = progress.follow

    def interrupted(events: Any, **flags: Any) -> Any:
        def until_interrupted() -> Any:
            with closing(events):
                for event_ in events:
                    yield event_
                    if type(event_).__name__ == event:
                        raise KeyboardInterrupt

        return follow(until_interrupted(), **flags)

    return mock.patch.object(progress, "follow", interrupted)


def _interrupted_before_rename_to(name: str) -> Any:
    """Interrupt commands as Ctrl-C would, when all but one name is in place."""
    from unittest import mock

    rename = os.replace

    def interrupted(source: Any, target: Any, **flags: Any) -> None:
        if Path(target).name == name:
            raise KeyboardInterrupt
        rename(source, target, **flags)

    return mock.patch.object(os, "replace", interrupted)


# ---- copies ----


def files_of(words: Sequence[str], *, corpus: Path) -> list[str]:
    """List the files and folders of the corpus that a command line needs."""
    named = [word.split("/")[0].split(":")[0] for word in words]
    needed = [need for name in named for need in NEEDS.get(name, ())]
    return sorted({name for name in (*named, *needed) if (corpus / name).exists()})


def copy_into(folder: Path, names: Sequence[str], *, corpus: Path) -> None:
    """Copy files and folders of the corpus."""
    for name in names:
        if (corpus / name).is_file():
            shutil.copy2(corpus / name, folder / name)
        else:
            shutil.copytree(corpus / name, folder / name)
    # What is continued names its inputs by their whole paths.
    for state in folder.rglob("*.json"):
        text = state.read_text(encoding="utf-8")
        if str(corpus) in text:
            text = text.replace(str(corpus), str(folder))
            state.write_text(text, encoding="utf-8")
