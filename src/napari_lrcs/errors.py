"""The few exceptions that a caller may want to catch, and the text of any."""

from collections.abc import Mapping


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line; without a message, its type."""
    return " ".join(str(error).split()) or type(error).__name__


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
        Shapes of the volumes by their paths in the file, the most likely one first.
    """

    def __init__(
        self, message: str, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> None:
        super().__init__(message)
        self.shapes = dict(shapes or {})


class CheckpointError(LrcsError, ValueError):
    """A file that is not a checkpoint, or a checkpoint that does not match its use."""


class PaintingChangedError(CheckpointError):
    """A run was to be resumed, but its painting is another one by now."""


class ResultExistsError(LrcsError, FileExistsError):
    """A result that exists already and may not be overwritten."""


class InUseError(LrcsError):
    """A file or folder that another process, window or thread is using."""


class ClusterError(LrcsError):
    """A cluster that does not answer, or does not answer any more."""
