"""Presets of settings by name: `config.PRESETS`, and the user's own, a file each."""

import re
from pathlib import Path

from platformdirs import user_config_path

from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.errors import ResultExistsError
from napari_lrcs.io.records import read_json, write_json

_NAME = re.compile(r"\w[\w.-]*")


def preset_names() -> list[str]:
    """List the names of all presets, the user's own last."""
    return [*PRESETS, *sorted(path.stem for path in _folder().glob("*.json"))]


def read_preset(name: str) -> TrainConfig:
    """Read a preset.

    Raises
    ------
    ValueError
        If there is none of that name, or its file is damaged.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name not in preset_names():
        raise ValueError(
            f"there is no preset {name!r}; known: {', '.join(preset_names())}"
        )
    try:
        return TrainConfig.from_dict(read_json(_file_of(name), dict[str, object]))
    except ValueError as error:
        raise ValueError(f"{_file_of(name)} is damaged: {error}") from error


def read_presets() -> dict[str, TrainConfig]:
    """Read all presets by name; damaged ones are left out."""
    found = {}
    for name in preset_names():
        try:
            found[name] = read_preset(name)
        except (OSError, ValueError):
            continue
    return found


def check_preset_name(name: str, *, overwrite: bool) -> None:
    """Refuse a name that a preset of the user's cannot have.

    Raises
    ------
    ValueError
        If it cannot be the name of a file, or is that of a preset of this package.
    ResultExistsError
        If the user has a preset of that name, which is not to be replaced.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a preset cannot be named {name!r}; use letters, digits, '.', '-' and '_'"
        )
    if name in PRESETS:
        raise ValueError(f"the preset {name} cannot be replaced; choose another name")
    if _file_of(name).exists() and not overwrite:
        raise ResultExistsError(
            f"there is a preset {name} already, in {_file_of(name)}; overwrite it, or "
            "choose another name"
        )


def save_preset(name: str, config: TrainConfig) -> Path:
    """Save settings, but for the device, as a preset of the user's.

    Returns
    -------
    Path
        The file; an existing one is replaced.
    """
    check_preset_name(name, overwrite=True)
    _folder().mkdir(parents=True, exist_ok=True)
    write_json(_file_of(name), config.with_changes(device="auto").to_dict())
    return _file_of(name)


def _file_of(name: str) -> Path:
    return _folder() / f"{name}.json"


def _folder() -> Path:
    return user_config_path("napari-lrcs", appauthor=False) / "presets"
