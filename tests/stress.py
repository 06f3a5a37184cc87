"""Start two writers on one place, or kill one and go on, and compare the results.

    python tests/stress.py pairs N SEED
    python tests/stress.py kills N SEED

Of two writers on one ``--out`` exactly one must succeed; its result must be that of an
undisturbed run, and the other one must name its process, or say that the result is
there. What was killed and is run again must give the result of an undisturbed run. In
both cases nothing else may be left. Which command is taken, and when the second one
starts or the first one is killed, depends on SEED. To extend: a command is an entry of
``COMMANDS``. Linux only.
"""

import argparse
import csv
import io
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "hostile"))

import corpus
import forked

TIME_LIMIT = 300.0

TINY = [*corpus.TINY, "--n-epochs", "4", "--patches-per-epoch", "24"]
IMAGE, LABELS = "large.tif", "large-labels.tif"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that writes."""

    words: list[str]
    known_offsets: tuple[float, ...] = ()
    """Seconds after which a second process once did harm."""
    resumes: str | None = None
    """File whose presence means that ``--resume`` goes on."""


def _command(text: str, *more: str, **fields: Any) -> Command:
    return Command(words=[*text.split(), *more], **fields)


_PREDICT = f"predict {IMAGE} run --device cpu --out"
_BASELINE = f"baseline {IMAGE} --n-phases 2 --method otsu --out"

COMMANDS = {
    "predict to TIFF": _command(f"{_PREDICT} new.tif", known_offsets=(0.1,)),
    "predict to Zarr": _command(f"{_PREDICT} new.zarr", known_offsets=(0.1,)),
    "predict all": _command(
        f"{_PREDICT} new.tif --confidence c.zarr --probabilities p.zarr --min-size 9",
        known_offsets=(0.1,),
    ),
    "predict a series": _command("predict part-*.tif run --device cpu --out parts"),
    "baseline to TIFF": _command(f"{_BASELINE} new.tif"),
    "baseline to Zarr": _command(f"{_BASELINE} new.zarr"),
    "perturb": _command(
        f"perturb {LABELS} --out new --z 0:20 --n-members 3 --n-simulations 3",
        known_offsets=(0.25, 0.3, 0.35, 0.4, 0.45),
    ),
    "train": _command(
        f"train {IMAGE} {LABELS} --train-z 1 --validation-z 4 --out new",
        *TINY,
        resumes="new/config.json",
    ),
    "uncertainty": _command(
        f"uncertainty {IMAGE} {LABELS} --out new",
        *corpus.STUDY,
        *corpus.TINY,
        resumes="new/study.json",
    ),
    "compare": _command(
        f"compare {LABELS} large-second.tif large-third.tif --majority m.tif "
        "--agreement a.zarr --csv c.csv"
    ),
    "measure": _command(
        f"measure {LABELS} --particles 1 --csv p.csv --particles-out p.tif"
    ),
    "measure to a table": _command(f"measure {LABELS} --particles 1 --csv p.csv"),
    "demo": _command("demo --out new", *corpus.TINY),
}


# ---- files ----


def build() -> int:
    """Write inputs that keep each command busy for about a second."""
    import numpy as np
    import tifffile

    os.chdir(_corpus())
    code = corpus.build()
    shape = (40, 160, 160)
    blocks = np.indices(shape) // np.array([[[[9]]], [[[11]]], [[[13]]]])
    labels = (blocks.sum(axis=0) % 2 + 1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 50, shape, np.uint16)
    grey = 500 * labels.astype(np.uint16) + noise
    tifffile.imwrite(IMAGE, grey)
    for number in range(3):
        tifffile.imwrite(f"part-{number}.tif", np.roll(grey[:18], number, axis=1))
    tifffile.imwrite(LABELS, labels)
    for number, name in enumerate(("second", "third"), 1):
        tifffile.imwrite(f"large-{name}.tif", np.roll(labels, number, axis=2))
    return code


def _corpus() -> Path:
    return _SCRATCH / "corpus"


_SCRATCH = Path(tempfile.gettempdir()) / f"stress-{os.getpid()}"


def place_for(command: Command, name: str) -> Path:
    """Make a folder with what the command reads."""
    place = _SCRATCH / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    names = corpus.files_of(command.words, corpus=_corpus())
    names += [path.name for path in _corpus().glob("part-*.tif")]
    corpus.copy_into(place, names, corpus=_corpus())
    return place


def result_in(place: Path) -> dict[str, Any]:
    """Take all that is in a folder, without times and what depends on the folder."""
    found = {}
    for path in place.rglob("*"):
        name = str(path.relative_to(place))
        found[name] = _content(path, place) if path.is_file() else None
    return found


def _content(path: Path, place: Path) -> Any:
    import tifffile

    if path.suffix in (".png", ".pdf", ".svg") or path.name.startswith("."):
        return None
    if path.suffix == ".tif":
        pages = tifffile.imread(path, key=None)
        return (pages.shape, pages.dtype.str, pages.tobytes())
    if path.suffix in (".pt", ".safetensors"):
        return _saved(path)
    data = path.read_bytes().replace(str(place).encode(), b".")
    if path.suffix == ".json":
        return _timeless(json.loads(data))
    if path.suffix == ".csv":
        return _timeless(list(csv.DictReader(io.StringIO(data.decode()))))
    return data


def _saved(path: Path) -> Any:
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    if path.suffix == ".pt":
        return _timeless(torch.load(path, weights_only=True))
    with safe_open(path, "pt") as file:
        (header,) = file.metadata().values()
    return _timeless([json.loads(header), load_file(path)])


def _timeless(value: Any) -> Any:
    """Drop what differs from run to run: seconds."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if "seconds" not in str(k)}
    if isinstance(value, list | tuple):
        return [_timeless(part) for part in value]
    if hasattr(value, "numpy"):
        return (tuple(value.shape), value.numpy().tobytes())
    return repr(value)  # NaN equals NaN


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Say how a folder differs from that of an undisturbed run."""
    temporary = {name for name in found if forked.TEMPORARY.search(name)}
    texts = {
        "left behind": sorted(temporary | (found.keys() - expected.keys())),
        "missing": sorted(expected.keys() - found.keys()),
        "wrong": sorted(
            name
            for name in found.keys() & expected.keys()
            if found[name] != expected[name]
        ),
    }
    return [f"{what}: {', '.join(names[:3])}" for what, names in texts.items() if names]


# ---- pairs and kills ----


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """What a command leaves and how long it takes if nothing happens."""

    result: dict[str, Any]
    seconds: float


def undisturbed(command: Command) -> Undisturbed:
    """Run a command alone."""
    place = place_for(command, "undisturbed")
    ended = _start(command.words, place, "alone").wait(TIME_LIMIT)
    if ended.code != 0:
        raise RuntimeError(f"{shlex.join(command.words)}: {ended.err.decode()}")
    return Undisturbed(result=result_in(place), seconds=ended.seconds)


def _start(words: list[str], place: Path, name: str) -> forked.Running:
    return forked.start_command(words, folder=place, streams=_SCRATCH / name)


def pair(command: Command, alone: Undisturbed, rng: Random) -> tuple[str, list[str]]:
    """Start a command twice; returns when, and what is wrong."""
    offset = rng.uniform(0, alone.seconds)
    if command.known_offsets and rng.random() < 0.5:
        offset = rng.choice(command.known_offsets)
    place = place_for(command, "pair")
    first = _start(command.words, place, "first")
    time.sleep(offset)
    second = _start(command.words, place, "second")
    ended = forked.wait_for_all([first, second], TIME_LIMIT)
    problems = differences(result_in(place), alone.result)
    winners = [process for process in ended if process.code == 0]
    if len(winners) == 1:
        problems += _refusal(ended, winners[0])
    else:
        codes = {process.pid: process.code for process in ended}
        problems.append(f"exit codes {codes[first.pid]} and {codes[second.pid]}")
    return f"second after {offset:.3f} s of {alone.seconds:.1f} s", problems


_MOMENT = 0.3
"""Seconds before the end of a process at which its result may be in place."""


def _refusal(ended: list[forked.Ended], winner: forked.Ended) -> list[str]:
    """Say what is wrong with what the one that did not succeed has said."""
    (loser,) = [process for process in ended if process is not winner]
    lines = loser.err.decode(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if loser.code != 2 or len(errors) != 1 or errors != lines[-1:]:
        return [f"exit code {loser.code}: {' | '.join(lines[-2:])}"]
    names_process = re.search(rf"\b{winner.pid}\b", errors[0])
    says_taken = "already" in errors[0] and loser.at > winner.at - _MOMENT
    if not (names_process or says_taken):
        return [f"does not name process {winner.pid}: {errors[0]}"]
    return []


def kill(command: Command, alone: Undisturbed, rng: Random) -> tuple[str, list[str]]:
    """Kill a command and run it again; returns when, and what is wrong."""
    moment = rng.uniform(0, alone.seconds)
    place = place_for(command, "kill")
    running = _start(command.words, place, "killed")
    time.sleep(moment)
    running.kill()
    running.wait(TIME_LIMIT)
    words = list(command.words)
    if command.resumes and (place / command.resumes).exists():
        words.append("--resume")
    is_there = not differences(result_in(place), alone.result)
    again = _start(words, place, "again").wait(TIME_LIMIT)
    problems = differences(result_in(place), alone.result)
    # Killed after the last rename, the result is there, and the command says so.
    if again.code != 0 and not (is_there and again.code == 2):
        lines = again.err.decode(errors="replace").splitlines()
        problems.append(f"exit code {again.code}: {' | '.join(lines[-2:])}")
    return f"killed after {moment:.3f} s of {alone.seconds:.1f} s", problems


def main() -> int:
    """Run the cases; returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("pairs", "kills"))
    parser.add_argument("n_cases", type=int, metavar="N")
    parser.add_argument("seed", type=int, metavar="SEED")
    parser.add_argument("--command", choices=COMMANDS, help="the only command to run")
    parsed = parser.parse_args()
    names = [parsed.command] if parsed.command else list(COMMANDS)
    disturb = pair if parsed.what == "pairs" else kill
    _corpus().mkdir(parents=True)
    n_failed = 0
    try:
        forked.preload(build, folder=_SCRATCH)
        alone = {name: undisturbed(COMMANDS[name]) for name in names}
        for number in range(parsed.n_cases):
            name = names[number % len(names)]
            rng = Random(f"{parsed.seed}/{number}")
            when, problems = disturb(COMMANDS[name], alone[name], rng)
            n_failed += bool(problems)
            if problems:
                print(f"FAILED {number} {name}, {when}: {'; '.join(problems)}")
                sys.stdout.flush()
    finally:
        shutil.rmtree(_SCRATCH)
    print(f"{parsed.n_cases - n_failed} passed, {n_failed} failed")
    return int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
