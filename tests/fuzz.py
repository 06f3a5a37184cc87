"""Damage files, names and arguments at random, and run every command on them.

    python tests/fuzz.py N SEED                     cases 0 to N - 1
    python tests/fuzz.py 1 SEED --only 17 --keep DIR    case 17 alone; keep its files

A case fails on a traceback, a hang, a crash, a changed input, too much memory, control
characters in what is printed, more than one line of error, or something left behind;
one in which nothing is damaged also fails on a wrong result. A case depends on SEED and
its number alone. To extend: a way to damage is a function in a table of
``hostile/mutations.py``, a command one in ``COMMANDS``, a file one in
``hostile/corpus.py``. Linux only.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "hostile"))

import corpus
import forked
import mutations

TIME_LIMIT = 60.0
UNDAMAGED = 0.06
"""Share of cases in which all is well, and the result must be right."""

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What drives terminals or reorders text."""

UNFINISHED = re.compile(r"\.partial(/|$)|/\.series\.json$")
"""State of an interrupted prediction, which is ours to discard."""

Check = Callable[[Path, str], "str | None"]
"""Tells what is wrong with the result in a folder and the printed text."""


def no_check(_folder: Path, _printed: str) -> None:
    """Find nothing wrong."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A command line, before anything is damaged."""

    words: list[str]
    outputs: tuple[str, ...] = ()
    """Names in the folder that the command may create or change."""
    states: tuple[str, ...] = ()
    """Files and folders of the corpus to damage more often than others."""
    codes: tuple[int, ...] = (0,)
    """Exit codes if nothing is damaged."""
    check: Check = no_check


# ---- commands ----


def train(rng: Random) -> Plan:
    image = rng.choice([i for i in corpus.IMAGES if i != "planar.tif"])
    words = ["train", image, rng.choice(corpus.LABELS), *corpus.SLICES, *corpus.TINY]
    words += rng.choice(([], ["--json"], ["--test-z", "6"], ["--mask", "mask.tif"]))
    return Plan(
        words=[*words, "--n-epochs", "1", "--out", "new"],
        outputs=("new",),
        codes=codes(image),
    )


def train_further(_rng: Random) -> Plan:
    words = [*corpus.TRAIN, "--initial-weights", "run", "--out", "new"]
    return Plan(words=words, outputs=("new",), states=("run",))


def train_project(_rng: Random) -> Plan:
    words = ["train", "project.toml", *corpus.TINY, "--out", "new"]
    return Plan(words=words, outputs=("new",), states=("project.toml",))


def train_resumed(_rng: Random) -> Plan:
    words = [*corpus.TRAIN, "--resume", "--out", "unfinished"]
    return Plan(words=words, outputs=("unfinished",), states=("unfinished",))


def predict(rng: Random) -> Plan:
    image, out = rng.choice(corpus.IMAGES), rng.choice(("new.tif", "new.zarr"))
    words = ["predict", image, "run", *corpus.DEVICE, "--out", out]
    more = ["--confidence", "c.tif", "--probabilities", "p.zarr"]
    extras = rng.choice(([], more, ["--mask", "mask.tif"]))
    if image != "planar.tif" or extras is more:  # which the mask does not fit
        words += extras
    return Plan(
        words=words,
        outputs=(out, "c.tif", "p.zarr"),
        states=rng.choice(((), ("run",))),
        codes=codes(image),
        check=partial(is_as_expected, out) if image != "planar.tif" else no_check,
    )


def predict_over(rng: Random) -> Plan:
    words = [*corpus.PREDICT, "--out", "done.tif", "--overwrite"]
    words += rng.choice(([], ["--min-size", "5"]))
    return Plan(words=words, outputs=("done.tif",))


def predict_resumed(rng: Random) -> Plan:
    out = rng.choice(("half.zarr", "ready.zarr"))
    return Plan(
        words=[*corpus.PREDICT, "--out", out],
        outputs=(out,),
        states=(f"{out}.partial",),
        check=partial(is_as_expected, out),
    )


def predict_series(_rng: Random) -> Plan:
    return Plan(
        words=[*corpus.SERIES, "--out", "series"],
        outputs=("series",),
        states=("series",),
        check=partial(is_as_expected, "series/scan-0.tif"),
    )


def evaluate(rng: Random) -> Plan:
    words = ["evaluate", rng.choice(corpus.LABELS), rng.choice(corpus.LABELS)]
    return Plan(words=[*words, *rng.choice(([], ["--json"], ["--z", "2:5"]))])


def measure(rng: Random) -> Plan:
    words = ["measure", rng.choice(corpus.LABELS)]
    words += rng.choice(([], ["--mask", "mask.tif"], ["--neighbourhood", "6"]))
    if rng.random() < 0.5:
        return Plan(words=words)
    return Plan(words=[*words, "--json"], check=halves_are_measured)


