"""A comparison of initial weights as the page runs it: all of this is in the thread."""

from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from napari_lrcs.annotation.annotation import AnnotatedVolume
from napari_lrcs.annotation.painting.slices import copy_painted
from napari_lrcs.config import TrainConfig
from napari_lrcs.plugin.parts.workers import Events, load_torch
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.transfer import Origin
from napari_lrcs.transfer.config import TransferConfig
from napari_lrcs.transfer.folder import TransferFolder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransferJob:
    """What to train on, from what, and where.

    Parameters
    ----------
    volume : AnnotatedVolume
        Without slices for training, all painted ones that are left are for training.
    config : TrainConfig
    out : Path
        Folder of the comparison.
    is_resumed : bool
        Whether to continue the comparison that is there.
    transfer : TransferConfig
        How many trainings; where a comparison is continued, its own counts.
    origin : Origin, optional
        Run folder of the earlier training, and what to keep of its network; where a
        comparison is continued, its own counts.
    """

    volume: AnnotatedVolume
    config: TrainConfig
    out: Path
    is_resumed: bool = False
    transfer: TransferConfig = field(default_factory=TransferConfig)
    origin: Origin | None = None

    def events(self) -> Events:
        """Run the comparison; yields also what it has found so far."""
        try:
            yield from self._events()
        finally:
            with suppress(OSError):  # one that never began leaves an empty folder
                self.out.rmdir()

    def _events(self) -> Events:
        load_torch()
        from napari_lrcs.transfer.plan import TransferTask
        from napari_lrcs.transfer.transfer import StartTrained, compare_starts

        folder = TransferFolder(self.out)
        config, transfer, origin = self.config, self.transfer, self.origin
        if self.is_resumed:
            transfer, origin = folder.read_settings()[1], folder.read_origin()
        assert origin is not None
        task = TransferTask(
            volumes=(
                # The user may paint on, but trainings are compared.
                (yield from copy_painted(self.volume, axis=config.preprocessing.axis)),
            ),
            source=RunFolder(origin.path),
            config=config,
            transfer=transfer,
            kept=origin.kept,
            phases=self.volume.labels.phases,
        )
        with closing(
            compare_starts(task, out=self.out, resume=self.is_resumed)
        ) as events:
            for event in events:
                yield event
                if isinstance(event, StartTrained):
                    yield folder.read_findings()
