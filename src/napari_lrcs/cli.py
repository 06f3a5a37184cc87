"""The command line: one short function a subcommand, each around one API function.

Importing this module loads neither torch nor napari, so that help comes at once.
"""

import argparse
import json
import math
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import fields
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lrcs.arguments import BAD_INPUT, build_parser, print_error
from napari_lrcs.config import PRESETS, PredictConfig, TrainConfig
from napari_lrcs.errors import LrcsError

if TYPE_CHECKING:
    from napari_lrcs.arrays import Confusion
    from napari_lrcs.data.annotation import Annotation
    from napari_lrcs.inference.disk import DiskResult
    from napari_lrcs.models.checkpoint import Checkpoint
    from napari_lrcs.phases import PhaseTable
    from napari_lrcs.progress import PredictEvent, TrainingEnded

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        0, 2 for bad input (one line on standard error says what is wrong), 130 if
        interrupted.
    """
    parser = build_parser(
        demo=demo,
        train=train,
        predict=predict,
        evaluate=evaluate,
        measure=measure,
        info=info,
    )
    parsed = parser.parse_args(arguments)
    try:
        parsed.run(parsed)
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept", file=sys.stderr)
        return INTERRUPTED
    except (LrcsError, OSError, ValueError, MemoryError) as error:
        print_error(_describe(error))
        return BAD_INPUT
    return 0


def demo(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.demo.run_demo`."""
    from napari_lrcs.demo import DemoEnded, run_demo
    from napari_lrcs.phases import ELECTRODE
    from napari_lrcs.report import follow, print_scores

    config = _train_config(arguments, PRESETS["quick"])
    ended = follow(run_demo(arguments.out, config=config), phases=ELECTRODE)
    assert isinstance(ended, DemoEnded)
    print_scores(ended.scores, title="Scores on slices that training never saw")
    for path in (ended.segmentation, ended.run, ended.figure):
        print(path)


