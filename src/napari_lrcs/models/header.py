"""The header of a checkpoint: read without its tensors, and without torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors

from napari_lrcs.errors import CheckpointError

FORMAT_VERSION = 1
HEADER_KEY = "napari_lrcs"


def read_header(path: Path) -> dict[str, Any]:
    """Read what a checkpoint says about itself.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file.

    Returns
    -------
    dict
        JSON values, as `save_checkpoint` writes them.

    Raises
    ------
    CheckpointError
        If the file is missing, no checkpoint of ours, of another format version, or
        damaged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is no safetensors file, or a damaged one: {error}"
        ) from error
    return parse_header(metadata, path)


def parse_header(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Decode the metadata of a checkpoint's file.

    Raises
    ------
    CheckpointError
        If it is not a checkpoint of ours, of another format version, or damaged.
    """
    if HEADER_KEY not in metadata:
        raise CheckpointError(
            f"{path.name} holds tensors, but not a checkpoint of napari-lrcs"
        )
    try:
        header = json.loads(metadata[HEADER_KEY])
        version = header["format_version"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"the header of {path.name} is damaged") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path.name} has checkpoint format {version}; this version of napari-lrcs "
            f"reads format {FORMAT_VERSION}"
        )
    return dict(header)
