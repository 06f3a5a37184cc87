"""The command line: one short function a subcommand, each around one API function.

Importing this module loads neither torch nor napari, so that help comes at once.
"""

import argparse
import json
import math
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields, replace
from functools import partial
from glob import glob
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lrcs.commands.parts.flags import build_parser
from napari_lrcs.commands.parts.terminal import (
    BAD_INPUT,
    READER_LEFT,
    print_error,
    usable_streams,
)
from napari_lrcs.config import (
    PRESETS,
    PerturbConfig,
    PredictConfig,
    StudyConfig,
    TrainConfig,
)
from napari_lrcs.errors import LrcsError

if TYPE_CHECKING:
    from napari_lrcs.annotation.annotation import Annotation
    from napari_lrcs.arrays import Confusion
    from napari_lrcs.comparison.votes import VoteFiles
    from napari_lrcs.inference.disk import DiskResult
    from napari_lrcs.inference.segment import BaselineTask
    from napari_lrcs.io.volume import Volume
    from napari_lrcs.metrics.structure import ParticlesDict
    from napari_lrcs.metrics.transport import TortuosityDict
    from napari_lrcs.models.checkpoint import Checkpoint
    from napari_lrcs.phases import Phase, PhaseTable
    from napari_lrcs.progress import PredictEvent, TrainingEnded
    from napari_lrcs.uncertainty.perturbation.perturbed_set import PerturbTask
    from napari_lrcs.uncertainty.study.summary import StudySettings
    from napari_lrcs.uncertainty.study.task import StudyTask

INTERRUPTED = 130

_READ = ("image", "labels", "predicted", "target", "mask", "model", "initial_weights")
_WRITTEN = (
    *("out", "confidence", "probabilities", "csv", "particles_out"),
    *("majority", "agreement", "consensus"),
)
"""Arguments of all commands that name what is read, and what is written."""


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
        interrupted, 1 if nobody reads standard output any more.
    """
    is_closed = sys.stdout is None
    with usable_streams():
        return _run(arguments, is_closed=is_closed)


def _run(arguments: Sequence[str] | None, *, is_closed: bool) -> int:
    parser = build_parser(
        demo=demo,
        train=train,
        predict=predict,
        evaluate=evaluate,
        measure=measure,
        compare=compare,
        perturb=perturb,
        uncertainty=uncertainty,
        baseline=baseline,
        info=info,
    )
    parsed = parser.parse_args(arguments)
    try:
        _check_places(parsed)
        if is_closed:
            _check_nothing_to_print(parsed)
        parsed.run(parsed)
        sys.stdout.flush()  # while its errors can still be told
    except BrokenPipeError:
        return READER_LEFT
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept", file=sys.stderr)
        return INTERRUPTED
    except (LrcsError, OSError, ValueError, MemoryError) as error:
        print_error(_describe(error))
        return BAD_INPUT
    return 0


def demo(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.demo.run_demo`."""
    from napari_lrcs.commands.parts.progress import follow, print_scores
    from napari_lrcs.demo import DemoEnded, run_demo
    from napari_lrcs.phases import ELECTRODE

    config = _train_config(arguments, PRESETS["quick"])
    ended = follow(run_demo(arguments.out, config=config), phases=ELECTRODE)
    assert isinstance(ended, DemoEnded)
    print_scores(ended.scores, title="Scores on slices that training never saw")
    for path in (ended.segmentation, ended.run, ended.figure):
        print(path)


