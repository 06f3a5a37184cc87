"""Open datasets of HDF5 files that are complete and lie in files of their own."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.watching import Signature, signature

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".nxs")

_DATA_EXCHANGE = "/exchange/data"  # De Carlo et al. 2014, 10.1107/S160057751401604X

_MOST_LINKS = 16
"""Links in a row that HDF5 itself follows."""

_MOST_FILES_DEEP = 8
"""Virtual datasets of virtual datasets that are followed."""


def open_dataset(
    place: Path, dataset: str | None
) -> tuple[h5py.Dataset, dict[Path, Signature]]:
    """Open a dataset, and look for all that it is read from.

    Parameters
    ----------
    place : Path
        HDF5 file.
    dataset : str or None
        Path of the dataset; None is ``/exchange/data``, or the only 3D dataset.

    Returns
    -------
    dataset : h5py.Dataset
        Its file stays open for as long as it is in use.
    signatures : dict of Path to Signature
        The file, and the source files of a virtual dataset, links resolved.

    Raises
    ------
    VolumeError
        If there is no such dataset, or it is read from somewhere that is missing or
        that is refused.
    """
    signatures = {place.resolve(): signature(place)}
    file = h5py.File(place, "r")
    node = _find(file, dataset or _DATA_EXCHANGE)
    if node is None and dataset is None:
        node = _only_volume(file)
    if node is None:
        raise _no_dataset(file, dataset or _DATA_EXCHANGE)
    _Sources(signatures).check(node)
    return node, signatures


def _find(file: h5py.File, path: str) -> h5py.Dataset | None:
    _check_links(file, path)
    node = file.get(path)
    return node if isinstance(node, h5py.Dataset) else None


def _shapes(file: h5py.File) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def collect(path: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            shapes[f"/{path}"] = node.shape or ()

    file.visititems(collect)
    return shapes


def _only_volume(file: h5py.File) -> h5py.Dataset | None:
    volumes = [path for path, shape in _shapes(file).items() if len(shape) == 3]
    return file[volumes[0]] if len(volumes) == 1 else None


def _no_dataset(file: h5py.File, wanted: str) -> VolumeError:
    name = Path(file.filename).name
    listing = ", ".join(f"{path} {shape}" for path, shape in _shapes(file).items())
    return VolumeError(
        f"{name} has no dataset {wanted} but {listing or 'none at all'}; "
        f"name the one that is meant, as in {name}:/path/to/dataset"
    )


def _check_links(group: h5py.Group, path: str, *, n_left: int = _MOST_LINKS) -> None:
    """Refuse links to other files, before HDF5 opens these, whatever they are."""
    if path.startswith("/"):
        group = group["/"]
    for part in filter(None, path.split("/")):
        link = _link(group, part)
        if isinstance(link, h5py.ExternalLink):
            raise VolumeError(
                f"{path} of {Path(group.file.filename).name} is a link to the file "
                f"{link.filename}; external links are not followed: open that file"
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
    """Look up a link without following it, as `Group.get` would."""
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


# Where the voxels lie


@dataclass(frozen=True, slots=True)
class _Sources:
    """Checks that all that a dataset is read from is there, and notes the files."""

    signatures: dict[Path, Signature]
    checked: set[tuple[Path, str]] = field(default_factory=set)

    def check(self, node: h5py.Dataset, *, n_left: int = _MOST_FILES_DEEP) -> None:
        place = Path(node.file.filename)
        if node.external:
            raise VolumeError(
                f"{node.name} of {place.name} lies in another file, "
                f"{node.external[0][0]}; external storage is not read: copy it into "
                "an ordinary dataset"
            )
        if not node.is_virtual or (place, node.name) in self.checked:
            return
        if n_left == 0:
            raise VolumeError(
                f"{node.name} of {place.name} is virtual over more than "
                f"{_MOST_FILES_DEEP} levels; copy it into an ordinary dataset"
            )
        for source in node.virtual_sources():
            self._check_source(node, source, n_left=n_left - 1)
        self.checked.add((place, node.name))

    def _check_source(self, node: h5py.Dataset, source: Any, *, n_left: int) -> None:
        place = Path(node.file.filename)
        names = (source.file_name, source.dset_name)
        if any(re.search(r"%\d*b", name) for name in names):
            raise VolumeError(
                f"{node.name} of {place.name} is virtual, of numbered sources "
                f"({':'.join(names)}); these are not supported: copy it into an "
                "ordinary dataset"
            )
        is_same_file = source.file_name == "."
        file = place if is_same_file else place.parent / source.file_name
        if not file.is_file():
            raise _missing_source(node, source)
        self.signatures.setdefault(file.resolve(), signature(file))
        with h5py.File(file, "r") as opened:
            found = _find(opened, source.dset_name)
            if found is None or not _holds(found, source):
                raise _missing_source(node, source)
            self.check(found, n_left=n_left)


def _missing_source(node: h5py.Dataset, source: Any) -> VolumeError:
    return VolumeError(
        f"{node.name} of {Path(node.file.filename).name} is virtual, and its source "
        f"{source.file_name}:{source.dset_name} is missing or too small; put it back, "
        "or copy the dataset again"
    )


def _holds(found: h5py.Dataset, source: Any) -> bool:
    """Tell whether a dataset has all voxels that a virtual one takes from it."""
    selected = source.src_space
    if selected.get_select_type() == h5py.h5s.SEL_ALL:
        return bool(found.size == source.vspace.get_select_npoints())
    if 0 in selected.shape:  # as many as there are
        return len(found.shape) == len(selected.shape)
    _, last = selected.get_select_bounds()
    return len(last) == len(found.shape) and all(
        place < length for place, length in zip(last, found.shape, strict=True)
    )
