"""Which network a live training starts from: the newest one of the image that fits."""

from pathlib import Path

from napari_lrcs.config import TrainConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.run.folder import list_runs


def newest_fitting_run(
    folder: Path, *, config: TrainConfig, phases: PhaseTable
) -> Path | None:
    """Find the newest run whose network has the settings and the phases wanted.

    Parameters
    ----------
    folder : Path
        Holds the runs of an image.
    config : TrainConfig
        Its network and its preprocessing count.
    phases : PhaseTable
        Their names count.

    Returns
    -------
    Path or None
        The run folder; None if no network fits.
    """
    wanted = config.network, config.preprocessing
    for run in list_runs(folder):
        if run.network is None or run.config is None:
            continue
        found = run.config.network, run.config.preprocessing
        if found == wanted and run.network.phases.names == phases.names:
            return run.path
    return None
