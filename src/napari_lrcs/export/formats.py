"""The formats that networks are exported in, and what they need.

Importing this module loads no torch.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from napari_lrcs.errors import LrcsError
from napari_lrcs.io.writing import check_new

Format = Literal["onnx", "bioimageio"]

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "bioimageio": ".zip"}

LICENSE = "CC-BY-4.0"
"""What most models of bioimage.io have."""

_NEEDED: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "bioimageio": ("onnx", "onnxscript", "onnxruntime", "bioimageio.core"),
}

_NAME = re.compile(r"[A-Za-z0-9_+\- ()]{5,128}")
"""As bioimageio.spec has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageInfo:
    """What a package of bioimage.io says of a network besides what the network knows.

    Parameters
    ----------
    name : str
        Of the model: 5 to 128 letters, digits, blanks and ``_+-()``; empty for one that
        is made from the network and its phases.
    authors : tuple of str
        Names of those who trained it.
    license : str
        SPDX identifier, such as ``CC-BY-4.0`` or ``MIT``.

    Raises
    ------
    ValueError
        If the name is too short or too long, or has another character, or if an author
        has no name, or one with a slash.
    """

    name: str = ""
    authors: tuple[str, ...] = ()
    license: str = LICENSE

    def __post_init__(self) -> None:
        if self.name and not _NAME.fullmatch(self.name):
            raise ValueError(
                f"the name {self.name!r} cannot be that of a model of bioimage.io; "
                "give one of 5 to 128 letters, digits, blanks and _+-()"
            )
        for author in self.authors:
            if not author.strip() or "/" in author:
                raise ValueError(f"{author!r} cannot be the name of an author")


def format_of(path: Path) -> Format:
    """Tell the format by the suffix of a file's name.

    Raises
    ------
    ValueError
        If it is that of no format.
    """
    for format_, suffix in SUFFIXES.items():
        if path.suffix.lower() == suffix:
            return format_
    known = " or ".join(f"{suffix} ({f})" for f, suffix in SUFFIXES.items())
    raise ValueError(f"a network cannot be exported to {path.name}: end it in {known}")


def check_export(path: Path, format_: Format, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, or a format that lacks its libraries.

    Raises
    ------
    ValueError
        If the name has another suffix than the format's, or is that of a folder.
    LrcsError
        If a library is not installed, or as `check_new` does.
    """
    suffix = SUFFIXES[format_]
    if path.suffix.lower() != suffix:
        raise ValueError(
            f"the format {format_} cannot be written to {path.name}: its name must end "
            f"in {suffix}"
        )
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file")
    check_new(path, overwrite=overwrite)
    for module in _NEEDED[format_]:
        try:
            import_module(module)
        except ImportError as error:
            raise LrcsError(
                f"exporting to {format_} needs {module}, which is not installed; "
                'install it: pip install "napari-lrcs[export]"'
            ) from error
    if format_ == "bioimageio":
        _check_pydantic()


def check_license(identifier: str) -> None:
    """Refuse what is not the SPDX identifier of a license.

    Raises
    ------
    ValueError
        If there is no such license; needs bioimageio.spec.
    """
    from bioimageio.spec.generic.v0_3 import LicenseId

    try:
        LicenseId(identifier)
    except ValueError as error:
        raise ValueError(
            f"{identifier!r} is not the SPDX identifier of a license, such as "
            "CC-BY-4.0, MIT or BSD-3-Clause"
        ) from error


def _check_pydantic() -> None:
    """Refuse versions that do not work together.

    Up to 0.5.13, bioimageio.spec calls pydantic in a way that 2.14 refuses (pydantic's
    pull request 13506), so that it can read no package.
    """
    pydantic, spec = version("pydantic"), version("bioimageio.spec")
    if _numbers(pydantic) >= (2, 14) and _numbers(spec) < (0, 5, 14):
        raise LrcsError(
            f"bioimageio.spec {spec} does not work with pydantic {pydantic}; install "
            'an older one: pip install "pydantic<2.14"'
        )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))
