"""Measure what large pages of memory gain on a processor, and what keeping them does.

``python benchmarks/pages.py`` times forward passes and training steps of the preset
quick with PyTorch's memory in pages of 4 KiB; of 2 MiB, as ``napari_lrcs/__init__.py``
asks for; and those kept instead of given back after each use, see `napari_lrcs.heap`.
Each has processes of its own, in turn. Prints a table for ``benchmarks/RESULTS.md``.
Nothing else should run.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from network import PRESETS, forward_pass, seconds_of, training_step

AS_THE_SYSTEM = {"GLIBC_TUNABLES": ""}  # set, even to nothing, it is the user's choice
WAYS = {
    "4 KiB": {"THP_MEM_ALLOC_ENABLE": "0", **AS_THE_SYSTEM},
    "2 MiB": AS_THE_SYSTEM,
    "2 MiB, kept": {},
}
SYSTEM = Path("/sys/kernel/mm/transparent_hugepage/enabled")
WORK = {"forward, 512 × 512": forward_pass, "training step": training_step}
ROUNDS = 3
"""Times in a process; the shortest counts."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--time", choices=WORK, help="take the time of this, here")
    arguments = parser.parse_args()
    if arguments.time:
        print(seconds(arguments.time))
        return
    if SYSTEM.exists():
        print(f"large pages of this system: {SYSTEM.read_text('ascii').strip()}\n")
    heads = " | ".join(f"{way}, s | gain" for way in WAYS)
    print(f"| quick | {heads} |\n{'|---' * (1 + 2 * len(WAYS))}|")
    for work in WORK:
        turns = [
            {way: in_process(work, WAYS[way]) for way in WAYS}
            for _ in range(arguments.turns)
        ]
        cells = " | ".join(cell(turns, way) for way in WAYS)
        print(f"| {work} | {cells} |", flush=True)


def cell(turns: list[dict[str, float]], way: str) -> str:
    """Write the median time of a way, and its gain over the first in each turn."""
    first, *_ = WAYS
    gains = [turn[first] / turn[way] for turn in turns]
    each = ", ".join(f"{gain:.2f}" for gain in gains)
    median = statistics.median(turn[way] for turn in turns)
    return f"{median:.3f} | {statistics.median(gains):.2f} × ({each})"


def in_process(work: str, environment: dict[str, str]) -> float:
    """Take the time in a process of its own."""
    command = [sys.executable, __file__, "--time", work]
    environment = os.environ | environment
    return float(subprocess.check_output(command, env=environment, text=True))


def seconds(work: str) -> float:
    """Take the shortest of some times, once memory is warm."""
    device = torch.device("cpu")
    found = WORK[work](PRESETS["quick"], device, "float32")
    call = found[0] if isinstance(found, tuple) else found
    call()
    return min(seconds_of(call, device) for _ in range(ROUNDS))


if __name__ == "__main__":
    main()
