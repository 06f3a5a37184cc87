"""The few exceptions that a caller may want to catch apart from the others."""

from collections.abc import Mapping


class LrcsError(Exception):
    """Base of the package's own exceptions."""


class VolumeError(LrcsError, ValueError):
    """A file or array that cannot serve as a volume, labels or mask."""


class SeveralVolumesError(VolumeError):
    """A file that holds several volumes, of which one must be named.

    Parameters
    ----------
    message : str
        What the file holds, and what to do.
    shapes : mapping of str to tuple of int
        Shapes of the volumes by their paths in the file; the likeliest comes first.
    """

    def __init__(
        self, message: str, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> None:
        super().__init__(message)
        self.shapes = dict(shapes or {})


class CheckpointError(LrcsError, ValueError):
    """A file that is no checkpoint, or one that does not fit its use."""


class ResultExistsError(LrcsError, FileExistsError):
    """A result that would be overwritten without having been asked to."""


class InUseError(LrcsError):
    """A file or folder that another process, window or thread works on."""
