import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.tiff import PHASES_TAG
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.volume import Volume, as_labels, as_volume, parse_slices
from napari_lrcs.preprocessing.mask import as_mask

GREY = np.arange(5 * 7 * 6, dtype=np.uint16).reshape(5, 7, 6) * 100

Writer = Callable[[Path], object]


def tiff(array: NDArray[Any] = GREY, **options: Any) -> Writer:
    def write(path: Path) -> None:
        tifffile.imwrite(path, array, photometric="minisblack", **options)

    return write


def hdf5(**datasets: NDArray[Any]) -> Writer:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, data in datasets.items():
                file.create_dataset(name.replace("__", "/"), data=data)

    return write


def imagej_of_one_page(path: Path) -> None:
    """Write what ImageJ writes beyond 4 GB: one page, all other slices behind it."""
    description = "ImageJ=1.53t\nimages=5\nslices=5\n"
    tiff(GREY[0], description=description, metadata=None)(path)
    with path.open("ab") as file:
        file.write(GREY[1:].tobytes())


def npy(array: NDArray[Any]) -> Writer:
    return lambda path: np.save(path, array)


def text(content: bytes) -> Writer:
    return lambda path: path.write_bytes(content)


def channels(*, mode: str) -> Writer:
    return tiff(imagej=True, metadata={"axes": "CYX", "mode": mode})


def ngff_axes(names: str, unit: str | None) -> list[dict[str, str]]:
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": name, "type": kinds.get(name, "space")} for name in names]
    if unit is not None:
        axes = [a | {"unit": unit} if a["type"] == "space" else a for a in axes]
    return axes


def ome_zarr(
    version: str,
    *,
    names: str = "zyx",
    array: NDArray[Any] = GREY,
    scale: tuple[float, ...] = (2.0, 0.5, 0.5),
    unit: str | None = "micrometer",
) -> Writer:
    def write(path: Path) -> None:
        leading = [1.0] * (len(names) - len(scale))
        scales = [{"type": "scale", "scale": [*leading, *scale]}]
        image = {
            "axes": ngff_axes(names, unit),
            "datasets": [
                {"path": level, "coordinateTransformations": scales}
                for level in ("full", "half")
            ],
        }
        if version == "0.5":
            attributes: dict[str, Any] = {
                "ome": {"version": version, "multiscales": [image]}
            }
        else:
            attributes = {"multiscales": [image | {"version": version}]}
        group = zarr.create_group(
            path, attributes=attributes, zarr_format=3 if version == "0.5" else 2
        )
        group.create_array("full", data=array)
        group.create_array("half", data=array[..., ::2, ::2])

    return write


def zarr_array(path: Path) -> None:
    zarr.create_array(path, data=GREY, chunks=(1, 7, 6))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("plain.tif", tiff()),
        ("plain.TIFF", tiff()),
        ("without-metadata.tif", tiff(metadata=None)),
        ("big-endian.tif", tiff(byteorder=">")),
        ("bigtiff.tif", tiff(bigtiff=True)),
        ("lzw.tif", tiff(compression="lzw", predictor=True)),
        ("deflate.tif", tiff(compression="zlib")),
        ("deflate-big-endian.tif", tiff(compression="zlib", byteorder=">")),
        ("tiled.tif", tiff(tile=(16, 16))),
        ("imagej.tif", tiff(imagej=True)),
        ("imagej-z.tif", tiff(imagej=True, metadata={"axes": "ZYX"})),
        ("imagej-c.tif", channels(mode="grayscale")),
        ("imagej-of-one-page.tif", imagej_of_one_page),
        ("ome.ome.tif", tiff(ome=True)),
        ("singletons.tif", tiff(GREY[np.newaxis, np.newaxis])),
        ("singletons.ome.tif", tiff(GREY[None, None], metadata={"axes": "TCZYX"})),
        ("exchange.h5", hdf5(exchange__data=GREY, exchange__data_dark=GREY[:1])),
        ("only.hdf5", hdf5(entry__volume=GREY, entry__angles=np.arange(3.0))),
        ("v4.ome.zarr", ome_zarr("0.4")),
        ("v5.ome.zarr", ome_zarr("0.5")),
        ("tczyx.zarr", ome_zarr("0.5", names="tczyx", array=GREY[None, None])),
        ("array.zarr", zarr_array),
        ("array.npy", npy(GREY)),
        ("big-endian.npy", npy(GREY.astype(">u2"))),
        ("fortran.npy", npy(np.asfortranarray(GREY))),
        ("fortran-leading.npy", npy(np.asfortranarray(GREY[np.newaxis]))),
        ("leading.npy", npy(GREY[np.newaxis])),
    ],
)
def test_every_format_gives_back_its_voxels(
    name: str, write: Writer, tmp_path: Path
) -> None:
    write(tmp_path / name)

    volume = open_volume(tmp_path / name)

    assert volume.name == name
    assert volume.shape == GREY.shape
    assert volume.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(volume.slab(0, 5), GREY)
    np.testing.assert_array_equal(volume.slab(1, 4), GREY[1:4])