def train(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.training.loop.train`."""
    from napari_lrcs.annotation.annotation import read_annotation
    from napari_lrcs.commands.parts.progress import follow
    from napari_lrcs.io.paths import check_outputs
    from napari_lrcs.io.volume import sources_of
    from napari_lrcs.models.device import resolve_device
    from napari_lrcs.progress import TrainingEnded
    from napari_lrcs.training.loop import train as train_network
    from napari_lrcs.training.run import RunFolder

    config = _config_of_run(arguments)
    resolve_device(config.device)
    volumes = _annotated_volumes(arguments)
    read = sources_of(*(v for a in volumes for v in (a.image, a.labels, a.mask)))
    check_outputs([arguments.out], inputs=read)
    annotation = read_annotation(
        volumes,
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
    from napari_lrcs.commands.parts.progress import follow
    from napari_lrcs.io.volume import parse_slices
    from napari_lrcs.models.checkpoint import load_checkpoint

    config = PredictConfig().with_changes(**_given(arguments, PredictConfig))
    slices = None if arguments.z is None else parse_slices(arguments.z)
    results = _results(arguments)
    checkpoint = load_checkpoint(arguments.model)
    predictions = _predictions(arguments, results, checkpoint, config, slices)
    with closing(predictions):
        for image, events in predictions:
            try:
                follow(events, phases=checkpoint.phases)
            except KeyboardInterrupt:
                if not all(result.is_complete for result in results.values()):
                    raise  # else it came too late
            except OSError as error:
                if results[image].partial.exists():
                    error.add_note(
                        f"what is finished is kept in {results[image].partial}: the "
                        "same command goes on from there"
                    )
                raise


def evaluate(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.comparison.evaluate.evaluate_volume`."""
    from napari_lrcs.commands.parts.progress import print_scores
    from napari_lrcs.comparison.evaluate import (
        check_comparable,
        evaluate_volume,
        phases_in,
    )
    from napari_lrcs.io.opening import open_labels
    from napari_lrcs.io.volume import parse_slices
    from napari_lrcs.metrics.overlap import scores_dict
    from napari_lrcs.preprocessing.mask import open_mask

    slices = None if arguments.z is None else parse_slices(arguments.z)
    predicted = open_labels(arguments.predicted)
    target = open_labels(arguments.target)
    mask = open_mask(arguments.mask, shape=target.shape)
    check_comparable(predicted, target, slices=slices)
    phases = phases_in(predicted, target)
    confusion = evaluate_volume(
        predicted, target, phases=phases, slices=slices, mask=mask
    )
    scores = scores_dict(confusion, phases)
    if arguments.json:
        _print_json(scores)
    else:
        print_scores(scores, title=f"{predicted.name} against {target.name}")


def measure(arguments: argparse.Namespace) -> None:
    """Run `measure_volume`, and what else is asked for."""
    from napari_lrcs.commands.parts.progress import (
        print_measures,
        print_particles,
        print_tortuosity,
    )
    from napari_lrcs.comparison.evaluate import measure_volume, phases_in
    from napari_lrcs.io.opening import open_labels
    from napari_lrcs.metrics.composition import measure_dict
    from napari_lrcs.preprocessing.mask import open_mask

    _check_places_of_particles(arguments)
    labels = open_labels(arguments.labels)
    mask = open_mask(arguments.mask, shape=labels.shape)
    phases = phases_in(labels)
    grains, paths = (
        text and _phase_called(text, phases)
        for text in (arguments.particles, arguments.tortuosity)
    )
    composition = measure_volume(
        labels, phases=phases, mask=mask, neighbourhood=arguments.neighbourhood
    )
    measures = measure_dict(composition, phases)
    tortuosity = paths and _tortuosity(labels, mask, paths)
    particles = grains and _particles(labels, mask, grains, arguments)
    if arguments.json:
        extras = {"particles": particles, "tortuosity": tortuosity}
        _print_json({**measures, **{name: v for name, v in extras.items() if v}})
        return
    print_measures(measures)
    if particles:
        print_particles(particles)
    if tortuosity:
        print_tortuosity(tortuosity)


def compare(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.comparison.experimenters.compare_experimenters`."""
    from napari_lrcs.commands.parts.progress import follow_share, print_experimenters
    from napari_lrcs.comparison.experimenter_tables import (
        experimenters_dict,
        write_experimenters_csv,
    )
    from napari_lrcs.comparison.experimenters import (
        ExperimentersCompared,
        compare_experimenters,
        open_experimenters,
    )
    from napari_lrcs.comparison.votes import write_votes
    from napari_lrcs.io.volume import parse_slices
    from napari_lrcs.io.writing import replacing
    from napari_lrcs.preprocessing.mask import open_mask

    files = _places_of_votes(arguments)
    slices = None if arguments.z is None else parse_slices(arguments.z)
    targets = [] if arguments.target is None else [arguments.target]
    volumes = open_experimenters(*arguments.labels, *targets)
    experimenters = volumes[: len(arguments.labels)]
    mask = open_mask(arguments.mask, shape=volumes[0].shape)
    region: Any = {"slices": slices, "mask": mask}
    events = compare_experimenters(
        experimenters,
        target=volumes[-1] if targets else None,
        near=arguments.near,
        **region,
    )
    compared = follow_share(events, text="comparing")
    assert isinstance(compared, ExperimentersCompared)
    if files.wanted:
        votes = write_votes(
            files,
            experimenters,
            phases=compared.phases,
            overwrite=arguments.overwrite,
            **region,
        )
        follow_share(votes, text="writing")
    if arguments.csv is not None:
        with replacing(arguments.csv, overwrite=arguments.overwrite) as temporary:
            write_experimenters_csv(temporary, compared)
    found = experimenters_dict(compared)
    if arguments.json:
        _print_json(found)
    else:
        print_experimenters(found)


def perturb(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.uncertainty.perturbation.perturbed_set.write_perturbed_set`."""
    from napari_lrcs.commands.parts.progress import follow_share, print_perturbed
    from napari_lrcs.uncertainty.perturbation.perturbed_set import (
        PerturbedSet,
        write_perturbed_set,
    )

    events = write_perturbed_set(
        _perturb_task(arguments), out=arguments.out, overwrite=arguments.overwrite
    )
    with closing(events):
        perturbed = follow_share(events, text="perturbing")
    assert isinstance(perturbed, PerturbedSet)
    if arguments.json:
        _print_json(perturbed.to_dict())
    else:
        print_perturbed(perturbed)


def uncertainty(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.uncertainty.study.ensemble.run_study`."""
    from napari_lrcs.commands.parts.progress import follow_study, print_study
    from napari_lrcs.models.device import resolve_device
    from napari_lrcs.uncertainty.study.ensemble import run_study

    for device in arguments.devices:
        resolve_device(device)
    task = _study_task(arguments)
    with _a_process_each(arguments.devices) as executor:
        events = run_study(
            task,
            out=arguments.out,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            executor=executor,
            devices=arguments.devices,
        )
        try:
            with closing(events):
                ended = follow_study(events)
        except OSError as error:
            is_begun = (arguments.out / "members.csv").exists()
            if is_begun and not isinstance(error, LrcsError):
                error.add_note(
                    f"what is finished is kept in {arguments.out}: go on with --resume"
                )
            raise
    if arguments.json:
        _print_json({**ended.summary.to_dict(), "seconds": ended.seconds})
    else:
        print_study(ended.summary)


def baseline(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.inference.segment.segment_volume`."""
    from napari_lrcs.commands.parts.progress import follow
    from napari_lrcs.inference.disk import DiskResult
    from napari_lrcs.inference.segment import segment_volume

    result = DiskResult(labels=arguments.out, overwrite=arguments.overwrite)
    result.check_new()
    task = _baseline_task(arguments)
    try:
        follow(segment_volume(task, result=result), phases=task.phases)
    except KeyboardInterrupt:
        if not result.is_complete:
            raise  # else it came too late


def info(arguments: argparse.Namespace) -> None:
    """Run `napari_lrcs.models.device.describe_installation`."""
    from napari_lrcs.commands.parts.progress import print_pairs
    from napari_lrcs.models.device import describe_installation

    pairs = describe_installation()
    if arguments.json:
        _print_json(pairs)
    else:
        print_pairs(pairs, title="napari-lrcs")


# ---- from arguments to what the API takes ----


def _check_places(arguments: argparse.Namespace) -> None:
    """Refuse outputs that would replace an input or one another, for any command."""
    outputs = _paths(arguments, _WRITTEN)
    if not outputs:
        return
    from napari_lrcs.inference.series import result_name
    from napari_lrcs.io.opening import split_dataset
    from napari_lrcs.io.paths import check_outputs
    from napari_lrcs.preprocessing.mask import CYLINDER

    inputs = [path for path in _paths(arguments, _READ) if str(path) != CYLINDER]
    image = str(getattr(arguments, "image", ""))
    images = _images(image)
    if images != [image]:
        inputs = [*inputs[1:], *map(Path, images)]
        results = {outputs[0] / result_name(path) for path in images}
        outputs = [*sorted(results), *outputs[1:]]
    check_outputs(outputs, inputs=[_file_read(split_dataset(p)[0]) for p in inputs])


def _paths(arguments: argparse.Namespace, names: Sequence[str]) -> list[Path]:
    """List what the command line gives of some arguments."""
    given = [getattr(arguments, name, None) for name in names]
    several = [value if isinstance(value, list) else [value] for value in given]
    return [Path(value) for values in several for value in values if value]


def _file_read(path: Path) -> Path:
    """Locate what is read of a run folder, beside which there may be results."""
    network = path / "best.safetensors"
    return network if network.is_file() else path


def _check_nothing_to_print(arguments: argparse.Namespace) -> None:
    """Refuse a command whose result is only printed, where nothing can be printed."""
    printed = ("evaluate", "measure", "compare", "info")
    if arguments.command in printed or getattr(arguments, "json", False):
        raise ValueError(
            f"standard output is closed, but {arguments.command} prints its result "
            "there; redirect it to a file"
        )


def _config_of_run(arguments: argparse.Namespace) -> TrainConfig:
    """Decide on the config, and refuse a place that the run may not take."""
    from napari_lrcs.io.writing import check_new
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
    check_new(arguments.out, overwrite=True)
    run.check_place(overwrite=arguments.overwrite)
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


def _given_perturbation(arguments: argparse.Namespace) -> dict[str, Any]:
    given = _given(arguments, PerturbConfig)
    found = {"kernel", "picked_fraction"}
    if arguments.wanted_share is not None and given.keys() & found:
        raise ValueError(
            "--wanted-share finds kernel and picked fraction; leave out --kernel and "
            "--picked-fraction, or --wanted-share"
        )
    return given


def _perturb_task(arguments: argparse.Namespace) -> "PerturbTask":
    from napari_lrcs.io.opening import open_labels
    from napari_lrcs.io.volume import parse_slices
    from napari_lrcs.uncertainty.perturbation.perturbed_set import (
        PerturbTask,
        check_place_of_set,
    )

    given = _given_perturbation(arguments)
    check_place_of_set(arguments.out, overwrite=arguments.overwrite)
    labels = open_labels(arguments.labels)
    slices = arguments.z and parse_slices(arguments.z, n_slices=labels.shape[0])
    return PerturbTask(
        labels=labels,
        config=PerturbConfig().with_changes(**given),
        n_members=arguments.n_members,
        seed=arguments.seed,
        slices=slices,
        dimensions=arguments.dimensions,
        n_simulations=arguments.n_simulations,
        wanted_share=arguments.wanted_share,
    )


def _study_task(arguments: argparse.Namespace) -> "StudyTask":
    from napari_lrcs.io.opening import open_labels, open_to_share
    from napari_lrcs.io.volume import parse_slices
    from napari_lrcs.preprocessing.mask import CYLINDER, as_mask, open_mask
    from napari_lrcs.uncertainty.study.task import StudyTask

    start = _start_of_study(arguments)
    config = _train_config(arguments, start.config)
    image = open_to_share(arguments.image)
    if arguments.mask in (None, CYLINDER):
        mask = open_mask(arguments.mask, shape=image.shape)
    else:
        mask = as_mask(open_to_share(arguments.mask), shape=image.shape)
    task = StudyTask(
        image=image,
        labels=open_labels(arguments.labels),
        train=parse_slices(arguments.train_z),
        test=parse_slices(arguments.test_z),
        config=config,
        perturb=start.perturb.with_changes(**_given_perturbation(arguments)),
        study=start.study.with_changes(**_given(arguments, StudyConfig)),
        predict=PredictConfig(device=config.device, precision=config.precision),
        phases=_named_phases(arguments.phases) or start.phases,
        mask=mask,
    )
    if arguments.wanted_share is None:
        return task
    suggestion = task.suggest(wanted_share=arguments.wanted_share)
    return replace(task, perturb=suggestion.config)


def _start_of_study(arguments: argparse.Namespace) -> "StudySettings":
    """Decide on what the settings start from: those of a study that goes on."""
    from napari_lrcs.uncertainty.study.summary import StudySettings, read_settings

    if not arguments.resume:
        return StudySettings(config=PRESETS[arguments.preset])
    if arguments.overwrite:
        raise ValueError("--resume does not go with --overwrite; leave one of them out")
    return read_settings(arguments.out)


@contextmanager
def _a_process_each(devices: Sequence[str]) -> "Iterator[Executor | None]":
    """Start a process for each device; none where there is no device."""
    if not devices:
        yield None
        return
    executor = ProcessPoolExecutor(
        len(devices),
        mp_context=get_context("spawn"),  # CUDA does not survive a fork
        initializer=signal.signal,  # on Ctrl-C they end at once and say nothing
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _annotated_volumes(arguments: argparse.Namespace) -> Any:
    from napari_lrcs.annotation.annotation import ROLES, open_annotated, read_project

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


def _baseline_task(arguments: argparse.Namespace) -> "BaselineTask":
    from napari_lrcs.inference.segment import BaselineTask
    from napari_lrcs.io.opening import open_labels, open_volume
    from napari_lrcs.io.volume import parse_slices
    from napari_lrcs.preprocessing.mask import open_mask

    if (arguments.labels is None) != (arguments.train_z is None):
        raise ValueError("--labels and --train-z go together; give both, or neither")
    train = () if arguments.train_z is None else parse_slices(arguments.train_z)
    labels = None if arguments.labels is None else open_labels(arguments.labels)
    image = open_volume(arguments.image)
    return BaselineTask(
        image=image,
        method="k_means" if arguments.method == "kmeans" else arguments.method,
        phases=_baseline_phases(arguments, labels, train),
        fractions=arguments.fractions and tuple(arguments.fractions),
        order=arguments.order and tuple(arguments.order),
        labels=labels,
        train=train,
        axis=arguments.axis,
        mask=open_mask(arguments.mask, shape=image.shape),
    )


def _baseline_phases(
    arguments: argparse.Namespace, labels: "Volume | None", train: Sequence[int]
) -> "PhaseTable":
    """Take the phases of the labels, or number as many as there are."""
    from napari_lrcs.classical.thresholds import check_n_phases
    from napari_lrcs.phases import PhaseTable

    n_phases = arguments.n_phases
    if n_phases is None and labels is None:
        raise ValueError("--n-phases is missing; say how many phases there are")
    if labels is not None and labels.phases is not None:
        if n_phases not in (None, len(labels.phases)):
            raise ValueError(
                f"--n-phases is {n_phases}, but {labels.name} names "
                f"{', '.join(labels.phases.names)}; leave it out"
            )
        return labels.phases
    if n_phases is None:
        assert labels is not None
        slabs = (labels.slab(z, z + 1, axis=arguments.axis) for z in train)
        n_phases = max(2, *(int(slab.max()) for slab in slabs))
    check_n_phases(n_phases)
    return PhaseTable.numbered(n_phases)


def _results(arguments: argparse.Namespace) -> "dict[str, DiskResult]":
    """Decide where the result of each image goes, and refuse places that are taken."""
    from napari_lrcs.inference.disk import DiskResult

    images = _images(arguments.image)
    is_series = images != [arguments.image]
    outs = _outs_of_series(images, arguments) if is_series else [arguments.out]
    extras = {"confidence": arguments.confidence}
    extras["probabilities"] = arguments.probabilities
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
    from napari_lrcs.inference.predict import predict_volume
    from napari_lrcs.inference.series import predict_series
    from napari_lrcs.io.opening import open_volume
    from napari_lrcs.preprocessing.mask import open_mask

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


def _check_new_file(path: Path, *, overwrite: bool) -> None:
    from napari_lrcs.io.writing import check_new

    if path.is_dir():
        raise ValueError(f"{path} is a folder; choose the name of a file")
    check_new(path, overwrite=overwrite)


def _check_places_of_particles(arguments: argparse.Namespace) -> None:
    places = [p for p in (arguments.csv, arguments.particles_out) if p is not None]
    if places and arguments.particles is None:
        raise ValueError(
            "--csv and --particles-out are for particles; name the phase that they are "
            "of: --particles PHASE"
        )
    for path in places:
        _check_new_file(path, overwrite=arguments.overwrite)
    tif = arguments.particles_out
    if tif is not None and tif.suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(f"particles are written as TIFF; name {tif} FILE.tif")


def _phase_called(text: str, phases: "Sequence[Phase]") -> "Phase":
    for phase in phases:
        if text in (phase.name, str(phase.label)):
            return phase
    known = ", ".join(f"{phase.label} ({phase.name})" for phase in phases)
    raise ValueError(f"there is no phase {text}; the labels have {known}")


def _places_of_votes(arguments: argparse.Namespace) -> "VoteFiles":
    """Gather the files that a comparison leaves, and refuse those that it may not."""
    from napari_lrcs.comparison.votes import VoteFiles

    files = VoteFiles(
        majority=arguments.majority,
        agreement=arguments.agreement,
        consensus=arguments.consensus,
    )
    files.check_new(overwrite=arguments.overwrite)
    if arguments.csv is not None:
        _check_new_file(arguments.csv, overwrite=arguments.overwrite)
    return files


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


# ---- more measures ----


def _particles(
    labels: "Volume", mask: "Volume | None", phase: "Phase", arguments: Any
) -> "ParticlesDict":
    """Separate particles, write what is asked for, and gather their sizes."""
    from napari_lrcs.commands.parts.progress import busy
    from napari_lrcs.comparison.particles import (
        particles_of_volume,
        write_particles_csv,
        write_particles_tiff,
    )
    from napari_lrcs.io.writing import replacing
    from napari_lrcs.metrics.structure import particles_dict

    with busy(f"separating {phase.name}"):
        particles = particles_of_volume(labels, phase=phase.label, mask=mask)
    with ExitStack() as stack:  # both files, or none
        for path, write in (
            (arguments.csv, write_particles_csv),
            (arguments.particles_out, partial(write_particles_tiff, like=labels)),
        ):
            if path is not None:
                place = replacing(path, overwrite=arguments.overwrite)
                write(stack.enter_context(place), particles)
    unit = labels.unit if labels.voxel_size is not None else "voxel"
    return particles_dict(particles, phase, unit=unit)


def _tortuosity(
    labels: "Volume", mask: "Volume | None", phase: "Phase"
) -> "TortuosityDict":
    from napari_lrcs.commands.parts.progress import busy
    from napari_lrcs.comparison.particles import read_whole
    from napari_lrcs.metrics.transport import tortuosity, tortuosity_dict
    from napari_lrcs.preprocessing.slices import AXES

    axes = [axis for axis, n in zip(AXES, labels.shape, strict=True) if n > 1]
    with busy(f"solving for diffusion through {phase.name}"):
        directions = tortuosity(
            read_whole(labels, mask=mask),
            phase=phase.label,
            axes=axes,
            voxel_size=labels.voxel_size,
        )
        return tortuosity_dict(list(directions), phase)


# ---- from results to what is printed ----


def _show_training(
    ended: "TrainingEnded", annotation: "Annotation", *, as_json: bool
) -> None:
    from napari_lrcs.commands.parts.progress import print_scores
    from napari_lrcs.metrics.overlap import scores_dict

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
