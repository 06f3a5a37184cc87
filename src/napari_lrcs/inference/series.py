"""Predictions of several volumes, continued after an interruption."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from napari_lrcs.config import PredictConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.locks import FileLock
from napari_lrcs.io.opening import open_to_share, open_volume, split_dataset
from napari_lrcs.io.paths import VOLUME_SUFFIXES, check_outputs, lock_of
from napari_lrcs.io.records import read_json, write_json
from napari_lrcs.io.watching import content_stamp, stamp
from napari_lrcs.io.writing import check_new, check_writable
from napari_lrcs.preprocessing.mask import CYLINDER, open_mask
from napari_lrcs.progress import Notice, PredictEvent

if TYPE_CHECKING:  # loading torch takes seconds that naming the results need not wait
    from napari_lrcs.models.checkpoint import Checkpoint

_LOCK = lock_of(Path("series")).name
"""In the folder of a series; no result has this name."""


class _Note(TypedDict):
    """What ``.series.json`` holds: see `unfinished`."""

    identity: str
    former: dict[str, list[int]]


def predict_series(
    results: Mapping[str, DiskResult],
    checkpoint: "Checkpoint",
    *,
    config: PredictConfig | None = None,
    slices: Sequence[int] | None = None,
    mask: str | Path | None = None,
    others: Elsewhere | None = None,
) -> Iterator[tuple[str, Iterator[PredictEvent]]]:
    """Predict several volumes one after another into a folder.

    A series that was interrupted is continued by the same call: what is finished is
    left out.

    Parameters
    ----------
    results : mapping of str to DiskResult
        Where the labels of each image file go, all in one folder, which is made if it
        is not there: see `places_of_series`.
    config, slices
        As of `predict_volume`, the same for all.
    mask : str or Path, optional
        As of `open_mask`.
    others : Elsewhere, optional
        Other processes, which predict one volume after another, each together; they
        share the images, the mask and the folder. See `predict_volume_spread`.

    Yields
    ------
    image : str
    events : iterator of PredictEvent
        Those of `predict_volume`, to be drawn before the next image is asked for; a
        single `Notice` where the result is finished already.

    Raises
    ------
    VolumeError
        If an image or the mask cannot serve; none is predicted then.
    ResultExistsError
        If something else is in a result's place that may not be replaced.
    """
    from napari_lrcs.inference.spread import predict_task
    from napari_lrcs.inference.task import PredictTask, fingerprint

    config = config or PredictConfig()
    read_from: list[Path] = []
    for image in results:  # a mistake in the last one shows before the first is done
        volume = open_volume(image)
        open_mask(mask, shape=volume.shape)
        read_from += volume.sources
    places = [place for result in results.values() for place in result.places]
    check_outputs(places, inputs=read_from)
    # Only where it is asked for, so that what was interrupted before can go on.
    turns = {"average_turns": True} if config.average_turns else {}
    identity = {
        **turns,
        "model": fingerprint(checkpoint),
        "slices": None if slices is None else list(slices),
        "mask": mask and [str(mask), _mask_stamp(mask)],
        "min_size": config.min_size,
        "images": [[str(Path(i).absolute()), _image_stamp(i)] for i in results],
    }
    folder = next(iter(results.values())).path.parent
    with unfinished(folder, results, identity=identity) as left:
        for image, result in results.items():
            if image not in left:
                text = f"{result.path} is finished already"
                yield image, iter([Notice(kind="resumed", text=text)])
        for image, result in left.items():
            volume = open_to_share(image)
            task = PredictTask(
                volume=volume,
                checkpoint=checkpoint,
                config=config,
                slices=slices,
                mask=open_mask(mask, shape=volume.shape),
            )
            yield image, predict_task(task, result=result, others=others)


def _image_stamp(image: str) -> list[int]:
    return content_stamp(split_dataset(image)[0])


def _mask_stamp(mask: str | Path) -> list[int]:
    return [] if str(mask) == CYLINDER else content_stamp(Path(mask))


def places_of_series(
    images: Sequence[str], folder: Path, *, suffix: str = ".tif"
) -> dict[str, Path]:
    """Name the result of each image after it, in a folder.

    Raises
    ------
    ValueError
        If two images have one name.

    Examples
    --------
    >>> places_of_series(["scans/t0.h5"], Path("out"))["scans/t0.h5"].as_posix()
    'out/t0.tif'
    """
    names = [result_name(image, suffix=suffix) for image in images]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"several images would go to {twice[0]} in {folder}; predict the images of "
            "one folder at a time"
        )
    return {image: folder / name for image, name in zip(images, names, strict=True)}


def result_name(image: str | Path, *, suffix: str = ".tif") -> str:
    """Name the result of an image in a series."""
    place = split_dataset(image)[0]
    # In the name of a folder of slices, a dot may be that of a number.
    is_known = place.suffix.lower() in (*VOLUME_SUFFIXES, ".zarr")
    return f"{place.stem if is_known else place.name}{suffix}"


@contextmanager
def unfinished(
    folder: Path, results: Mapping[str, DiskResult], *, identity: Mapping[str, Any]
) -> Iterator[dict[str, DiskResult]]:
    """Choose what is left to predict of a series into a folder.

    A hidden note in the folder, ``.series.json``, is there until the block ends well.
    While it is, the same series is continued.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    results : mapping of str to DiskResult
        All results of the series, in `folder`, by their images.
    identity : mapping
        As JSON; a series is continued only if all of this agrees.

    Yields
    ------
    dict of str to DiskResult
        Those of `results` that the interrupted series has not finished; all of them in
        a new series.

    Raises
    ------
    ResultExistsError
        If something else is in a result's place that may not be replaced.
    """
    is_new = not folder.exists()
    if not folder.is_dir():
        check_new(folder, overwrite=False)
    folder.mkdir(exist_ok=True)
    try:
        with _only_series(folder):
            yield from _unfinished(
                folder, results, json.dumps(identity, sort_keys=True)
            )
    finally:
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def _only_series(folder: Path) -> Iterator[None]:
    """Be the only series into a folder; nothing beside it need be writable."""
    check_writable(folder, to_write=folder)
    lock = FileLock(
        folder / _LOCK,
        refusal=f"{folder} is being written by process {{process}}; wait until it has "
        "ended, or choose another name",
    )
    try:
        yield
    finally:
        lock.remove()


def _unfinished(
    folder: Path, results: Mapping[str, DiskResult], identity: str
) -> Iterator[dict[str, DiskResult]]:
    note = folder / ".series.json"
    former = _former(note, identity)
    if former is None:
        former = {r.path.name: stamp(r.path) for r in results.values()}
    left = {
        image: result
        for image, result in results.items()
        if stamp(result.path) == former.get(result.path.name, [])
        or not result.path.exists()
        or result.is_unfinished  # killed when its labels were in their place
    }
    for image, result in results.items():
        if image in left:
            result.check_new()
        else:
            result.remove_remains()
    write_json(note, {"identity": identity, "former": former})
    is_complete = False
    try:
        yield left
        is_complete = True
    finally:
        if is_complete or set(folder.iterdir()) == {note, folder / _LOCK}:
            note.unlink()


def _former(note: Path, identity: str) -> dict[str, list[int]] | None:
    """Read what was in the places before the same series began."""
    try:
        saved = read_json(note, _Note)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise VolumeError(
            f"{note} is damaged: {error}; remove it to start the series again"
        ) from error
    return saved["former"] if saved["identity"] == identity else None