@pytest.mark.parametrize(
    "dtype",
    ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"],
)
def test_every_integer_and_real_type_is_taken(dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), dtype))

    slab = open_volume(tmp_path / "a.npy").slab(0, 1)

    assert slab.dtype == np.dtype(dtype)
    assert (slab == 1).all()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("image.tif", tiff(GREY[2])),
        ("image.npy", npy(GREY[2])),
        ("image.h5", hdf5(exchange__data=GREY[2])),
        ("image.zarr", ome_zarr("0.5", names="yx", array=GREY[2], scale=(0.5, 0.5))),
    ],
)
def test_an_image_is_one_slice(name: str, write: Writer, tmp_path: Path) -> None:
    write(tmp_path / name)

    volume = open_volume(tmp_path / name)

    assert volume.shape == (1, 7, 6)
    np.testing.assert_array_equal(volume.slab(0, 1), GREY[2:3])
    np.testing.assert_array_equal(volume.slab(3, 5, axis="y")[:, 0], GREY[2, 3:5])


ODD = np.arange(1, 36, dtype=np.uint16)


@pytest.mark.parametrize("shape", [(5, 7, 1), (1, 35, 1), (35, 1, 1), (5, 1, 7)])
@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"metadata": None}, {"ome": True}],
    ids=["plain", "deflate", "without-metadata", "ome"],
)
def test_axes_of_length_1_are_kept(
    options: dict[str, Any], shape: tuple[int, int, int], tmp_path: Path
) -> None:
    tiff(ODD.reshape(shape), **options)(tmp_path / "a.tif")

    volume = open_volume(tmp_path / "a.tif")

    assert volume.shape == shape
    np.testing.assert_array_equal(volume.slab(0, shape[0]), ODD.reshape(shape))


@pytest.mark.filterwarnings("ignore:.*stored as RGB:DeprecationWarning")
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"metadata": None}])
@pytest.mark.parametrize("n_slices", [3, 4])
def test_planar_floats_are_slices(
    n_slices: int, options: dict[str, Any], tmp_path: Path
) -> None:
    grey = np.arange(n_slices * 40 * 50, dtype=np.float32).reshape(n_slices, 40, 50)
    tifffile.imwrite(tmp_path / "a.tif", grey, **options)

    volume = open_volume(tmp_path / "a.tif")

    np.testing.assert_array_equal(volume.slab(0, n_slices), grey)
    np.testing.assert_array_equal(volume.slab(1, 3), grey[1:3])


@pytest.mark.filterwarnings("ignore:.*stored as RGB:DeprecationWarning")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_planar_colours_are_refused_with_a_way_to_save_slices(
    dtype: type, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 40, 50), dtype))

    with pytest.raises(
        VolumeError, match=r'a\.tif is a colour image .* photometric="minisblack"'
    ):
        open_volume(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\x00",
        b"null",
        b"[1, 2]",
        b'{"napari_lrcs": 5}',
        b'{"napari_lrcs": {"phases": 5}}',
        b'{"napari_lrcs": {"phases": [{"label": []}]}}',
        b"[" * 100_000,
    ],
    ids=["bytes", "null", "list", "number", "no list", "no phase", "nested"],
)
def test_a_tag_of_another_program_is_ignored(value: bytes, tmp_path: Path) -> None:
    tag = (PHASES_TAG, "B" if value[:1] == b"\xff" else "s", len(value), value, True)
    tiff(extratags=[tag])(tmp_path / "a.tif")

    volume = open_volume(tmp_path / "a.tif")

    assert volume.phases is None
    np.testing.assert_array_equal(volume.slab(0, 5), GREY)


def test_a_number_in_the_tag_is_ignored(tmp_path: Path) -> None:
    tiff(extratags=[(PHASES_TAG, "I", 1, 5, True)])(tmp_path / "a.tif")

    assert open_volume(tmp_path / "a.tif").phases is None


def imagej(unit: str | None, **metadata: Any) -> Writer:
    if unit is not None:
        metadata["unit"] = unit
    return tiff(imagej=True, resolution=(4, 2), metadata={"axes": "ZYX"} | metadata)


