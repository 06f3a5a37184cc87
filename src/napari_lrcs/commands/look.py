"""The command ``look``: runs `napari_lrcs.inspection.look.write_look`."""

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.output import print_json, print_line, print_table
from napari_lrcs.commands.parts.places import Places, network_file

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_lrcs.inspection.look import LookTask
    from napari_lrcs.io.volume import Volume
    from napari_lrcs.models.checkpoint import Checkpoint

HELP = "show what a network computes inside, for one slice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", help="volume of grey levels")
    parser.add_argument("model", type=Path, help="checkpoint or run folder")
    parser.add_argument(
        "--layers", action="store_true", help="list the layers, and write nothing"
    )
    parser.add_argument("--z", metavar="SLICE", help="slice to look at, counted from 0")
    parser.add_argument(
        "--layer",
        nargs="+",
        default=[],
        metavar="NAME",
        help="layers whose maps are written, as --layers lists them (default: none)",
    )
    parser.add_argument(
        "--labels", help="painted labels of the slice: adds the gradients of one batch"
    )
    flags.add(parser, "--mask")
    parser.add_argument("--out", type=Path, help="folder for maps, figures and numbers")
    flags.add(parser, "--overwrite", "--json")


def places(arguments: argparse.Namespace) -> Places:
    return Places(
        read=[
            *(arguments.image, network_file(arguments.model)),
            *(arguments.labels, arguments.mask),
        ],
        written=[arguments.out],
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.io.opening import open_volume
    from napari_lrcs.models.checkpoint import load_checkpoint

    if arguments.layers:
        image = open_volume(arguments.image)
        _list_layers(load_checkpoint(arguments.model), image, json=arguments.json)
        return
    if arguments.z is None or arguments.out is None:
        missing = "--z" if arguments.z is None else "--out"
        raise ValueError(f"{missing} is missing; give --z and --out, or --layers")
    _write(arguments)


def _write(arguments: argparse.Namespace) -> None:
    from napari_lrcs.commands.parts.progress import follow_share
    from napari_lrcs.inspection.look import Looked, write_look

    task = _task(arguments)
    events = write_look(task, out=arguments.out, overwrite=arguments.overwrite)
    with closing(cast("Generator[Any]", events)):
        looked = follow_share(events, text="looking inside")
    assert isinstance(looked, Looked)
    if arguments.json:
        print_json({"out": str(looked.out), **looked.record})
        return
    for maps in looked.record["maps"]:
        print_line(f"{maps['n_maps']} maps of {maps['name']}: {maps['file']}")
    print_line(f"figures and numbers: {looked.out}")


def _task(arguments: argparse.Namespace) -> "LookTask":
    from napari_lrcs.inspection.folder import check_place
    from napari_lrcs.inspection.look import LookTask
    from napari_lrcs.io.opening import open_labels, open_volume
    from napari_lrcs.models.checkpoint import load_checkpoint
    from napari_lrcs.preprocessing.mask import open_mask

    slices = flags.chosen_slices(arguments)
    if slices is None or len(slices) != 1:
        raise ValueError(f"--z must be one slice, got {arguments.z!r}")
    check_place(arguments.out, overwrite=arguments.overwrite)
    image = open_volume(arguments.image)
    return LookTask(
        image=image,
        checkpoint=load_checkpoint(arguments.model),
        index=slices[0],
        layers=tuple(dict.fromkeys(arguments.layer)),
        labels=arguments.labels and open_labels(arguments.labels),
        mask=open_mask(arguments.mask, shape=image.shape),
    )


# ---- what it shows ----


def _list_layers(checkpoint: "Checkpoint", image: "Volume", *, json: bool) -> None:
    from napari_lrcs.inspection.folder import layer_dict
    from napari_lrcs.inspection.recording import layers_of
    from napari_lrcs.preprocessing.slices import SliceReader

    shape = SliceReader.for_config(image, checkpoint.config).slice_shape
    layers = layers_of(checkpoint.build())
    if json:
        rows = [layer_dict(layer, layer.shape(shape)) for layer in layers]
        print_json({"layers": rows})
        return
    print_table(
        f"Layers of {checkpoint.config.network.model} on a slice of {image.name}",
        ["Layer", "Maps", "Rows", "Columns", "What it is"],
        [[x.name, str(x.n_maps), *map(str, x.shape(shape)), x.kind] for x in layers],
    )
