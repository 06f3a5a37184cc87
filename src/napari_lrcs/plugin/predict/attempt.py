"""From the form of the dock to a prediction that can be run, and continued."""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import cast

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer

from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.arrays import Labels as LabelsArray
from napari_lrcs.config import Axis
from napari_lrcs.inference.estimate import check_memory
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.inference.series import places_of_series
from napari_lrcs.io.writing import create_in_memory
from napari_lrcs.models.header import ModelSummary
from napari_lrcs.plugin.parts.layers.layers import workspace_for
from napari_lrcs.plugin.parts.layers.predicted import (
    PredictedLayers,
    Region,
    confidence_beside,
    is_result_at,
)
from napari_lrcs.plugin.predict.job import PredictionJob, Series
from napari_lrcs.plugin.predict.setup import PredictSetup
from napari_lrcs.preprocessing.slices import AXES

_SMALL = 2**26
"""Largest volume, in voxels, that is kept whole if only some slices are predicted."""


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """A prediction that runs, or the one before."""

    key: tuple[object, ...]
    """Two attempts of one key are one prediction."""
    job: PredictionJob
    layers: PredictedLayers
    n_done: int = 0
    n_slices: int = 0
    seconds: float = 0.0
    is_complete: bool = False
    """Whether the volume in the viewer is done; its series may not be."""
    is_over: bool = False
    """Whether all is done."""
    has_replaced: bool = False
    """Whether the layer took the place of one of an earlier prediction."""
    is_foreign: bool = False
    """Whether a notice tells that a volume is foreign to the network."""
    volume_text: str = ""
    """Which volume of the series is predicted."""

    @property
    def path(self) -> Path | None:
        """File for the labels; None if they stay in memory."""
        return self.job.result.path


def next_attempt(viewer: Viewer, setup: PredictSetup, last: Attempt | None) -> Attempt:
    """Continue the last prediction if the form still asks for it, or make another.

    Raises
    ------
    ValueError, OSError or MemoryError
        If what is chosen cannot be used or does not fit; says what to do.
    """
    image, model = setup.image(), setup.model()
    volume = setup.volume()
    slices = setup.slices(model.config.preprocessing.axis)
    mask = setup.field_of_view.volume(volume.shape)
    series = _series(viewer, setup, workspace_for(image))
    cluster = setup.compute_on.cluster(image, setup.field_of_view.layer)
    key = (image, slices, setup.field_of_view.layer, *_key(setup, model))
    if last is not None and last.key == key and not last.is_over:
        job = replace(last.job, series=series, cluster=cluster)
        return _continued(last, job, _layers(viewer, image, model, job))
    setup.place.new_file()
    path = setup.place.path
    result = (
        _memory_result(setup, volume.shape, model.config.preprocessing.axis)
        if path is None
        else _disk_result(viewer, setup, path)
    )
    job = PredictionJob(
        volume=volume,
        model=model.path,
        result=result,
        config=setup.form.config,
        slices=slices,
        mask=mask,
        series=series,
        cluster=cluster,
    )
    return Attempt(key=key, job=job, layers=_layers(viewer, image, model, job))


def _key(setup: PredictSetup, model: ModelSummary) -> tuple[object, ...]:
    return (
        model.path,
        model.path.stat().st_mtime_ns,
        setup.form.config,
        setup.field_of_view.spec,
        setup.where.currentText(),
        setup.place.path if setup.place.has_own_file else None,
        setup.confidence.isChecked(),
        setup.probabilities.isChecked(),
    )


def _layers(
    viewer: Viewer, image: Image, model: ModelSummary, job: PredictionJob
) -> PredictedLayers:
    layers = PredictedLayers(
        viewer,
        image,
        phases=model.phases,
        region=Region(
            axis=model.config.preprocessing.axis,
            slices=None if job.slices is None else frozenset(job.slices),
        ),
        path=job.result.path,
    )
    layers.network = model.path
    return layers


def _continued(last: Attempt, job: PredictionJob, layers: PredictedLayers) -> Attempt:
    job = replace(job, series_only=last.is_complete)
    if last.is_complete or not last.layers.is_removed:
        layers = last.layers
    return replace(last, job=job, layers=layers, volume_text="")


def _memory_result(
    setup: PredictSetup, shape: tuple[int, int, int], axis: Axis
) -> MemoryResult:
    if setup.compute_on.is_elsewhere:
        raise ValueError(
            "other processes cannot fill a layer in memory; choose a file under Save "
            "result, or This computer under Compute on"
        )
    check_memory(setup.needed())
    is_sparse = not setup.is_whole and prod(shape) > _SMALL
    labels, confidence = (
        cast(LabelsArray, create_in_memory(shape, across=AXES[axis]))
        if is_sparse
        else np.zeros(shape, np.uint8)
        for _ in range(2)
    )
    wanted = setup.confidence.isChecked()
    return MemoryResult(labels=labels, confidence=confidence if wanted else None)


def _disk_result(viewer: Viewer, setup: PredictSetup, path: Path) -> DiskResult:
    workspace = workspace_for(setup.image())
    if path.parent == workspace.path:
        workspace.make()
    beside = confidence_beside(path)
    shares = path.with_name(f"{path.stem}-probabilities.zarr")
    result = DiskResult(
        labels=path,
        confidence=beside if setup.confidence.isChecked() else None,
        probabilities=shares if setup.probabilities.isChecked() else None,
        overwrite=setup.overwrite.isChecked(),
    )
    result.check_new()
    for place in (path, beside, shares):
        _check_not_shown(viewer, place)
    return result


def _series(viewer: Viewer, setup: PredictSetup, workspace: Workspace) -> Series | None:
    images = setup.more.images
    if not images:
        return None
    if (mask := setup.field_of_view.layer) is not None:
        raise ValueError(
            f"the mask {mask.name} fits only this image; for more volumes, choose the "
            "cylinder or everything"
        )
    folder = setup.more.folder
    if folder is None:
        workspace.make()
        folder = workspace.path / "more-volumes"
    places = places_of_series(images, folder, suffix=setup.place.suffix)
    for place in places.values():
        _check_not_shown(viewer, place)
        if place.absolute() in [Path(image).absolute() for image in images]:
            raise ValueError(
                f"{place} is one of the volumes itself; choose another folder"
            )
    overwrite = setup.overwrite.isChecked()
    return Series(
        folder=folder,
        results={
            image: DiskResult(labels=place, overwrite=overwrite)
            for image, place in places.items()
        },
        mask=setup.field_of_view.spec,
    )


def _check_not_shown(viewer: Viewer, path: Path) -> None:
    """Refuse a file that a layer shows, unless it is a result itself."""
    for layer in viewer.layers:
        if _is_stored_at(layer, path) and not is_result_at(layer, path):
            raise ValueError(
                f"{path} is what the layer {layer.name} shows; choose another name"
            )


def _is_stored_at(layer: Layer, path: Path) -> bool:
    places = [layer.source.path]
    if isinstance(layer, Image | Labels):
        array = layer.data[0] if layer.multiscale else layer.data
        places.append(getattr(getattr(array, "store", None), "root", None))
    own = path.resolve()
    return any(
        place is not None
        and (Path(place).resolve() == own or own in Path(place).resolve().parents)
        for place in places
    )
