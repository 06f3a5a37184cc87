"""Ways to damage files, byte by byte or by what their parts mean."""

import json
import os
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

# ---- bytes ----


def flip(rng: Random, data: bytes) -> bytes:
    mutated = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        mutated[place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(mutated)


def truncate(rng: Random, data: bytes) -> bytes:
    return data[: place(rng, data)]


def insert(rng: Random, data: bytes) -> bytes:
    start = place(rng, data)
    return data[:start] + rng.randbytes(rng.choice((1, 4, 100))) + data[start:]


def delete(rng: Random, data: bytes) -> bytes:
    start = place(rng, data)
    return data[:start] + data[start + rng.choice((1, 4, 100)) :]


def zeros(rng: Random, data: bytes) -> bytes:
    start, n = place(rng, data), rng.choice((1, 4, 100, 10_000))
    return data[:start] + bytes(len(data[start : start + n])) + data[start + n :]


def repeat(rng: Random, data: bytes) -> bytes:
    start, n = place(rng, data), rng.choice((1, 4, 100))
    return data[: start + n] + data[start:]


def empty(_rng: Random, _data: bytes) -> bytes:
    return b""


def noise(rng: Random, data: bytes) -> bytes:
    return rng.randbytes(len(data))


BYTES = (flip, flip, truncate, insert, delete, zeros, repeat, empty, noise)


def place(rng: Random, data: bytes) -> int:
    """Choose a byte, often in the header."""
    n = min(len(data), 200) if rng.random() < 0.4 else len(data)
    return int(rng.random() * n)


# ---- values ----

DEEP = "@deep@"
"""Stands for lists in lists, 100,000 of them."""

_N_DEEP = 100_000

TEXTS = (
    "",
    "x",
    "[/b]",
    "[bold red]x",
    "\x1b[31mred\x1b[0m",
    "a\nerror: forged",
    "a\rb",
    "\x00",
    "\x9b31m",
    "\u202egnp.exe",
    "\ud800",
    "=cmd|' /C calc'!A0",
    "../../outside",
    "/nowhere/null",
    "é" * 50_000,
    DEEP,
)

VALUES: tuple[Any, ...] = (
    *TEXTS,
    None,
    True,
    0,
    1,
    -1,
    256,
    2**31,
    2**63,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    [],
    [1],
    ["x", None],
    [[[]]],
    {},
    {"x": 1},
    {"__proto__": None},
)


def mutate_value(rng: Random, value: Any, values: Sequence[Any] = VALUES) -> Any:
    """Replace, remove or duplicate one part of nested lists and dicts."""
    holder: Any = None
    key: Any = None
    part = value
    # Step by step, so that the few outer parts are chosen as often as the many inner.
    while isinstance(part, dict | list) and part and rng.random() < 0.75:
        holder, key = (
            part,
            rng.choice(list(part) if isinstance(part, dict) else range(len(part))),
        )
        part = holder[key]
    way = rng.random()
    if holder is None:
        return rng.choice(values)
    if way < 0.1:
        del holder[key]
    elif way < 0.2 and isinstance(holder, list):
        holder.append(part)
    else:
        holder[key] = rng.choice(values)
    return value


def dumped(value: Any) -> str:
    """Write JSON, with what no encoder nests."""
    text = json.dumps(value)
    return text.replace(f'"{DEEP}"', "[" * _N_DEEP + "]" * _N_DEEP)


# ---- files by type ----


def mutate_json(rng: Random, path: Path) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(dumped(mutate_value(rng, value)), encoding="utf-8")


def mutate_toml(rng: Random, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    quoted = [m.span() for m in re.finditer(r'"[^"]*"|\[\[volume\]\]|\w+ =', text)]
    start, stop = rng.choice(quoted)
    text = text[:start] + dumped(rng.choice(VALUES)) + text[stop:]
    path.write_text(text, encoding="utf-8")


def mutate_safetensors(rng: Random, path: Path) -> None:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    metadata = header["__metadata__"]
    name = next(iter(metadata))
    if rng.random() < 0.7:
        metadata[name] = dumped(mutate_value(rng, json.loads(metadata[name])))
    else:
        header = mutate_value(rng, header)
    text = dumped(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def mutate_weights(rng: Random, path: Path) -> None:
    """Change one tensor, or what the header says of the network's size."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    weights = load_file(path)
    name = rng.choice(sorted(weights))
    weights[name] = _other_tensor(rng, weights[name])
    save_file(weights, path, metadata=metadata)


def _other_tensor(rng: Random, tensor: Any) -> Any:
    import torch

    others = [
        tensor.to(getattr(torch, dtype))
        for dtype in ("bfloat16", "float8_e4m3fn", "float64", "int8", "bool")
    ]
    others += [torch.full_like(tensor.float(), float(x)) for x in ("nan", "inf")]
    others += [tensor[..., None].clone(), tensor.reshape(-1)[:0].clone()]
    return rng.choice(others)


def mutate_size(rng: Random, path: Path) -> None:
    """Let a checkpoint promise a larger network than it holds."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    name, text = next(iter(header["__metadata__"].items()))
    field, value = rng.choice(
        (("n_filters", 1024), ("n_filters", 256), ("kernel_size", 15))
    )
    text = re.sub(rf'"{field}": *\d+', f'"{field}": {value}', text)
    header["__metadata__"][name] = text
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + data[8 + size :])


def mutate_state(rng: Random, path: Path) -> None:
    """Replace a value of what torch has saved."""
    import torch

    state = torch.load(path, weights_only=True)
    values = [value for value in VALUES if value not in (DEEP, 10**400)]
    values += [torch.zeros(3), torch.zeros(()), 1_000_000]
    torch.save(mutate_value(rng, state, values), path)


def mutate_table(rng: Random, path: Path) -> None:
    """Replace a cell of a CSV file."""
    lines = path.read_text(encoding="utf-8").splitlines() or [""]
    row = rng.randrange(len(lines))
    cells = lines[row].split(",")
    cells[rng.randrange(len(cells))] = str(rng.choice(VALUES))
    lines[row] = ",".join(cells)
    text = "\n".join(lines) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def mutate_tag(rng: Random, path: Path) -> None:
    """Overwrite the type, the count or the value of a tag of the first page."""
    data = bytearray(path.read_bytes())
    order = "<" if data[:2] == b"II" else ">"
    if data[2] != 42:
        path.write_bytes(flip(rng, bytes(data)))
        return
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (n_tags,) = struct.unpack_from(f"{order}H", data, start)
    tag = start + 2 + 12 * rng.randrange(n_tags)
    if rng.random() < 0.3:
        struct.pack_into(f"{order}H", data, tag + 2, rng.randrange(20))
    else:
        value = rng.choice((0, 1, 2, 3, 4, 255, 65_535, 2**31, 2**32 - 1, len(data)))
        struct.pack_into(f"{order}I", data, tag + rng.choice((4, 8)), value)
    path.write_bytes(data)


def mutate_phases_tag(rng: Random, path: Path) -> None:
    """Save a TIFF again with another tag for the phases."""
    import tifffile

    with tifffile.TiffFile(path) as tif:
        array, tag = tif.asarray(), tif.pages.first.tags.valueof(65311)
    known = json.loads(tag) if tag else {"napari_lrcs": {"phases": []}}
    text = dumped(mutate_value(rng, known))
    tags: list[tuple[Any, ...]] = [
        (65311, "s", 0, text, True),
        (65311, "s", 0, text, True),
        (65311, "I", 2, (1, 2), True),
        (65311, "B", 3, b"\xff\xfe\x00", True),
    ]
    tifffile.imwrite(path, array, extratags=[rng.choice(tags)])


def mutate_array(rng: Random, path: Path) -> None:
    """Save what was a TIFF or a NumPy array with other values or another type."""
    import tifffile

    array = tifffile.imread(path) if path.suffix == ".tif" else np.load(path)
    other = rng.choice(_other_arrays(array))
    if path.suffix == ".tif":
        tifffile.imwrite(path, other, photometric="minisblack")
    else:
        np.save(path, other)


def _other_arrays(array: Any) -> list[Any]:
    holed = array.astype(np.float32)
    holed.flat[7] = np.nan
    high = array.astype(np.float64)
    high.flat[7] = 1e300
    signed = array.astype(np.int64)
    signed.flat[7] = -1
    return [
        holed,
        high,
        signed,
        array.astype(np.uint64) + np.uint64(2**63 - 5000),
        array.astype(np.complex64),
        array.astype(bool),
        array.astype(np.float16),
        array[..., :1],
        array[:, :1],
        array[:1],
        array[..., :3],
        np.stack([array, array]),
        np.zeros_like(array),
        np.where(array > np.median(array), 255, 0).astype(np.uint8),
    ]


def mutate_numpy_header(rng: Random, path: Path) -> None:
    """Replace the shape, the type or the order in the header."""
    data = path.read_bytes()
    (size,) = struct.unpack("<H", data[8:10])
    header = data[10 : 10 + size].decode("latin-1")
    spans = [m.span(1) for m in re.finditer(r": ('[^']*'|\w+|\([^)]*\))", header)]
    start, stop = rng.choice(spans)
    value = rng.choice(("'|O'", "'<f8'", "'<U9'", "(-1,)", "(10**9,)", "()", "None"))
    header = (header[:start] + value + header[stop:])[: size - 1].ljust(size - 1) + "\n"
    path.write_bytes(data[:10] + header.encode("latin-1") + data[10 + size :])


def mutate_hdf5(rng: Random, path: Path) -> None:
    """Put something else in the place of a dataset or group."""
    import h5py

    places = ["exchange/data"]
    with h5py.File(path, "a") as file:
        file.visit(places.append)
        place = rng.choice([place for place in places if place in file])
        if rng.random() < 0.3:
            values = [v for v in VALUES if isinstance(v, str | int) and v != 10**400]
            value = rng.choice([*(v for v in values if v not in ("\ud800", "\x00"))])
            value = value % 2**63 if isinstance(value, int) else value
            file[place].attrs[rng.choice(_ATTRIBUTES)] = value
            return
        del file[place]
        _PUT[rng.randrange(len(_PUT))](file, place)


_ATTRIBUTES = ("element_size_um", "phases", "signal", "axes", "units")

_PUT: tuple[Callable[[Any, str], Any], ...] = (
    lambda file, at: file.create_group(at),
    lambda file, at: file.__setitem__(at, "text"),
    lambda file, at: file.__setitem__(at, 5),
    lambda file, at: file.__setitem__(at, np.zeros((3, 4, 5), "i4,f4")),
    lambda file, at: file.__setitem__(at, np.zeros((3, 0, 5))),
    lambda file, at: file.__setitem__(at, np.zeros((3, 4, 5), "S3")),
    lambda file, at: file.__setitem__(at, _h5py().SoftLink("/exchange/data")),
    lambda file, at: file.__setitem__(at, _h5py().ExternalLink("no.h5", "/x")),
    lambda file, at: file.__setitem__(at, _h5py().Empty("f4")),
)


def _h5py() -> Any:
    import h5py

    return h5py


# ---- files by what they are ----


def remove(_rng: Random, path: Path) -> None:
    path.unlink()


def make_fifo(_rng: Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_folder(_rng: Random, path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "mine.txt").write_text("years of work", encoding="utf-8")


def make_loop(_rng: Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def make_link(_rng: Random, path: Path) -> None:
    """Move the file elsewhere and link to it: not damaged at all."""
    # Out of all folders of the case: what they hold may count, and may be moved.
    case = next(p for p in path.parents if p.name.startswith("case-"))
    elsewhere = case.with_name(f"{case.name}-elsewhere{path.suffix}")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


Mutate = Callable[[Random, Path], None]

KINDS: tuple[Mutate, ...] = (remove, make_fifo, make_folder, make_loop, make_link)

BY_SUFFIX: dict[str, tuple[Mutate, ...]] = {
    ".json": (mutate_json,),
    ".toml": (mutate_toml,),
    ".safetensors": (mutate_safetensors, mutate_weights, mutate_size),
    ".pt": (mutate_state,),
    ".csv": (mutate_table,),
    ".txt": (mutate_table,),
    ".tif": (mutate_tag, mutate_phases_tag, mutate_array),
    ".npy": (mutate_numpy_header, mutate_array),
    ".h5": (mutate_hdf5,),
    # Zarr 2 keeps its JSON in files without a suffix.
    "": (mutate_json,),
}


def mutate_bytes(rng: Random, path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(rng.choice(BYTES)(rng, data) if data else b"?")


def mutate_file(rng: Random, path: Path) -> str:
    """Damage a file; returns how."""
    by_type = BY_SUFFIX.get(path.suffix, ())
    is_chunk = not path.suffix and not path.name.startswith(".z")
    way = rng.random()
    if by_type and not is_chunk and way < 0.65:
        mutate = rng.choice(by_type)
    elif way < 0.9:
        mutate = mutate_bytes
    else:
        mutate = rng.choice(KINDS)
    mutate(rng, path)
    return mutate.__name__


# ---- names ----

NAMES = (
    "[/b]",
    "[bold]x",
    "=cmd",
    "\x1b[31mred",
    "a\nerror: forged",
    "\udcff",
    "\u202egnp",
    "-x",
    "with space; $(touch x)",
    "a" * 200,
    "%s{0}",
    "é\u0301",
)
