"""The command ``evaluate``: runs `evaluate_volume`, and `evaluate_confidence`."""

import argparse
from pathlib import Path

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.output import (
    print_calibration,
    print_json,
    print_scores,
)
from napari_lrcs.commands.parts.places import Places

HELP = "score a segmentation against the ground truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predicted", help="labels to score")
    parser.add_argument("target", help="labels to score against; 0 is ignored")
    parser.add_argument("--z", metavar="SLICES", help="slices to score (default: all)")
    parser.add_argument(
        "--confidence",
        type=Path,
        metavar="FILE",
        help="confidence of PREDICTED, as predict writes it; is it right that often?",
    )
    flags.add(parser, "--mask", "--json")


def places(arguments: argparse.Namespace) -> Places:
    return Places(
        read=[
            *(arguments.predicted, arguments.target),
            *(arguments.confidence, arguments.mask),
        ]
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.comparison.calibration import (
        check_confidence,
        evaluate_confidence,
    )
    from napari_lrcs.comparison.evaluate import (
        check_comparable,
        evaluate_volume,
        named_phases,
        phases_in,
    )
    from napari_lrcs.io.opening import open_labels, open_volume
    from napari_lrcs.metrics.overlap import scores_dict
    from napari_lrcs.phases import naming_notes
    from napari_lrcs.preprocessing.mask import open_mask

    slices = flags.chosen_slices(arguments)
    predicted = open_labels(arguments.predicted)
    target = open_labels(arguments.target)
    mask = open_mask(arguments.mask, shape=target.shape)
    check_comparable(predicted, target, slices=slices)
    confidence = open_volume(arguments.confidence) if arguments.confidence else None
    if confidence is not None:
        check_confidence(confidence, predicted)
    for note in naming_notes(*named_phases(predicted, target)):
        Display().warn(note)
    phases = phases_in(predicted, target)
    confusion = evaluate_volume(
        predicted, target, phases=phases, slices=slices, mask=mask
    )
    scores = scores_dict(confusion, phases)
    calibration = {}
    if confidence is not None:
        reliability = evaluate_confidence(
            predicted, target, confidence, slices=slices, mask=mask
        )
        calibration["calibration"] = reliability.to_dict()
    if arguments.json:
        print_json(scores | calibration)
        return
    print_scores(scores, title=f"{predicted.name} against {target.name}")
    for found in calibration.values():
        print_calibration(found, title=f"Confidence of {predicted.name}")
