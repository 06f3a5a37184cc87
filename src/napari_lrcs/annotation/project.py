"""Open annotated volumes: one by its files, or several that a TOML file names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_lrcs.annotation.annotation import ROLES, AnnotatedVolume, Role
from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.workspace import fallback_folder, workspace_of
from napari_lrcs.io.opening import open_to_share, split_dataset
from napari_lrcs.io.records import read_toml
from napari_lrcs.io.volume import as_labels, parse_slices
from napari_lrcs.preprocessing.mask import open_mask


def read_project(path: Path) -> list[AnnotatedVolume]:
    """Open the volumes that a TOML file names.

    Parameters
    ----------
    path : Path
        One table ``[[volume]]`` per volume: ``image``, ``labels`` (paths relative to
        the file), ``train``, ``validation``, ``test`` (slices as on the command line)
        and ``mask``.

    Raises
    ------
    ValueError
        If the file is not valid TOML, or a key is missing or unknown.
    """
    try:
        tables = read_toml(path, dict[str, Any]).get("volume", [])
    except ValueError as error:
        raise ValueError(f"{path.name} is not a valid TOML file: {error}") from error
    is_list = isinstance(tables, list) and all(isinstance(t, dict) for t in tables)
    if not tables or not is_list:
        raise ValueError(f"{path.name} names no volume; expected [[volume]] tables")
    return [_open_entry(table, path) for table in tables]


def _open_entry(table: Mapping[str, object], project: Path) -> AnnotatedVolume:
    unknown = sorted(set(table) - {"image", "labels", "mask", *ROLES})
    missing = sorted({"image", "labels"} - set(table))
    if unknown or missing:
        raise ValueError(
            f"{project.name}: a [[volume]] takes image, labels, mask, "
            f"{', '.join(ROLES)}; unknown: {unknown or 'none'}, missing: "
            f"{missing or 'none'}"
        )
    folder = project.parent
    mask = table.get("mask")
    if mask is not None and mask != "cylinder":
        mask = str(folder / str(mask))
    return open_annotated(
        folder / str(table["image"]),
        folder / str(table["labels"]),
        slices={role: str(table[role]) for role in ROLES if role in table},
        mask=None if mask is None else str(mask),
    )


def open_annotated(
    image: Path,
    labels: Path,
    *,
    slices: Mapping[Role, str],
    mask: str | None = None,
    leave_out: Sequence[Path] = (),
) -> AnnotatedVolume:
    """Open a volume and its painting; slices as on the command line ("10,30").

    Parameters
    ----------
    leave_out : sequence of Path
        Folders of check patches, besides those in the workspace of the image.

    Raises
    ------
    VolumeError
        If a file or check patches are damaged.
    """
    volume = open_to_share(image)
    return AnnotatedVolume(
        image=volume,
        labels=as_labels(open_to_share(labels)),
        roles={role: parse_slices(text) for role, text in slices.items()},
        mask=open_mask(mask, shape=volume.shape),
        checks=read_checks(image, leave_out, shape=volume.shape),
    )


def read_checks(
    image: Path, leave_out: Sequence[Path] = (), *, shape: tuple[int, int, int]
) -> tuple[Check, ...]:
    """Read the check patches in the workspace of an image, and in other folders.

    Raises
    ------
    VolumeError
        If some are damaged, or a folder has none.
    """
    file, _ = split_dataset(image)
    beside = workspace_of(file, name=file.name, fallback=fallback_folder())
    others = (CheckFolder(path).read() for path in leave_out)
    checks = (*beside.read_checks(shape), *others)
    return tuple({check.id: check for check in checks}.values())