def measure_particles(rng: Random) -> Plan:
    words = ["measure", rng.choice(corpus.LABELS), "--particles", "1", "--csv", "p.csv"]
    words += rng.choice(([], ["--particles-out", "p.tif"], ["--json"]))
    return Plan(words=words, outputs=("p.csv", "p.tif"))


def compare(rng: Random) -> Plan:
    words = ["compare", rng.choice(corpus.LABELS), "second.tif", "third.tif"]
    words += rng.choice(([], ["--target", "foreign.tif"], ["--json"]))
    words += rng.choice(([], ["--majority", "m.tif", "--agreement", "a.zarr"]))
    words += rng.choice(([], ["--csv", "c.csv"]))
    return Plan(words=words, outputs=("m.tif", "a.zarr", "c.csv"))


def check_draw(rng: Random) -> Plan:
    words = ["check", "draw", rng.choice(corpus.LABELS), "--n-patches", "4"]
    words += rng.choice(([], ["--mask", "mask.tif"], ["--json"], ["--axis", "x"]))
    return Plan(words=[*words, "--size", "8", "--out", "new"], outputs=("new",))


def check_report(rng: Random) -> Plan:
    words = ["check", "report", rng.choice(corpus.LABELS), "second.tif", "check"]
    words += rng.choice(([], ["--json"], ["--budget"], ["--csv", "c.csv"]))
    return Plan(words=words, outputs=("c.csv",), states=("check",))


def perturb(rng: Random) -> Plan:
    words = ["perturb", rng.choice(corpus.LABELS), "--n-members", "2"]
    words += ["--n-simulations", "2", *rng.choice(([], ["--json"], ["--z", "2:5"]))]
    out = rng.choice((["new"], ["set", "--overwrite"]))
    return Plan(words=[*words, "--out", *out], outputs=(out[0],))


def uncertainty(rng: Random) -> Plan:
    words = [*corpus.UNCERTAINTY, "--n-epochs", "1", "--out", "new"]
    return Plan(words=words + rng.choice(([], ["--json"])), outputs=("new",))


def uncertainty_resumed(rng: Random) -> Plan:
    return Plan(
        words=[*corpus.UNCERTAINTY, "--resume", "--out", "study"],
        outputs=("study",),
        states=rng.choice((("study",), ("study/study.json",), ("study/members",))),
    )


def baseline(rng: Random) -> Plan:
    image = rng.choice(corpus.IMAGES)
    out = rng.choice(("new.tif", "new.zarr"))
    flags = rng.choice(
        (
            "--method otsu --n-phases 2",
            "--method fractions --n-phases 2 --fractions .5 .5",
            "--method kmeans --n-phases 2",
            f"--method forest --train-z 1 --labels {rng.choice(corpus.LABELS)}",
        )
    )
    words = ["baseline", image, *flags.split(), "--out", out]
    do_not_fit = image == "planar.tif" and "--labels" in words
    return Plan(words=words, outputs=(out,), codes=(2,) if do_not_fit else codes(image))


def demo(_rng: Random) -> Plan:
    return Plan(words=["demo", "--out", "run"], codes=(2,))


def info(rng: Random) -> Plan:
    return Plan(words=["info", *rng.choice(([], ["--json"]))])


def codes(image: str) -> tuple[int, ...]:
    """Tell how a command on an undamaged image may end."""
    return (0, 2) if image in corpus.REFUSED else (0,)


COMMANDS: dict[Callable[[Random], Plan], int] = {
    # Function: how often.
    train: 5,
    train_further: 2,
    train_project: 4,
    train_resumed: 8,
    predict: 16,
    predict_over: 2,
    predict_resumed: 8,
    predict_series: 5,
    evaluate: 7,
    measure: 12,
    measure_particles: 6,
    compare: 7,
    perturb: 7,
    check_draw: 2,
    check_report: 8,
    uncertainty: 1,
    uncertainty_resumed: 8,
    baseline: 8,
    demo: 1,
    info: 1,
}


# ---- results of what is not damaged ----


def is_as_expected(out: str, folder: Path, _printed: str) -> str | None:
    import numpy as np
    import tifffile
    import zarr

    if not (folder / out).exists():
        return None  # refused
    expected = tifffile.imread(_corpus() / "expected.tif")
    if out.endswith(".tif"):
        found = tifffile.imread(folder / out)
    else:
        found = np.asarray(zarr.open_array(folder / out / "0", mode="r")[:])
    return None if np.array_equal(found, expected) else "the prediction is wrong"


def halves_are_measured(_folder: Path, printed: str) -> str | None:
    found = [phase["volume_fraction"] for phase in json.loads(printed)["phases"]]
    return None if found == [0.5, 0.5] else f"the volume fractions are {found}"


# ---- damage ----


