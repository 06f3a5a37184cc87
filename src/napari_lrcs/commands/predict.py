"""The command ``predict``: runs `predict_volume`, or `predict_series` for a glob."""

import argparse
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.cluster import elsewhere
from napari_lrcs.commands.parts.output import print_json
from napari_lrcs.commands.parts.places import Places, network_file
from napari_lrcs.config import PredictConfig
from napari_lrcs.errors import ClusterError

if TYPE_CHECKING:
    from napari_lrcs.inference.results.disk import DiskResult
    from napari_lrcs.io.elsewhere import Elsewhere
    from napari_lrcs.models.checkpoint import Checkpoint
    from napari_lrcs.progress import PredictEvent

HELP = "segment a volume with a trained network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", help="volume, or a quoted glob of a time series")
    parser.add_argument("model", type=Path, help="checkpoint or run folder")
    parser.add_argument(
        "--out", type=Path, required=True, help="SEG.tif or SEG.zarr, or a folder"
    )
    parser.add_argument(
        "--z", metavar="SLICES", help="slices to predict; the others stay 0"
    )
    flags.add(parser, "--mask")
    parser.add_argument(
        "--confidence",
        type=Path,
        metavar="FILE",
        help="write the probability that the predicted phase is right, 0 to 255; "
        ".tif or .zarr",
    )
    parser.add_argument(
        "--probabilities",
        type=Path,
        metavar="FILE.zarr",
        help="write the probability of each phase",
    )
    flags.add(parser, "--overwrite", "--json", "--cluster", "--n-workers")
    flags.add_config(parser, PredictConfig)


def places(arguments: argparse.Namespace) -> Places:
    """Return the files read and written; for a series, all images and results."""
    images = _images(arguments.image)
    return Places(
        read=[*images, network_file(arguments.model), arguments.mask],
        written=[
            *_outs(images, arguments),
            *(arguments.confidence, arguments.probabilities),
        ],
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.models.checkpoint import load_checkpoint

    results = _results(arguments)
    checkpoint = load_checkpoint(arguments.model)
    with elsewhere(arguments, *results, arguments.mask) as others:
        predictions = _predictions(arguments, results, checkpoint, others)
        with closing(predictions):
            foreign = _follow(predictions, results, checkpoint)
    if arguments.json:
        print_json(
            {
                "results": [
                    {"image": image, "out": str(results[image].path), "foreign": texts}
                    for image, texts in foreign.items()
                ]
            }
        )


def _follow(
    predictions: "Iterator[tuple[str, Iterator[PredictEvent]]]",
    results: "dict[str, DiskResult]",
    checkpoint: "Checkpoint",
) -> dict[str, Sequence[str]]:
    """Show the progress; return what makes each image foreign to the network."""
    from napari_lrcs.commands.parts.progress import follow

    foreign: dict[str, Sequence[str]] = {}
    for image, events in predictions:
        try:
            ended = follow(events, phases=checkpoint.phases)
            foreign[image] = getattr(ended, "foreign", ())
        except KeyboardInterrupt:
            if not all(result.is_complete for result in results.values()):
                raise  # otherwise Ctrl-C came too late
        except (OSError, ClusterError) as error:
            if results[image].is_unfinished:
                error.add_note(
                    f"what is finished is kept in {results[image].partial}: run the "
                    "same command again to continue"
                )
            raise
    return foreign


def _images(text: str) -> list[str]:
    """List the images that match a glob; a name stands for itself."""
    from napari_lrcs.io.opening import split_dataset

    if not any(sign in text for sign in "*?[") or split_dataset(text)[0].exists():
        return [text]
    images = sorted(glob(text))  # noqa: PTH207 absolute patterns too
    if not images:
        raise ValueError(f"no file matches {text}; check the pattern and its quotes")
    return images


def _outs(images: Sequence[str], arguments: argparse.Namespace) -> list[Path]:
    """List where to write the result of each image."""
    if images == [arguments.image]:
        return [arguments.out]
    from napari_lrcs.inference.series import places_of_series

    if arguments.confidence or arguments.probabilities:
        raise ValueError(
            "--confidence and --probabilities work with a single image, not with a "
            "series; leave them out"
        )
    return list(places_of_series(images, arguments.out).values())


def _results(arguments: argparse.Namespace) -> "dict[str, DiskResult]":
    """Make the result of each image, and refuse one that exists already."""
    from napari_lrcs.inference.results.disk import DiskResult

    images = _images(arguments.image)
    results = {
        image: DiskResult(
            labels=out,
            confidence=arguments.confidence,
            probabilities=arguments.probabilities,
            overwrite=arguments.overwrite,
        )
        for image, out in zip(images, _outs(images, arguments), strict=True)
    }
    if images == [arguments.image]:  # `predict_series` checks those of a series
        results[arguments.image].check_new()
    return results


def _predictions(
    arguments: argparse.Namespace,
    results: "dict[str, DiskResult]",
    checkpoint: "Checkpoint",
    others: "Elsewhere | None",
) -> "Generator[tuple[str, Iterator[PredictEvent]]]":
    """Yield the events of the image, or of each image of a series."""
    from napari_lrcs.inference.series import predict_series
    from napari_lrcs.inference.spread import predict_task
    from napari_lrcs.inference.task import PredictTask
    from napari_lrcs.io.opening import open_to_share
    from napari_lrcs.preprocessing.mask import open_mask

    given: dict[str, Any] = {
        "config": PredictConfig().with_changes(**flags.given(arguments, PredictConfig)),
        "slices": flags.chosen_slices(arguments),
    }
    if list(results) != [arguments.image]:
        yield from predict_series(
            results, checkpoint, mask=arguments.mask, others=others, **given
        )
        return
    volume, result = open_to_share(arguments.image), results[arguments.image]
    given["mask"] = open_mask(arguments.mask, shape=volume.shape)
    task = PredictTask(volume=volume, checkpoint=checkpoint, **given)
    yield arguments.image, predict_task(task, result=result, others=others)
