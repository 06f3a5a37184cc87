"""The few exceptions that a caller may want to catch apart from the others."""


class LrcsError(Exception):
    """Base of the package's own exceptions."""


class VolumeError(LrcsError, ValueError):
    """A file or array that cannot serve as a volume, labels or mask."""


class CheckpointError(LrcsError, ValueError):
    """A file that is no checkpoint, or one that does not fit its use."""


class ResultExistsError(LrcsError, FileExistsError):
    """A result that would be overwritten without having been asked to."""


class InUseError(LrcsError):
    """A file or folder that another process, window or thread works on."""
