"""Settings as the reader of a message knows them: as flags, or as in the forms."""

import re
from collections.abc import Callable

from napari_lrcs.config import (
    AlsoMeasureConfig,
    PerturbConfig,
    PredictConfig,
    SearchConfig,
    StudyConfig,
    TrainConfig,
)
from napari_lrcs.settings import Setting

_BY_NAME = {
    s.name: s
    for config in (
        TrainConfig,
        PredictConfig,
        PerturbConfig,
        StudyConfig,
        AlsoMeasureConfig,
        SearchConfig,
    )
    for s in config.settings()
}
# A name of one word may be just a word, unless the message begins with it. What is part
# of a path or of a file's name is no setting.
_NAMES = re.compile(
    rf"(?<![\w./\\-])({'|'.join(name for name in _BY_NAME if '_' in name)})"
    r"(?![\w/\\]|[.-]\w)"
    rf"|^({'|'.join(_BY_NAME)})(?= must )"
)


def rename_settings(message: str, rename: Callable[[Setting], str]) -> str:
    """Name the settings in a message as its reader knows them.

    Parameters
    ----------
    message : str
        Text of an error, in which settings have the names of their fields.
    rename : callable
        Names a setting.

    Examples
    --------
    >>> rename_settings("n_epochs must be at least 1, got 0", lambda s: s.title)
    'Epochs must be at least 1, got 0'
    >>> rename_settings("seed must be at least 0, got -1", lambda s: s.flag)
    '--seed must be at least 0, got -1'
    """
    return _NAMES.sub(lambda found: rename(_BY_NAME[found[0]]), message)
