"""The whole workflow on the built-in sample, from a phantom to scores and a figure."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from napari_lrcs.annotation.annotation import AnnotatedVolume, read_annotation
from napari_lrcs.classical.phantom import Phantom, electrode_phantom
from napari_lrcs.comparison.evaluate import evaluate_volume
from napari_lrcs.config import PRESETS, PredictConfig, TrainConfig
from napari_lrcs.figures import SliceComparison, draw_segmentation
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.records import as_json
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.io.writing import check_new, replacing
from napari_lrcs.metrics.overlap import ScoresDict, scores_dict
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.progress import PredictEvent, TrainEvent
from napari_lrcs.training.loop import train
from napari_lrcs.training.run.folder import RunFolder

_UNIT = "micrometer"

TRAIN_SLICE, VALIDATION_SLICE, TEST_SLICES = 8, 24, (40, 56)
"""Far apart: the test slices share no particle with the other two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoEnded:
    """The demo is over: its results, and how good the segmentation is."""

    scores: ScoresDict
    figure: Path
    segmentation: Path
    run: Path


DemoEvent: TypeAlias = TrainEvent | PredictEvent | DemoEnded


def run_demo(out: Path, *, config: TrainConfig | None = None) -> Iterator[DemoEvent]:
    """Segment a simulated electrode from one painted slice.

    Parameters
    ----------
    out : Path
        Folder for the volume, its labels, the run, the segmentation, its scores and a
        figure; it must not exist yet, and appears when all of them are complete.
    config : TrainConfig, optional
        The preset ``quick`` by default.

    Yields
    ------
    DemoEvent
        The events of training and prediction, and `DemoEnded`.

    Raises
    ------
    ResultExistsError
        If the folder exists.
    ValueError
        If the config does not fit the sample or the machine; nothing is written then.
    """
    check_new(out, overwrite=False)
    with (
        replacing(out, overwrite=False) as folder,
        closing(_run(folder, config or PRESETS["quick"])) as events,
    ):
        for event in events:
            last = _moved(event, folder, out)
            if not isinstance(last, DemoEnded):
                yield last
    yield last


def _moved(event: DemoEvent, folder: Path, out: Path) -> DemoEvent:
    """Replace the temporary paths in an event by the final ones."""
    places: dict[str, Any] = {
        f.name: out / value.relative_to(folder)
        for f in fields(event)
        if isinstance(value := getattr(event, f.name), Path)
    }
    return replace(event, **places)


def _run(out: Path, config: TrainConfig) -> Generator[DemoEvent]:
    phantom = electrode_phantom()
    volume = as_volume(phantom.volume, voxel_size=phantom.voxel_size, unit=_UNIT)
    labels = as_labels(as_volume(phantom.labels))
    annotated = AnnotatedVolume(
        image=volume,
        labels=labels,
        roles={"train": (TRAIN_SLICE,), "validation": (VALIDATION_SLICE,)},
    )
    annotation = read_annotation([annotated], config=config, phases=ELECTRODE)
    # First, because it checks the config before it creates the folder.
    yield from train(annotation, config=config, run=out / "run")
    _write_sample(out, phantom)
    checkpoint = load_checkpoint(out / "run")
    result = DiskResult(labels=out / "segmentation.tif")
    where = PredictConfig(device=config.device, precision=config.precision)
    yield from predict_volume(volume, checkpoint, result=result, config=where)
    predicted = open_labels(result.labels)
    confusion = evaluate_volume(
        predicted, labels, phases=ELECTRODE, slices=range(*TEST_SLICES)
    )
    scores = scores_dict(confusion, ELECTRODE)
    with replacing(out / "scores.json") as temporary:
        temporary.write_text(as_json(scores, indent=2) + "\n", encoding="utf-8")
    shown = sum(TEST_SLICES) // 2
    draw_segmentation(
        out / "figure.png",
        pictured=SliceComparison(
            image=volume.slab(shown, shown + 1)[0],
            target=labels.slab(shown, shown + 1)[0],
            predicted=predicted.slab(shown, shown + 1)[0],
            pixel_size=(phantom.voxel_size[-1], _UNIT),
        ),
        phases=ELECTRODE,
        history=load_checkpoint(RunFolder(out / "run").last).history,
        title="LRCS-Net on a simulated electrode, trained on one slice",
    )
    yield DemoEnded(
        scores=scores,
        figure=out / "figure.png",
        segmentation=result.labels,
        run=out / "run",
    )


def _write_sample(out: Path, phantom: Phantom) -> None:
    for name, array, phases in (
        ("volume.tif", phantom.volume, None),
        ("labels.tif", phantom.labels, ELECTRODE),
    ):
        write_labels_tiff(
            out / name,
            [array],
            shape=phantom.labels.shape,
            dtype=array.dtype,
            voxel_size=phantom.voxel_size,
            unit=_UNIT,
            phases=phases,
        )
