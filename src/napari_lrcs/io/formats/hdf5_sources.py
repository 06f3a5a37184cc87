"""Find and check everything that a dataset of an HDF5 file is read from."""

import importlib
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.watching import Signature, signature

_MAX_LINKS = 16
"""Longest chain of links that HDF5 itself follows."""

_MAX_DEPTH = 8
"""Deepest nesting of virtual datasets that is followed."""

_MAX_VALUES = 10_000_000
"""Largest dataset that is read as metadata; far more values than an axis has."""


def find_dataset(file: h5py.File, path: str) -> h5py.Dataset | None:
    """Open a dataset without reading it; None if there is none at `path`.

    Raises
    ------
    VolumeError
        If the path leads to another file.
    """
    _check_links(file, path)
    node = file.get(path)
    return node if isinstance(node, h5py.Dataset) else None


def find_group(parent: h5py.Group, path: str) -> h5py.Group | None:
    """Open a group; None if there is none at `path`, or it is in another file."""
    with suppress(VolumeError):
        _check_links(parent, path)
        node = parent.get(path)
        return node if isinstance(node, h5py.Group) else None
    return None


def read_values(file: h5py.File, path: str) -> tuple[NDArray[Any], str]:
    """Read a dataset of numbers or strings, and its unit.

    Parameters
    ----------
    file : h5py.File
        Open file.
    path : str
        Path of a scalar or one-dimensional dataset.

    Returns
    -------
    values : ndarray, shape (n,)
        Empty if there is no such dataset in this file.
    unit : str
        As spelled in the file; empty if it gives none.
    """
    nothing = np.empty(0), ""
    try:
        node = find_dataset(file, path)
    except VolumeError:
        return nothing
    if node is None or node.is_virtual or node.external:
        return nothing
    if len(node.shape or ()) > 1 or not 0 < (node.size or 0) <= _MAX_VALUES:
        return nothing
    return np.atleast_1d(node[()]), decoded(node.attrs.get("units"))


def decoded(value: object) -> str:
    """Return a string in any form that HDF5 stores it in; empty for other values."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def check_sources(node: h5py.Dataset, signatures: dict[Path, Signature]) -> None:
    """Check that all sources of a dataset exist and can be decompressed.

    Parameters
    ----------
    node : h5py.Dataset
        Dataset to check.
    signatures : dict of Path to Signature
        The source files of a virtual dataset are added to it, links resolved.

    Raises
    ------
    VolumeError
        If a source is missing or not allowed, or a filter is not installed.
    """
    _Sources(signatures).check(node)


def _check_links(group: h5py.Group, path: str, *, n_left: int = _MAX_LINKS) -> None:
    """Refuse links to other files before HDF5 opens those files."""
    if path.startswith("/"):
        group = group["/"]
    for part in filter(None, path.split("/")):
        link = _link(group, part)
        if isinstance(link, h5py.ExternalLink):
            raise VolumeError(
                f"{path} of {Path(group.file.filename).name} is a link to the file "
                f"{link.filename}; external links are not followed: open that file "
                "instead"
            )
        if isinstance(link, h5py.SoftLink) and n_left > 0:
            _check_links(group, link.path, n_left=n_left - 1)
        node = None if link is None else group.get(part)
        if not isinstance(node, h5py.Group):
            return
        group = node


def _link(
    group: h5py.Group, name: str
) -> h5py.HardLink | h5py.SoftLink | h5py.ExternalLink | None:
    """Look up a link without following it; `Group.get` would follow it."""
    links, key = group.id.links, name.encode()
    if name == ".":
        return h5py.HardLink()
    if not links.exists(key):
        return None
    kind = links.get_info(key).type
    if kind == h5py.h5l.TYPE_EXTERNAL:
        file, path = links.get_val(key)
        return h5py.ExternalLink(file.decode(errors="replace"), path.decode())
    if kind == h5py.h5l.TYPE_SOFT:
        return h5py.SoftLink(links.get_val(key).decode())
    return h5py.HardLink()


# Where the voxels are stored


@dataclass(frozen=True, slots=True)
class _Sources:
    """Checks that all sources of a dataset exist, and collects the files."""

    signatures: dict[Path, Signature]
    checked: set[tuple[Path, str]] = field(default_factory=set)

    def check(self, node: h5py.Dataset, *, n_left: int = _MAX_DEPTH) -> None:
        place = Path(node.file.filename)
        if node.external:
            raise VolumeError(
                f"{node.name} of {place.name} is stored in another file, "
                f"{node.external[0][0]}; external storage is not read: copy it into "
                "an ordinary dataset"
            )
        _check_filters(node)
        if not node.is_virtual or (place, node.name) in self.checked:
            return
        if n_left == 0:
            raise VolumeError(
                f"{node.name} of {place.name} is a virtual dataset with more than "
                f"{_MAX_DEPTH} levels; copy it into an ordinary dataset"
            )
        for source in node.virtual_sources():
            self._check_source(node, source, n_left=n_left - 1)
        self.checked.add((place, node.name))

    def _check_source(self, node: h5py.Dataset, source: Any, *, n_left: int) -> None:
        place = Path(node.file.filename)
        names = (source.file_name, source.dset_name)
        if any(re.search(r"%\d*b", name) for name in names):
            raise VolumeError(
                f"{node.name} of {place.name} is a virtual dataset with numbered "
                f"sources ({':'.join(names)}), which are not supported; copy it into "
                "an ordinary dataset"
            )
        is_same_file = source.file_name == "."
        file = place if is_same_file else place.parent / source.file_name
        if not file.is_file():
            raise _missing_source(node, source)
        self.signatures.setdefault(file.resolve(), signature(file))
        with h5py.File(file, "r") as opened:
            found = find_dataset(opened, source.dset_name)
            if found is None or not _holds(found, source):
                raise _missing_source(node, source)
            self.check(found, n_left=n_left)


def _missing_source(node: h5py.Dataset, source: Any) -> VolumeError:
    return VolumeError(
        f"{node.name} of {Path(node.file.filename).name} is a virtual dataset, and its "
        f"source {source.file_name}:{source.dset_name} is missing or too small; "
        "restore it, or copy the dataset again"
    )


def _holds(found: h5py.Dataset, source: Any) -> bool:
    """Return whether a dataset has all voxels that a virtual one reads from it."""
    selected = source.src_space
    if selected.get_select_type() == h5py.h5s.SEL_ALL:
        return bool(found.size == source.vspace.get_select_npoints())
    if 0 in selected.shape:  # as many as there are
        return len(found.shape) == len(selected.shape)
    _, last = selected.get_select_bounds()
    return len(last) == len(found.shape) and all(
        place < length for place, length in zip(last, found.shape, strict=True)
    )


def _check_filters(node: h5py.Dataset) -> None:
    """Refuse a dataset that is compressed with a filter that is not installed."""
    properties = node.id.get_create_plist()
    for i in range(properties.get_nfilters()):
        number, _, _, name = properties.get_filter(i)
        if _has_filter(number):
            continue
        known_as = name.decode(errors="replace").split(";")[0] or "a filter"
        raise VolumeError(
            f"{node.name} of {Path(node.file.filename).name} is compressed with "
            f"{known_as} (HDF5 filter {number}), which is not installed; install it, "
            "most likely with: pip install hdf5plugin"
        )


def _has_filter(number: int) -> bool:
    if not h5py.h5z.filter_avail(number):
        with suppress(ImportError):
            importlib.import_module("hdf5plugin")  # registers its filters
    return bool(h5py.h5z.filter_avail(number))
