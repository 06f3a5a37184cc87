"""The command line: parse, run one command, turn errors into exit codes.

Each command is a module of `commands`. It imports what is slow (numpy, rich, torch)
only when it runs, so that help is shown at once.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol

from napari_lrcs import __version__
from napari_lrcs.commands import (
    baseline,
    check,
    compare,
    demo,
    evaluate,
    export,
    info,
    look,
    measure,
    perturb,
    predict,
    profile,
    search,
    train,
    transfer,
    uncertainty,
)
from napari_lrcs.commands.parts.places import Places
from napari_lrcs.commands.parts.terminal import (
    BAD_INPUT,
    READER_LEFT,
    print_error,
    usable_streams,
)
from napari_lrcs.errors import LrcsError
from napari_lrcs.setting_names import rename_settings

INTERRUPTED = 130


class Command(Protocol):
    """What the module of each command provides."""

    HELP: str
    """What the command does, as shown in the list of commands."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the command's arguments and flags."""

    def places(self, arguments: argparse.Namespace, /) -> Places:
        """Return the files and folders that the command reads and writes."""

    def run(self, arguments: argparse.Namespace, /) -> None:
        """Do the work and show the result."""


COMMANDS: Mapping[str, Command] = {
    "demo": demo,
    "train": train,
    "predict": predict,
    "evaluate": evaluate,
    "measure": measure,
    "profile": profile,
    "compare": compare,
    "check": check,
    "perturb": perturb,
    "uncertainty": uncertainty,
    "search": search,
    "transfer": transfer,
    "look": look,
    "export": export,
    "baseline": baseline,
    "info": info,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; by default those of the process.

    Returns
    -------
    int
        Exit code: 0 for success, 2 for bad input (one line on standard error says what
        is wrong), 130 if interrupted, 1 if nobody reads standard output any more.
    """
    is_closed = sys.stdout is None
    with usable_streams():
        return _run(arguments, is_closed=is_closed)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit."""
        print_error(f"{message}; see {self.prog} --help")
        raise SystemExit(BAD_INPUT)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser; the name of the chosen command ends up in ``command``."""
    parser = _Parser(
        prog="napari-lrcs",
        description="Segment multiphase tomography volumes from a few painted slices.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, command in COMMANDS.items():
        text = command.HELP
        command.add_arguments(
            subparsers.add_parser(
                name, help=text, description=f"{text[0].upper()}{text[1:]}."
            )
        )
    return parser


def _run(arguments: Sequence[str] | None, *, is_closed: bool) -> int:
    parsed = build_parser().parse_args(arguments)
    command = COMMANDS[parsed.command]
    try:
        command.places(parsed).check()
        if is_closed:
            _check_nothing_to_print(parsed)
        command.run(parsed)
        sys.stdout.flush()  # while an error can still be reported
    except BrokenPipeError:
        return READER_LEFT
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept", file=sys.stderr)
        return INTERRUPTED
    except (LrcsError, OSError, ValueError, MemoryError) as error:
        print_error(rename_settings(_describe(error), lambda s: s.flag))
        return BAD_INPUT
    return 0


def _check_nothing_to_print(arguments: argparse.Namespace) -> None:
    """Refuse a command that only prints its result if nothing can be printed."""
    if getattr(arguments, "json", False) or "out" not in arguments:
        raise ValueError(
            f"standard output is closed, but {arguments.command} prints its result "
            "there; redirect it to a file"
        )


def _describe(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and not isinstance(error, LrcsError):
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror or error}"
    return "; ".join([text, *getattr(error, "__notes__", [])])


if __name__ == "__main__":
    sys.exit(main())
