"""The command ``demo``: runs `napari_lrcs.demo.run_demo`."""

import argparse
from pathlib import Path

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.output import print_scores
from napari_lrcs.commands.parts.places import Places
from napari_lrcs.config import PRESETS, TrainConfig

HELP = "run the whole workflow on the built-in sample"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("lrcs-demo"),
        help="folder for the results (default: %(default)s)",
    )
    flags.add_config(parser, TrainConfig)


def places(arguments: argparse.Namespace) -> Places:
    return Places(written=[arguments.out])


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.commands.parts.progress import follow
    from napari_lrcs.demo import DemoEnded, run_demo
    from napari_lrcs.phases import ELECTRODE

    config = PRESETS["quick"].with_changes(**flags.given(arguments, TrainConfig))
    ended = follow(run_demo(arguments.out, config=config), phases=ELECTRODE)
    assert isinstance(ended, DemoEnded)
    print_scores(ended.scores, title="Scores on slices that were not trained on")
    for path in (ended.segmentation, ended.run, ended.figure):
        print(path)
