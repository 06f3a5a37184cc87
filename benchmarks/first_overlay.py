"""How long it takes from pressing Train to the first overlay, on the built-in sample.

Each window is a process of its own. It trains twice: as soon as the dock is open, when
PyTorch is not loaded yet, and again once it is.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/first_overlay.py
"""

import json
import subprocess
import sys
import time
from statistics import median
from typing import Any

import napari
from window import open_dock, own_settings, paint, press, wait_until

from napari_lrcs.plugin.train.preview import PREVIEW_NAME

N_WINDOWS = 5
GOALS = {"in a fresh window": 8.0, "with PyTorch loaded": 4.0}
"""Seconds."""


def main() -> None:
    if "--one" in sys.argv:
        print(json.dumps(measure()))
        return
    runs = [measure_in_new_process() for _ in range(N_WINDOWS)]
    print("| first overlay after Train | goal | median | all |\n|---|---|---|---|")
    for i, (what, goal) in enumerate(GOALS.items()):
        seconds = [run[i] for run in runs]
        each = ", ".join(f"{s:.1f}" for s in seconds)
        print(f"| {what} | {goal:.0f} s | {median(seconds):.1f} s | {each} |")


def measure_in_new_process() -> tuple[float, float]:
    command = [sys.executable, __file__, "--one"]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    fresh, loaded = json.loads(ended.stdout.splitlines()[-1])
    return fresh, loaded


def measure() -> tuple[float, float]:
    """Return the seconds in a fresh window, and in the same one a second time."""
    with own_settings():
        viewer = napari.Viewer()
        viewer.window.resize(1400, 900)
        viewer.open_sample("napari-lrcs", "nmc_electrode")
        paint(viewer)
        train = open_dock(viewer, "Train LRCS-Net")
        seconds = until_overlay(viewer, train), until_overlay(viewer, train)
        viewer.close()
    return seconds


def until_overlay(viewer: napari.Viewer, train: Any) -> float:
    """Train until the overlay is there, then cancel."""
    shown: list[float] = []

    def on_inserted(event: Any) -> None:
        if event.value.name.startswith(PREVIEW_NAME):
            shown.append(time.perf_counter())

    viewer.layers.events.inserted.connect(on_inserted)
    begun = time.perf_counter()
    press(train, "Train")
    wait_until(lambda: bool(shown), seconds=300)
    viewer.layers.events.inserted.disconnect(on_inserted)
    press(train, "Cancel")
    wait_until(lambda: not train.is_busy)
    return shown[0] - begun


if __name__ == "__main__":
    main()
