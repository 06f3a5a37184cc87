"""Measure what large pages of memory gain on a processor.

``python benchmarks/pages.py`` times forward passes and training steps of the preset
quick with PyTorch's memory in pages of 4 KiB and, as ``napari_lrcs/__init__.py`` asks
for, of 2 MiB, in processes of their own, in turn, and prints a table for
``benchmarks/RESULTS.md``. Nothing else should run.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from network import PRESETS, _forward, _time, _training_step

SWITCH = "THP_MEM_ALLOC_ENABLE"
SYSTEM = Path("/sys/kernel/mm/transparent_hugepage/enabled")
WORK = {"forward, 512 × 512": _forward, "training step": _training_step}
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
    print("| quick | 4 KiB | 2 MiB | gain (each turn) |\n|---|---|---|---|")
    for work in WORK:
        taken = [
            [in_process(work, is_on=is_on) for is_on in (False, True)]
            for _ in range(arguments.turns)
        ]
        small, large = (statistics.median(times) for times in zip(*taken, strict=True))
        gains = [a / b for a, b in taken]
        each = ", ".join(f"{gain:.2f}" for gain in gains)
        print(
            f"| {work} | {small:.3f} s | {large:.3f} s "
            f"| {statistics.median(gains):.2f} × ({each}) |",
            flush=True,
        )


def in_process(work: str, *, is_on: bool) -> float:
    """Take the time in a process of its own."""
    command = [sys.executable, __file__, "--time", work]
    environment = os.environ | {SWITCH: str(int(is_on))}
    return float(subprocess.check_output(command, env=environment, text=True))


def seconds(work: str) -> float:
    """Take the shortest of some times, once memory is warm."""
    device = torch.device("cpu")
    found = WORK[work](PRESETS["quick"], device, "float32")
    call = found[0] if isinstance(found, tuple) else found
    call()
    return min(_time(call, device) for _ in range(ROUNDS))


if __name__ == "__main__":
    main()