def damage(rng: Random, plan: Plan, folder: Path) -> tuple[Plan, str]:
    """Damage one thing; returns the plan that is left, and what was damaged."""
    way = rng.random()
    if way < UNDAMAGED:
        return plan, ""
    careless = replace(plan, codes=(0, 2), check=no_check)
    if way < 0.16:
        return damage_name(rng, careless, folder)
    if way < 0.26:
        return damage_argument(rng, careless)
    damaged = damage_file(rng, plan, folder)
    if damaged.startswith("make_link"):
        return plan, damaged  # all is there as before
    if damaged.startswith("remove in part-"):
        return replace(careless, codes=(2,)), damaged  # half a volume
    return careless, damaged


def damage_file(rng: Random, plan: Plan, folder: Path) -> str:
    """Damage a file of a state, or any; kinds of files are equally likely."""
    tops = plan.states if plan.states and rng.random() < 0.8 else ("",)
    kinds: dict[str, list[Path]] = {}
    for top in tops:
        for path in sorted([folder / top, *(folder / top).rglob("*")]):
            if path.is_file():
                is_state = path.suffix == ".json" or path.name.startswith(".")
                kinds.setdefault(path.name if is_state else path.suffix, []).append(
                    path
                )
    if not kinds:
        return "nothing to damage"
    path = rng.choice(kinds[rng.choice(sorted(kinds))])
    return f"{mutations.mutate_file(rng, path)} in {path.relative_to(folder)}"


def damage_name(rng: Random, plan: Plan, folder: Path) -> tuple[Plan, str]:
    """Give an input or an output a hostile name, or name phases so."""
    if plan.words[0] in ("train", "uncertainty") and rng.random() < 0.5:
        names = rng.sample(mutations.NAMES, 2)
        return replace(plan, words=[*plan.words, "--phases", *names]), f"phases {names}"
    names = [w for w in plan.words if (folder / w).exists() or w in plan.outputs]
    if not names:
        return plan, "nothing to rename"
    old = rng.choice(names)
    new = rng.choice(mutations.NAMES) + Path(old).suffix
    (folder / new).parent.mkdir(exist_ok=True)
    if (folder / old).exists():
        (folder / old).rename(folder / new)
    words = [new if word == old else word for word in plan.words]
    outputs = tuple(new if out == old else out for out in plan.outputs)
    return replace(plan, words=words, outputs=outputs), f"{old} named {new!r}"


ARGUMENTS = (
    *("", "x", "0", "-1", "nan", "inf", "-inf", "1e400", "0.5", "1:2:3", "5:1", "٣"),
    *mutations.NAMES,
)


def damage_argument(rng: Random, plan: Plan) -> tuple[Plan, str]:
    """Give a flag a hostile value."""
    flags = _flags(plan.words[0])
    if not flags:
        return plan, "no flag"
    new = [rng.choice(flags), rng.choice(ARGUMENTS)]
    return replace(plan, words=[*plan.words, *new]), f"arguments {new}"


@cache
def _flags(command: str) -> list[str]:
    """List the flags of a command that take a value which names no file."""
    from napari_lrcs.__main__ import build_parser

    parser = build_parser()
    (choices,) = [a.choices for a in parser._actions if a.dest == "command"]
    assert isinstance(choices, dict)
    return [
        action.option_strings[-1]
        for action in choices[command]._actions
        if action.option_strings and action.nargs != 0 and action.type is not Path
    ]


# ---- a case ----


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case that was run."""

    number: int
    words: list[str]
    damaged: str
    problems: list[str]
    ended: forked.Ended


Entry = tuple[str, bytes]
"""The kind of a file, and what it holds."""


def contents(folder: Path) -> dict[str, Entry]:
    """Take all names under a folder, without opening what is not a file."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        data = b""
        if stat.S_ISREG(mode):
            data = hashlib.sha1(path.read_bytes()).digest()
        elif stat.S_ISLNK(mode):
            data = os.fsencode(path.readlink())
        found[str(path.relative_to(folder))] = (stat.filemode(mode)[0], data)
    return found


def run_case(number: int, *, seed: int, place: Path) -> Case:
    """Copy, damage, run and judge."""
    rng = Random(f"{seed}/{number}")
    folder = place / f"case-{number:06d}"
    folder.mkdir()
    (command,) = rng.choices(list(COMMANDS), list(COMMANDS.values()))
    plan = command(rng)
    names = corpus.files_of(plan.words, corpus=_corpus())
    corpus.copy_into(folder, names, corpus=_corpus())
    plan, damaged = damage(rng, plan, folder)
    before = contents(folder)
    streams = place / f"streams-{number:06d}"
    running = forked.start_command(plan.words, folder=folder, streams=streams)
    ended = running.wait(TIME_LIMIT)
    problems = [*judge(plan, ended), *changes(plan, ended, before, contents(folder))]
    if not problems and (wrong := _wrong_result(plan, folder, ended)):
        problems.append(wrong)
    return Case(
        number=number, words=plan.words, damaged=damaged, problems=problems, ended=ended
    )