def imagej_slice(description: str) -> Writer:
    """Write one slice as ImageJ does, which names no number of images."""
    return tiff(
        GREY[0],
        resolution=(4, 2),
        metadata=None,
        description=f"ImageJ=1.53t\n{description}",
    )


def ome(**metadata: Any) -> Writer:
    return tiff(ome=True, metadata={"axes": "ZYX"} | metadata)


@pytest.mark.parametrize(
    ("name", "write", "voxel_size", "unit"),
    [
        ("micron.tif", imagej("micron", spacing=3.0), (3, 0.5, 0.25), "micrometer"),
        ("um.tif", imagej("um", spacing=3.0), (3, 0.5, 0.25), "micrometer"),
        ("escaped.tif", imagej("\\u00B5m", spacing=3.0), (3, 0.5, 0.25), "micrometer"),
        ("nm.tif", imagej("nm", spacing=3.0), (3, 0.5, 0.25), "nanometer"),
        ("mm.tif", imagej("mm"), (1, 0.5, 0.25), "millimeter"),
        ("pixel.tif", imagej("pixel", spacing=3.0), (3, 0.5, 0.25), None),
        ("resolution.tif", imagej(None), (1, 0.5, 0.25), None),
        ("slice.tif", imagej_slice("unit=um\n"), (0.5, 0.5, 0.25), "micrometer"),
        ("y.tif", imagej_slice("unit=nm\nyunit=um\n"), (500, 500, 0.25), "nanometer"),
        (
            "thick.tif",
            imagej_slice("unit=um\nspacing=3.0\n"),
            (3, 0.5, 0.25),
            "micrometer",
        ),
        (
            "slice-of-tifffile.tif",
            tiff(GREY[0], imagej=True, resolution=(4, 2), metadata={"unit": "um"}),
            (0.5, 0.5, 0.25),
            "micrometer",
        ),
        ("imagej.tif", tiff(imagej=True), None, None),
        ("plain.tif", tiff(), None, None),
        ("ome.tif", ome(), None, None),
        (
            "micrometer.tif",
            ome(PhysicalSizeX=0.25, PhysicalSizeY=0.5, PhysicalSizeZ=3.0),
            (3, 0.5, 0.25),
            "micrometer",
        ),
        (
            "mixed-units.tif",
            ome(
                PhysicalSizeX=250.0,
                PhysicalSizeXUnit="nm",
                PhysicalSizeY=0.5,
                PhysicalSizeYUnit="µm",
                PhysicalSizeZ=0.003,
                PhysicalSizeZUnit="mm",
            ),
            (3000, 500, 250),
            "nanometer",
        ),
        ("cubic.tif", ome(PhysicalSizeX=0.25), (0.25, 0.25, 0.25), "micrometer"),
        ("v4.zarr", ome_zarr("0.4"), (2, 0.5, 0.5), "micrometer"),
        ("v5.zarr", ome_zarr("0.5", unit="nanometer"), (2, 0.5, 0.5), "nanometer"),
        ("no-unit.zarr", ome_zarr("0.5", unit=None), (2, 0.5, 0.5), None),
        ("ones.zarr", ome_zarr("0.5", scale=(1, 1, 1), unit=None), None, None),
        (
            "tczyx.zarr",
            ome_zarr("0.4", names="tczyx", array=GREY[None, None]),
            (2, 0.5, 0.5),
            "micrometer",
        ),
        (
            "yx.zarr",
            ome_zarr("0.5", names="yx", array=GREY[0], scale=(0.5, 0.25)),
            (0.5, 0.5, 0.25),
            "micrometer",
        ),
    ],
)
def test_voxel_size_and_unit_are_kept(
    name: str,
    write: Writer,
    voxel_size: tuple[float, float, float] | None,
    unit: str | None,
    tmp_path: Path,
) -> None:
    write(tmp_path / name)

    volume = open_volume(tmp_path / name)

    assert volume.unit == unit
    if voxel_size is None:
        assert volume.voxel_size is None
    else:
        assert volume.voxel_size == pytest.approx(voxel_size)


def test_a_scale_of_the_whole_image_multiplies_that_of_its_level(
    tmp_path: Path,
) -> None:
    ome_zarr("0.5")(tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    attributes: dict[str, Any] = group.attrs.asdict()
    attributes["ome"]["multiscales"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [10, 10, 10]}
    ]
    group.attrs.update(attributes)

    volume = open_volume(tmp_path / "a.zarr")

    assert volume.voxel_size == (20, 5, 5)


