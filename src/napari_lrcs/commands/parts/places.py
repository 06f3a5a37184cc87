"""The files and folders that a command reads and writes, checked before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Files and folders given on the command line; None for those left out."""

    read: Sequence[str | Path | None] = ()
    written: Sequence[Path | None] = ()

    def check(self) -> None:
        """Refuse outputs that would replace an input or one another."""
        written = [path for path in self.written if path]
        if not written:
            return
        from napari_lrcs.io.opening import split_dataset
        from napari_lrcs.io.paths import check_outputs
        from napari_lrcs.preprocessing.mask import CYLINDER

        read = [Path(path) for path in self.read if path and str(path) != CYLINDER]
        check_outputs(written, inputs=[split_dataset(path)[0] for path in read])


def network_file(model: Path | None) -> Path | None:
    """Return the checkpoint of a run folder, which may also hold results."""
    if model is None:
        return None
    from napari_lrcs.models.header import checkpoint_file

    best = checkpoint_file(model)
    return best if best.is_file() else model


def check_new_file(path: Path | None, *, overwrite: bool) -> None:
    """Refuse to replace a folder by a file, or a file unless `overwrite` is True."""
    if path is None:
        return
    from napari_lrcs.io.writing import check_new

    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file")
    check_new(path, overwrite=overwrite)
