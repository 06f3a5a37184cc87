"""The command ``evaluate``: runs `napari_lrcs.comparison.evaluate.evaluate_volume`."""

import argparse

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.output import print_json, print_scores
from napari_lrcs.commands.parts.places import Places

HELP = "score a segmentation against the ground truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predicted", help="labels to score")
    parser.add_argument("target", help="labels to score against; 0 is ignored")
    parser.add_argument("--z", metavar="SLICES", help="slices to score (default: all)")
    flags.add(parser, "--mask", "--json")


def places(arguments: argparse.Namespace) -> Places:
    return Places(read=[arguments.predicted, arguments.target, arguments.mask])


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.comparison.evaluate import (
        check_comparable,
        evaluate_volume,
        phases_in,
    )
    from napari_lrcs.io.opening import open_labels
    from napari_lrcs.metrics.overlap import scores_dict
    from napari_lrcs.preprocessing.mask import open_mask

    slices = flags.chosen_slices(arguments)
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
        print_json(scores)
    else:
        print_scores(scores, title=f"{predicted.name} against {target.name}")