def train(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.training.loop.train`."""
    from napari_lrcs.data.annotation import read_annotation
    from napari_lrcs.models.device import resolve_device
    from napari_lrcs.progress import TrainingEnded
    from napari_lrcs.report import follow
    from napari_lrcs.training.loop import train as train_network
    from napari_lrcs.training.run import RunFolder

    config = _config_of_run(arguments)
    resolve_device(config.device)
    annotation = read_annotation(
        _annotated_volumes(arguments),
        config=config,
        phases=_named_phases(arguments.phases),
    )
    events = train_network(
        annotation,
        config=config,
        run=arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        initial_weights=arguments.initial_weights,
    )
    try:
        ended = follow(events, phases=annotation.phases)
    except OSError as error:
        if RunFolder(arguments.out).is_run:
            error.add_note(f"the run in {arguments.out} is kept: go on with --resume")
        raise
    assert isinstance(ended, TrainingEnded)
    _show_training(ended, annotation, as_json=arguments.json)


def predict(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.inference.predict.predict_volume`."""
    from napari_lrcs.data.volume import parse_slices
    from napari_lrcs.models.checkpoint import load_checkpoint
    from napari_lrcs.report import follow

    config = PredictConfig().with_changes(**_given(arguments, PredictConfig))
    slices = None if arguments.z is None else parse_slices(arguments.z)
    results = _results(arguments)
    checkpoint = load_checkpoint(arguments.model)
    predictions = _predictions(arguments, results, checkpoint, config, slices)
    with closing(predictions):
        for image, events in predictions:
            try:
                follow(events, phases=checkpoint.phases)
            except OSError as error:
                if results[image].partial.exists():
                    error.add_note(
                        f"what is finished is kept in {results[image].partial}: the "
                        "same command goes on from there"
                    )
                raise


def evaluate(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.inference.assess.evaluate_volume`."""
    from napari_lrcs.data.mask import open_mask
    from napari_lrcs.data.opening import open_labels
    from napari_lrcs.data.volume import parse_slices
    from napari_lrcs.inference.assess import (
        check_comparable,
        evaluate_volume,
        phases_of,
    )
    from napari_lrcs.metrics.overlap import scores_dict
    from napari_lrcs.report import print_scores

    slices = None if arguments.z is None else parse_slices(arguments.z)
    predicted = open_labels(arguments.predicted)
    target = open_labels(arguments.target)
    mask = open_mask(arguments.mask, shape=target.shape)
    check_comparable(predicted, target, slices=slices)
    phases = phases_of(predicted, target)
    confusion = evaluate_volume(
        predicted, target, phases=phases, slices=slices, mask=mask
    )
    scores = scores_dict(confusion, phases)
    if arguments.json:
        _print_json(scores)
    else:
        print_scores(scores, title=f"{predicted.name} against {target.name}")


def measure(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.inference.assess.measure_volume`."""
    from napari_lrcs.data.mask import open_mask
    from napari_lrcs.data.opening import open_labels
    from napari_lrcs.inference.assess import measure_volume, phases_of
    from napari_lrcs.metrics.composition import measure_dict
    from napari_lrcs.report import print_measures

    labels = open_labels(arguments.labels)
    mask = open_mask(arguments.mask, shape=labels.shape)
    phases = phases_of(labels)
    composition = measure_volume(
        labels, phases=phases, mask=mask, neighbourhood=arguments.neighbourhood
    )
    measures = measure_dict(composition, phases)
    if arguments.json:
        _print_json(measures)
    else:
        print_measures(measures)


def info(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.models.device.describe_installation`."""
    from napari_lrcs.models.device import describe_installation
    from napari_lrcs.report import print_pairs

    pairs = describe_installation()
    if arguments.json:
        _print_json(pairs)
    else:
        print_pairs(pairs, title="napari-lrcs")


# ---- from arguments to what the API takes ----


def _config_of_run(arguments: argparse.Namespace) -> TrainConfig:
    """Decide on the config, and refuse a place that the run may not take."""
    from napari_lrcs.data.writing import check_new
    from napari_lrcs.models.checkpoint import load_checkpoint
    from napari_lrcs.training.run import RunFolder

    run = RunFolder(arguments.out)
    if arguments.resume:
        if arguments.overwrite or arguments.initial_weights:
            raise ValueError(
                "--resume goes with neither --overwrite nor "
                "--initial-weights; leave one of them out"
            )
        return _train_config(arguments, run.read_config())
    run.check_place(overwrite=arguments.overwrite)
    check_new(arguments.out, overwrite=True)
    start = PRESETS[arguments.preset]
    if arguments.initial_weights is not None:
        # The network is the other one's; the rest is the preset's.
        other = load_checkpoint(arguments.initial_weights).config.to_dict()
        groups = {f.name: f.metadata["group"] for f in fields(TrainConfig)}
        network = {n: v for n, v in other.items() if groups[n] == "network"}
        start = start.with_changes(**network)
    return _train_config(arguments, start)


def _train_config(arguments: argparse.Namespace, start: TrainConfig) -> TrainConfig:
    return start.with_changes(**_given(arguments, TrainConfig))


def _given(arguments: argparse.Namespace, config: type[Any]) -> dict[str, Any]:
    """Pick the config's fields that stand on the command line."""
    given = vars(arguments)
    return {
        f.name: tuple(value) if isinstance(value, list) else value
        for f in fields(config)
        if (value := given.get(f.name)) is not None
    }


def _annotated_volumes(arguments: argparse.Namespace) -> Any:
    from napari_lrcs.data.annotation import ROLES, open_annotated, read_project

    slices = {role: getattr(arguments, f"{role}_z") for role in ROLES}
    named = {role: text for role, text in slices.items() if text is not None}
    if arguments.labels is None:
        if arguments.image.suffix.lower() != ".toml":
            raise ValueError(
                "LABELS is missing; give IMAGE LABELS, or one TOML file that names "
                f"the volumes in place of {arguments.image}"
            )
        if named or arguments.mask:
            raise ValueError(
                "slices and masks of several volumes stand in the TOML file, not on "
                "the command line"
            )
        return read_project(arguments.image)
    if "train" not in named:
        raise ValueError("--train-z is missing; name the painted slices to train on")
    return [
        open_annotated(
            arguments.image, arguments.labels, slices=named, mask=arguments.mask
        )
    ]


def _named_phases(names: Sequence[str] | None) -> "PhaseTable | None":
    from napari_lrcs.phases import PhaseTable

    return None if names is None else PhaseTable.named(*names)


def _results(arguments: argparse.Namespace) -> "dict[str, DiskResult]":
    """Decide where the result of each image goes, and refuse places that are taken."""
    from napari_lrcs.inference.disk import DiskResult

    images = _images(arguments.image)
    is_series = images != [arguments.image]
    outs = _outs_of_series(images, arguments) if is_series else [arguments.out]
    extras = {"confidence": arguments.confidence}
    extras["probabilities"] = arguments.probabilities
    for path in (*outs, *filter(None, extras.values())):
        if path.resolve() in [Path(image).resolve() for image in images]:
            raise ValueError(f"{path} is the image itself; choose another name")
    results = {
        image: DiskResult(labels=out, overwrite=arguments.overwrite, **extras)
        for image, out in zip(images, outs, strict=True)
    }
    if not is_series:  # whose places `predict_series` looks at
        results[arguments.image].check_new()
    return results


def _predictions(
    arguments: argparse.Namespace,
    results: "dict[str, DiskResult]",
    checkpoint: "Checkpoint",
    config: PredictConfig,
    slices: Sequence[int] | None,
) -> "Generator[tuple[str, Iterator[PredictEvent]]]":
    """Yield the events of the image, or of each image of a series."""
    from napari_lrcs.data.mask import open_mask
    from napari_lrcs.data.opening import open_volume
    from napari_lrcs.inference.predict import predict_volume
    from napari_lrcs.inference.series import predict_series

    if list(results) != [arguments.image]:
        yield from predict_series(
            results,
            checkpoint,
            folder=arguments.out,
            config=config,
            slices=slices,
            mask=arguments.mask,
        )
        return
    volume = open_volume(arguments.image)
    events = predict_volume(
        volume,
        checkpoint,
        result=results[arguments.image],
        config=config,
        slices=slices,
        mask=open_mask(arguments.mask, shape=volume.shape),
    )
    yield arguments.image, events


def _outs_of_series(images: Sequence[str], arguments: argparse.Namespace) -> list[Path]:
    from napari_lrcs.inference.series import places_of_series

    if arguments.confidence or arguments.probabilities:
        raise ValueError(
            "--confidence and --probabilities go with a single image, not a series"
        )
    return list(places_of_series(images, arguments.out).values())


def _images(text: str) -> list[str]:
    """List the images that a glob fits; a name is itself."""
    if not any(sign in text for sign in "*?[") or Path(text).exists():
        return [text]
    images = sorted(glob(text))  # noqa: PTH207 absolute patterns too
    if not images:
        raise ValueError(f"no file fits {text}; check the pattern and its quotes")
    return images


# ---- from results to what is printed ----


def _show_training(
    ended: "TrainingEnded", annotation: "Annotation", *, as_json: bool
) -> None:
    from napari_lrcs.metrics.overlap import scores_dict
    from napari_lrcs.report import print_scores

    def scores(confusion: "Confusion | None") -> Any:
        return None if confusion is None else scores_dict(confusion, annotation.phases)

    validation, test = scores(ended.validation), scores(ended.test)
    if as_json:
        _print_json(
            {
                "best": str(ended.best),
                "epochs": ended.epochs,
                "seconds": ended.seconds,
                "device": ended.device,
                "validation": validation,
                "test": test,
            }
        )
        return
    for title, table in (("Validation", validation), ("Test", test)):
        if table is not None:
            print_scores(table, title=f"{title} of the best model")


def _print_json(values: Any) -> None:
    json.dump(_finite(values), sys.stdout, allow_nan=False)
    print()


def _finite(values: Any) -> Any:
    """Replace NaN, which JSON lacks, by None."""
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and math.isnan(values) else values


def _describe(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and not isinstance(error, LrcsError):
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror or error}"
    return "; ".join([text, *getattr(error, "__notes__", [])])
