"""Compute slabs one after another: read ahead, write behind."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

from napari_lrcs.arrays import GreyImage, Mask
from napari_lrcs.inference.foreign import PredictedPhases
from napari_lrcs.inference.geometry import Slab
from napari_lrcs.inference.predictor import Predictor
from napari_lrcs.inference.results.outputs import LABELS, Arrays, Output
from napari_lrcs.inference.task import PredictTask
from napari_lrcs.progress import Notice, SlabPredicted, TilePredicted

Write = Callable[[Slab, Arrays], None]
"""Puts the arrays of a slab into a result."""

_Read = tuple[GreyImage, Mask | None]


def compute_slabs(
    task: PredictTask,
    slabs: Sequence[Slab],
    *,
    predictor: Predictor,
    outputs: Sequence[Output],
    write: Write,
    phases: PredictedPhases,
) -> Generator[Notice | TilePredicted | SlabPredicted]:
    """Predict slabs of a volume.

    While a slab is computed, the next one is read and filtered, and the last one is
    written.

    Parameters
    ----------
    slabs : sequence of Slab
        What is left to predict of the task.
    outputs : sequence of Output
        What to make of the network's logits.
    write : callable
        Called from another thread, with one slab after the other.
    phases : PredictedPhases
        Counts the labels, in the field of view.

    Yields
    ------
    TilePredicted, SlabPredicted or Notice
        As from `predict_volume`.
    """
    n_slices = len(task.wanted)
    n_done = n_slices - sum(map(len, slabs))

    def finish(
        arrays: Arrays, inside: Mask | None, event: SlabPredicted
    ) -> SlabPredicted:
        phases.count(arrays[LABELS], inside)
        if inside is not None:
            arrays = {output: array * inside for output, array in arrays.items()}
        write(Slab(start=event.start, stop=event.stop), arrays)
        return event

    # One thread reads ahead, one writes behind; leaving the block waits for both.
    with (
        ThreadPoolExecutor(1, "read-ahead") as ahead,
        ThreadPoolExecutor(1, "write-behind") as behind,
    ):
        reading: Future[_Read] | None = None
        writing: Future[SlabPredicted] | None = None
        for slab, following in pairwise([*slabs, None]):
            assert slab is not None
            image, inside = reading.result() if reading else task.read(slab)
            reading = ahead.submit(task.read, following) if following else None
            arrays = predictor.empty_arrays(outputs, len(slab))
            for share in predictor.predict(arrays, image, len(slab)):
                yield tile_event(share, slab, n_done=n_done, n_slices=n_slices)
            n_done += len(slab)
            if writing:
                yield writing.result()
            event = SlabPredicted(
                start=slab.start, stop=slab.stop, n_done=n_done, n_slices=n_slices
            )
            writing = behind.submit(finish, arrays, inside, event)
        if writing:
            yield writing.result()


def tile_event(
    share: float | Notice, slab: Slab, *, n_done: int, n_slices: int
) -> Notice | TilePredicted:
    """Turn what `Predictor.predict` yields for a slab into an event."""
    if isinstance(share, Notice):
        return share
    return TilePredicted(n_done=n_done + share * len(slab), n_slices=n_slices)