def _wrong_result(plan: Plan, folder: Path, ended: forked.Ended) -> str | None:
    try:
        return plan.check(folder, ended.out.decode())
    except (LookupError, OSError, ValueError) as error:
        return f"the result cannot be read: {error}"


def judge(plan: Plan, ended: forked.Ended) -> list[str]:
    """Find what is wrong with how a command ended and what it printed."""
    out, err = (text.decode(errors="replace") for text in (ended.out, ended.err))
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    found = {
        f"hung for {TIME_LIMIT:.0f} s": ended.timed_out,
        f"ended by signal {-ended.code}": ended.code < 0 and not ended.timed_out,
        f"exit code {ended.code}": ended.code >= 0 and ended.code not in plan.codes,
        "a traceback": "Traceback (most recent call last)" in err,
        f"{ended.peak / forked.GIB:.1f} GiB of memory": ended.peak
        > forked.MEMORY_LIMIT,
        "control characters": CONTROL.search(out + err),
        f"{len(errors)} lines that begin with error:": len(errors) != (ended.code == 2),
        "invalid JSON": ended.code == 0
        and "--json" in plan.words
        and not _is_json(out),
    }
    return [text for text, is_so in found.items() if is_so]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def changes(
    plan: Plan, ended: forked.Ended, before: dict[str, Entry], after: dict[str, Entry]
) -> list[str]:
    """Find what was changed or left behind that should not have been."""
    is_kept = ended.code == 2 and bool(re.search(b"kept|resume", ended.err))
    # An interrupted prediction may go on or begin again before it meets the damage.
    goes_on = any(UNFINISHED.search(name) for name in before)
    found = []
    for name in sorted({*before, *after}):
        if before.get(name) == after.get(name):
            continue
        what = "left behind" if name not in before else "changed"
        what = "removed" if name not in after else what
        is_output = any(name.startswith(out) for out in plan.outputs)
        is_fine = is_output and (is_kept or ended.code != 2)
        is_fine |= is_output and goes_on and bool(UNFINISHED.search(name))
        if is_fine and what == "left behind" and ended.code == 0:
            is_fine = not forked.TEMPORARY.search(name)
        if not is_fine:
            found.append(f"{what}: {name!r}")
    return found[:3]


# ---- all cases ----


@cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def _corpus() -> Path:
    return _scratch() / "corpus"


def _build() -> int:
    os.chdir(_corpus())
    return corpus.build()


def _run_and_tidy(number: int, *, seed: int, keep: Path | None) -> Case:
    case = run_case(number, seed=seed, place=keep or _scratch())
    if keep is None:
        shutil.rmtree(_scratch() / f"case-{number:06d}")
        for linked in _scratch().glob(f"case-{number:06d}-elsewhere*"):
            linked.unlink()
    return case


def report(case: Case, seed: int) -> str:
    """Describe a case that failed, and how to see it again."""
    n_lines = 40 if case.ended.timed_out else 6
    last = case.ended.err.decode(errors="replace").splitlines()[-n_lines:]
    return "\n".join(
        [
            f"FAILED case {case.number}: {'; '.join(case.problems)}",
            f"  command: {shlex.join(case.words)!a}",
            f"  damage: {case.damaged!a}",
            *(f"  | {ascii(line)[1:-1][:300]}" for line in last),
            f"  again: python tests/fuzz.py 1 {seed} --only {case.number} --keep DIR",
        ]
    )


def main() -> int:
    """Run the cases; returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_cases", type=int, metavar="N")
    parser.add_argument("seed", type=int, metavar="SEED")
    parser.add_argument("--only", type=int, help="number of the only case to run")
    parser.add_argument("--keep", type=Path, help="existing folder for the cases")
    n_jobs = min(4, len(os.sched_getaffinity(0)))
    parser.add_argument("--jobs", type=int, default=n_jobs, help="cases at a time")
    parsed = parser.parse_args()
    numbers = range(parsed.n_cases) if parsed.only is None else [parsed.only]
    _corpus().mkdir()
    try:
        forked.preload(_build, folder=_scratch())
        run: Any = partial(
            _run_and_tidy, seed=parsed.seed, keep=parsed.keep and parsed.keep.resolve()
        )
        n_failed = 0
        with get_context("fork").Pool(parsed.jobs) as pool:
            for case in pool.imap_unordered(run, numbers):
                if case.problems:
                    n_failed += 1
                    print(report(case, parsed.seed), flush=True)
    finally:
        shutil.rmtree(_scratch())
    print(f"{len(numbers) - n_failed} passed, {n_failed} failed")
    return int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