@given(
    axis=st.sampled_from(["z", "y", "x"]),
    run=st.tuples(st.integers(0, 5), st.integers(0, 5)).map(sorted),
    kind=st.sampled_from(
        ["plain.tif", "deflate.tif", "a.h5", "a.zarr", "slices", "a.npy", "fortran.npy"]
    ),
)
@settings(deadline=None, max_examples=60)
def test_slabs_along_any_axis_equal_those_of_numpy(
    axis: Literal["z", "y", "x"],
    run: list[int],
    kind: str,
    formats: Path,
) -> None:
    start, stop = run

    slab = open_volume(formats / kind).slab(start, stop, axis=axis)

    expected = np.moveaxis(GREY, "zyx".index(axis), 0)[start:stop]
    np.testing.assert_array_equal(slab, expected)
    assert slab.flags.c_contiguous
    assert slab.flags.writeable


@given(
    key=st.tuples(*(st.slices(n) for n in GREY.shape)),
    name=st.sampled_from(["plain.tif", "a.npy", "fortran.npy"]),
)
@settings(deadline=None, max_examples=60)
def test_plain_files_are_sliced_as_numpy_slices(
    key: tuple[slice, slice, slice], name: str, formats: Path
) -> None:
    array = open_volume(formats / name).array

    np.testing.assert_array_equal(array[key], GREY[key])


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    tiff()(folder / "plain.tif")
    tiff(compression="zlib")(folder / "deflate.tif")
    hdf5(exchange__data=GREY)(folder / "a.h5")
    ome_zarr("0.5")(folder / "a.zarr")
    npy(GREY)(folder / "a.npy")
    npy(np.asfortranarray(GREY))(folder / "fortran.npy")
    (folder / "slices").mkdir()
    for z, image in enumerate(GREY):
        tiff(image)(folder / "slices" / f"{z}.tif")
    return folder


def test_a_slab_belongs_to_its_caller() -> None:
    array = np.zeros((2, 3, 4), np.uint8)

    as_volume(array).slab(0, 1)[:] = 1

    assert not array.any()


@pytest.mark.parametrize("run", [(-1, 2), (3, 6), (2, 1)])
def test_a_slab_beyond_the_volume_is_refused(run: tuple[int, int]) -> None:
    volume = as_volume(GREY, name="a.tif")

    with pytest.raises(ValueError, match=r"along z are outside a\.tif, which has 0:5"):
        volume.slab(*run)


class Counting:
    """Counts the voxels that are asked of it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.dtype = np.dtype(np.uint8)
        self.n_read = 0

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[np.uint8]:
        part = np.broadcast_to(np.uint8(1), self.shape)[key]
        self.n_read += part.size
        return part


@pytest.mark.parametrize("shape", [(90, 20, 10), (1, 1, 90, 20, 10)])
def test_only_the_slab_is_read(shape: tuple[int, ...]) -> None:
    array = Counting(shape)

    labels = as_labels(as_volume(array))
    before = array.n_read
    labels.slab(40, 43)

    assert (before, array.n_read) == (0, 3 * 20 * 10)


def test_a_hundred_gigabytes_open_at_once() -> None:
    array = Counting((10_000, 3_000, 3_500))

    volume = as_volume(array)

    assert volume.shape == array.shape
    assert array.n_read == 0


def sparse_zarr(path: Path, shape: tuple[int, ...]) -> None:
    zarr.create_array(path, shape=shape, chunks=(1, 1000, 1000), dtype=np.float32)


def sparse_npy(path: Path, shape: tuple[int, ...]) -> None:
    np.lib.format.open_memmap(path, "w+", np.uint8, shape)


def sparse_tiff(path: Path, shape: tuple[int, ...]) -> None:
    tifffile.imwrite(path, shape=shape, dtype=np.uint8, bigtiff=True)


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.zarr", sparse_zarr), ("a.npy", sparse_npy), ("a.tif", sparse_tiff)],
)
def test_five_gigavoxels_open_and_give_their_last_slice(
    name: str, write: Callable[[Path, tuple[int, ...]], None], tmp_path: Path
) -> None:
    write(tmp_path / name, (5000, 1000, 1000))

    volume = open_volume(tmp_path / name)

    assert volume.shape == (5000, 1000, 1000)
    assert not volume.slab(4999, 5000).any()


def test_a_volume_names_the_files_that_it_is_read_from(tmp_path: Path) -> None:
    (tmp_path / "slices").mkdir()
    (tmp_path / "elsewhere").mkdir()
    slices, elsewhere = tmp_path / "slices", tmp_path / "elsewhere"
    tiff(GREY[0])(slices / "0.tif")
    tiff(GREY[1])(elsewhere / "1.tif")
    (slices / "1.tif").symlink_to(elsewhere / "1.tif")
    (tmp_path / "link").symlink_to(slices)
    ome_zarr("0.5")(tmp_path / "a.zarr")

    assert set(open_volume(tmp_path / "link").sources) == {
        slices.resolve(),
        (elsewhere / "1.tif").resolve(),
    }
    file = elsewhere / "1.tif"
    assert open_labels(file).sources == (file.resolve(),)
    assert as_mask(open_volume(file), shape=(1, 7, 6)).sources == (file.resolve(),)
    folder = tmp_path / "a.zarr"
    assert open_volume(folder).sources == (folder.resolve(),)
    assert as_volume(GREY).sources == ()


def test_slices_in_a_folder_are_in_natural_order(tmp_path: Path) -> None:
    for z in range(12):
        tiff(np.full((4, 5), z, np.uint8))(tmp_path / f"slice{z}.tif")
    (tmp_path / "notes.txt").write_text("not a slice")
    (tmp_path / ".slice3.tif").write_text("hidden")

    volume = open_volume(tmp_path)

    assert volume.shape == (12, 4, 5)
    assert volume.slab(0, 12)[:, 0, 0].tolist() == list(range(12))


def test_a_slice_of_a_folder_is_as_thick_as_its_pixels_are_high(
    tmp_path: Path,
) -> None:
    for z in range(2):
        imagej_slice("unit=micron\n")(tmp_path / f"{z}.tif")

    volume = open_volume(tmp_path)

    assert (volume.voxel_size, volume.unit) == ((0.5, 0.5, 0.25), "micrometer")


def test_a_folder_has_the_voxel_size_of_its_slices(tmp_path: Path) -> None:
    for z in range(2):
        tifffile.imwrite(
            tmp_path / f"{z}.ome.tif",
            GREY[z],
            metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "nm"},
        )

    volume = open_volume(tmp_path)

    assert (volume.voxel_size, volume.unit) == ((0.5, 0.5, 0.5), "nanometer")


@pytest.mark.parametrize(
    ("odd", "found"),
    [
        (np.zeros((4, 6), np.uint8), r"slice1\.tif is \(4, 6\) uint8, slice0\.tif is"),
        (np.zeros((4, 5), np.uint16), r"slice1\.tif is \(4, 5\) uint16"),
        (np.zeros((3, 4, 5), np.uint8), r"slice1\.tif holds 3 slices"),
    ],
)
def test_the_odd_slice_of_a_folder_is_named(
    odd: NDArray[Any], found: str, tmp_path: Path
) -> None:
    tiff(np.zeros((4, 5), np.uint8))(tmp_path / "slice0.tif")
    tiff(odd)(tmp_path / "slice1.tif")

    with pytest.raises(VolumeError, match=found):
        open_volume(tmp_path)


def test_hdf5_takes_the_dataset_that_is_named(tmp_path: Path) -> None:
    hdf5(one=GREY, two__raw=GREY[::-1])(tmp_path / "a.h5")

    volume = open_volume(f"{tmp_path / 'a.h5'}:/two/raw")

    assert volume.name == "a.h5"
    np.testing.assert_array_equal(volume.slab(0, 5), GREY[::-1])


@pytest.mark.parametrize("name", ["a.tif", "a.h5", "a.zarr"])
def test_threads_read_the_same_volume_at_once(name: str, tmp_path: Path) -> None:
    writers: dict[str, Writer] = {
        "a.tif": tiff(compression="zlib"),
        "a.h5": hdf5(exchange__data=GREY),
        "a.zarr": zarr_array,
    }
    writers[name](tmp_path / name)
    volume = open_volume(tmp_path / name)
    order = [0, 3, 1, 4, 2] * 50

    with ThreadPoolExecutor(5) as pool:
        slabs = list(pool.map(lambda z: volume.slab(z, z + 1)[0], order))

    np.testing.assert_array_equal(slabs, GREY[order])


def cut(write: Writer, n_bytes: int) -> Writer:
    """Keep the first `n_bytes`, or all but the last `-n_bytes`."""

    def write_cut(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[:n_bytes])

    return write_cut


def broken_header(path: Path) -> None:
    np.save(path, GREY)
    path.write_bytes(path.read_bytes().replace(b"(5, 7, 6)", b"(5, 7, 6("))


def corrupt_zarr(path: Path) -> None:
    zarr_array(path)
    (path / "zarr.json").write_text("{ this is no JSON")


def missing_level(path: Path) -> None:
    ome_zarr("0.5")(path)
    (path / "full" / "zarr.json").unlink()


def no_image(path: Path) -> None:
    zarr.create_group(path).create_array("one", data=GREY)


def huge_npy(path: Path) -> None:
    np.save(path, GREY)
    header = path.read_bytes().replace(b"(5, 7, 6), }      ", b"(9999999, 7, 6), }")
    path.write_bytes(header)


def huge_tiff(path: Path) -> None:
    """Promise 2**31 rows in a tag."""
    tiff(GREY[0], metadata=None)(path)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name in ("ImageLength", "RowsPerStrip"):
            tif.pages.first.tags[name].overwrite(2**31, dtype="I")


def folder_of_text(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("no slice")


def two_images(path: Path) -> None:
    with tifffile.TiffWriter(path) as tif:
        tif.write(GREY)
        tif.write(GREY[:, :3])


COLOUR = np.zeros((40, 50, 3), np.uint8)
BAD: list[tuple[str, Writer, str]] = [
    ("missing.tif", lambda _: None, "there is no file or folder .*missing.tif"),
    (
        "slices",
        folder_of_text,
        "the folder slices holds neither TIFF slices nor a Zarr",
    ),
    ("a.tif", text(b""), r"a\.tif is empty \(0 bytes\)"),
    ("a.png", text(b"\x89PNG"), r"a\.png is not of a known type; expected \.tif"),
    ("a.tif", text(b"no TIFF at all"), r"a\.tif cannot be read"),
    ("a.h5", text(b"no HDF5 at all"), r"a\.h5 cannot be read"),
    ("text.npy", text(b"no array at all"), r"text\.npy cannot be read"),
    ("pickle.npy", npy(np.array([{}, []], object)), r"pickle\.npy cannot be read"),
    ("cut.npy", cut(npy(GREY), 300), r"cut\.npy cannot be read"),
    ("huge.npy", huge_npy, r"huge\.npy cannot be read"),
    ("huge.tif", huge_tiff, r"huge\.tif"),
    ("cut.h5", cut(hdf5(exchange__data=GREY), 1000), r"cut\.h5 cannot be read"),
    ("header.npy", broken_header, r"header\.npy cannot be read"),
    ("a.zarr", corrupt_zarr, r"a\.zarr cannot be read"),
    ("level.zarr", missing_level, r"level\.zarr cannot be read"),
    ("a.zarr", no_image, r"Zarr group without an image; .* \(it holds one\)"),
    ("plain.tif", cut(tiff(), 500), r"plain\.tif is truncated"),
    ("deflate.tif", cut(tiff(compression="zlib"), 600), r"deflate\.tif is truncated"),
    ("imagej.tif", cut(tiff(imagej=True), 500), r"imagej\.tif is truncated"),
    (
        "one-page.tif",
        cut(tiff(GREY[0], compression="zlib"), -10),
        r"one-page\.tif is truncated",
    ),
    ("virtual.tif", cut(imagej_of_one_page, -10), r"virtual\.tif is truncated"),
    ("a.tif", lambda path: tifffile.imwrite(path, COLOUR), "is a colour image .* grey"),
    ("a.npy", npy(COLOUR), r"colour image \(40, 50, 3\); convert it to grey"),
    ("a.npy", npy(COLOUR[None]), "colour image"),
    ("a.tif", tiff(np.zeros((2, 3, 4, 5), np.uint8)), "axes .*YX of 2 × 3 × 4 × 5"),
    ("a.npy", npy(np.zeros((2, 3, 4, 5))), "4 axes of 2 × 3 × 4 × 5; expected z, y, x"),
    ("a.npy", npy(np.zeros(5)), "1 axes of 5; expected z, y, x"),
    (
        "a.zarr",
        ome_zarr("0.4", names="tczyx", array=np.stack([GREY, GREY])[:, None]),
        "axes tczyx of 2 × 1 × 5 × 7 × 6",
    ),
    ("a.zarr", ome_zarr("0.5", names="cyx"), "axes cyx of 5 × 7 × 6"),
    ("a.zarr", ome_zarr("0.5", names="xyz"), "axes xyz of 5 × 7 × 6; expected z, y, x"),
    ("a.zarr", ome_zarr("0.5", names="zxy"), "axes zxy of 5 × 7 × 6"),
    ("a.zarr", ome_zarr("0.5", names="yxc"), "axes yxc of 5 × 7 × 6"),
    (
        "a.zarr",
        ome_zarr("0.5", names="xy", array=GREY[0], scale=(1, 1)),
        "axes xy of 7 × 6",
    ),
    ("a.tif", channels(mode="composite"), "axes CYX of 5 × 7 × 6; expected z, y, x"),
    ("a.tif", channels(mode="color"), "axes CYX of 5 × 7 × 6"),
    ("a.tif", two_images, r"holds 2 images, of shapes \[\(5, 7, 6\), \(5, 3, 6\)\]"),
    ("a.npy", npy(np.zeros((0, 4, 5))), r"a\.npy"),
    ("a.h5", hdf5(exchange__data=np.zeros((0, 4, 5))), r"no voxel.*\(0, 4, 5\)"),
    ("a.npy", npy(GREY.astype(np.complex64)), "complex numbers; expected integers"),
    ("a.npy", npy(np.zeros((2, 2, 2), "i4,f4")), "expected integers or real numbers"),
    ("a.h5", hdf5(one=GREY, two=GREY), r"/one \(5, 7, 6\), /two .*a\.h5:/one$"),
    ("a.h5", hdf5(angles=np.zeros(3)), r"no 3D dataset; it holds /angles \(3,\)"),
]


@pytest.mark.parametrize(("name", "write", "message"), BAD)
def test_what_is_no_grey_volume_is_refused_in_one_line(
    name: str, write: Writer, message: str, tmp_path: Path
) -> None:
    write(tmp_path / name)

    with pytest.raises(VolumeError, match=message) as caught:
        open_volume(tmp_path / name)

    assert "\n" not in str(caught.value)


def test_a_missing_dataset_is_answered_with_those_that_are_there(
    tmp_path: Path,
) -> None:
    hdf5(one=GREY)(tmp_path / "a.h5")

    with pytest.raises(
        VolumeError, match=r"no dataset /two; it holds /one \(5, 7, 6\)"
    ):
        open_volume(f"{tmp_path / 'a.h5'}:/two")


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_tiff_cut_anywhere_is_refused_or_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    options: dict[str, Any] = data.draw(
        st.sampled_from(
            [
                {},
                {"compression": "zlib"},
                {"compression": "zlib", "bigtiff": True},
                {"imagej": True},
                {"ome": True, "compression": "lzw"},
                {"tile": (16, 16)},
                {"metadata": None},
            ]
        )
    )
    path = tmp_path_factory.mktemp("cut") / "a.tif"
    tiff(**options)(path)
    n_bytes = data.draw(st.integers(1, path.stat().st_size - 1))
    path.write_bytes(path.read_bytes()[:n_bytes])

    try:
        slab = open_volume(path).slab(0, 5)
    except VolumeError:
        return

    np.testing.assert_array_equal(slab, GREY)


@pytest.mark.parametrize(
    ("options", "n_bytes"),
    [
        ({"compression": "zlib"}, 744),
        ({"compression": "zlib", "bigtiff": True}, 902),
        ({"tile": (16, 16)}, 1646),
    ],
)
def test_a_tiff_cut_within_its_tags_is_refused(
    tmp_path: Path, options: dict[str, Any], n_bytes: int
) -> None:
    path = tmp_path / "a.tif"
    tiff(**options)(path)
    path.write_bytes(path.read_bytes()[:n_bytes])

    with pytest.raises(VolumeError, match="truncated"):
        open_volume(path)


def test_a_page_that_does_not_decode_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tiff(compression="zlib")(path)
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[3].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 20] = b"\xff" * 20
    path.write_bytes(content)
    volume = open_volume(path)

    with pytest.raises(VolumeError, match=r"slices 3:4 of a\.tif cannot be read"):
        volume.slab(3, 4)


@pytest.mark.parametrize("codec", ["gzip", "lzma"])
def test_a_chunk_that_does_not_decode_is_named_when_it_is_read(
    codec: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(
        path, data=GREY, chunks=GREY.shape, compressors={"id": codec}, zarr_format=2
    )
    (chunk,) = path.rglob("0*.0")
    content = bytearray(chunk.read_bytes())
    content[12:30] = b"\xff" * 18
    chunk.write_bytes(content)

    with pytest.raises(VolumeError, match=r"slices 3:4 of a\.zarr cannot be read"):
        open_volume(path).slab(3, 4)


@pytest.mark.parametrize("cname", ["lz4", "zlib", "zstd"])
def test_a_damaged_blosc_chunk_is_an_error(cname: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    compressor = {"id": "blosc", "cname": cname}
    zarr.create_array(path, data=GREY, compressors=compressor, zarr_format=2)
    (chunk,) = path.rglob("0*.0")
    content = chunk.read_bytes()

    negative = content[:7] + b"\xff" + content[8:]  # number of bytes
    for damage in (content[:10], b"", bytes(len(content)), negative):
        chunk.write_bytes(damage)
        with pytest.raises(VolumeError, match=r"of a\.zarr cannot be read"):
            open_volume(path).slab(0, 5)
        with pytest.raises(VolumeError, match=r"of a\.zarr cannot be read"):
            as_mask(open_volume(path), shape=GREY.shape).slab(0, 5)


@pytest.mark.parametrize("dtype", ["?", "u1", "i4", "u8"])
def test_labels_are_uint8_whatever_their_file_holds(dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), dtype))

    labels = open_labels(tmp_path / "a.npy")

    assert labels.dtype == np.uint8
    assert labels.slab(0, 2).dtype == np.uint8
    assert (labels.slab(0, 2) == 1).all()


def test_float_labels_are_refused_at_once(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), np.float32))

    with pytest.raises(
        VolumeError, match=r"a\.npy holds float32 values; labels are whole"
    ):
        open_labels(tmp_path / "a.npy")


@pytest.mark.parametrize("wrong", [-1, 256, 70_000])
def test_labels_out_of_range_are_refused_with_their_slice(
    wrong: int, tmp_path: Path
) -> None:
    array = np.zeros((9, 3, 4), np.int32)
    array[6, 1, 2] = wrong
    np.save(tmp_path / "a.npy", array)
    labels = open_labels(tmp_path / "a.npy")

    assert not labels.slab(0, 6).any()
    with pytest.raises(VolumeError, match=rf"a\.npy holds {wrong} in slice z = 6;"):
        labels.slab(5, 8)
    with pytest.raises(VolumeError, match=rf"a\.npy holds {wrong} in slice z = 6;"):
        labels.slab(1, 2, axis="y")


def test_an_array_keeps_what_is_said_about_it() -> None:
    volume = as_volume(
        GREY[0], name="layer", voxel_size=(1.0, 2.0, 3.0), unit="nanometer"
    )

    assert volume.shape == (1, 7, 6)
    assert (volume.name, volume.voxel_size) == ("layer", (1, 2, 3))
    assert volume.unit == "nanometer"


@pytest.mark.parametrize(
    ("spelling", "unit"),
    [("um", "micrometer"), ("nm", "nanometer"), ("pixel", None), ("furlong", None)],
)
def test_a_unit_is_spelt_as_in_ome_ngff(spelling: str, unit: str | None) -> None:
    volume = as_volume(GREY, voxel_size=(1.0, 2.0, 3.0), unit=spelling)

    assert (volume.voxel_size, volume.unit) == ((1, 2, 3), unit)
    assert Volume(array=GREY, name="a", unit=spelling).unit == unit


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 3), (3, 9, 4)])
def test_a_tiny_volume_is_no_colour_image(shape: tuple[int, int, int]) -> None:
    volume = as_volume(np.zeros(shape, np.uint8))

    assert volume.shape == shape


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("10", (10,)),
        ("10,30", (10, 30)),
        ("50:53", (50, 51, 52)),
        ("10,50:52", (10, 50, 51)),
        (" 3 , 1 : 3 ", (1, 2, 3)),
        ("2,2,1:3", (1, 2)),
        ("0", (0,)),
    ],
)
def test_slices_are_read_in_ascending_order(
    choice: str, expected: tuple[int, ...]
) -> None:
    assert parse_slices(choice, n_slices=60) == expected


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("", "must look like 0, 0,2 or 1:3 (3 excluded), got ''"),
        ("ten", "must look like"),
        ("10,", "must look like"),
        ("-1", "must look like"),
        ("1.5", "must look like"),
        ("5:", "must look like"),
        ("1:2:3", "must look like"),
        ("60:50", "the range 60:50 of slices '60:50' is empty"),
        ("50:50", "is empty"),
        ("60", "slice 60 of '60' does not exist: there are 60 slices, 0 to 59"),
        ("10,55:61", "slice 60 of '10,55:61' does not exist"),
    ],
)
def test_slices_that_mean_nothing_are_refused(choice: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_slices(choice, n_slices=60)


@given(st.sets(st.integers(0, 500), min_size=1))
def test_slices_written_one_by_one_come_back(slices: set[int]) -> None:
    choice = ",".join(map(str, slices))

    assert parse_slices(choice) == tuple(sorted(slices))
