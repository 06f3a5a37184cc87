"""How soon the overlay answers a stroke while a network trains as its user paints.

Paints eight corrections over two minutes into napari's window, each where the overlay
is wrong most, and finishes. A correction is shown with the first overlay that has
learnt from it, and answered when the overlay has made half of the gain under it that it
has made at the end. Then trains `quick` on the same painting, for as long.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/live.py [FOLDER]

FOLDER holds ``nmc-electrode-raw.tif`` and ``nmc-electrode-labels.tif``; without it, the
built-in sample is painted.
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from scipy.ndimage import uniform_filter
from window import (
    Watch,
    newest_run,
    open_dock,
    own_settings,
    press,
    report,
    wait_until,
)

from napari_lrcs.annotation.annotation import AnnotatedVolume, read_annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.inference.predict import predict_slice
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.metrics.overlap import confusion_matrix, iou_per_phase, mean_iou
from napari_lrcs.models.checkpoint import Checkpoint, load_checkpoint
from napari_lrcs.plugin.train.preview import PREVIEW_NAME, SlicePreview
from napari_lrcs.progress import OverlayChosen, StrokesTaken, result_of
from napari_lrcs.training.loop import train
from napari_lrcs.training.run.folder import RunFolder

SECONDS, N_STROKES, FIRST = 120.0, 8, 8.0
PAINTED = (10, 20, 30)
"""Slices that the corrections are painted on, in turn."""
LENGTH, RADIUS = 48, 4
"""Of a stroke, in pixels."""


@dataclass
class Correction:
    """A stroke, and how the overlay follows it."""

    index: int
    mask: NDArray[np.bool_]
    painted_at: float
    shares: list[tuple[float, float]]
    """Seconds since the stroke, and share of it that is right in the overlay."""
    shown: float = np.inf
    """Seconds to the first overlay that has learnt from it."""

    @property
    def answered(self) -> float:
        """Seconds to half of the gain; to the first overlay, if there is none."""
        before, at_end = self.shares[0][1], self.shares[-1][1]
        if at_end <= before:
            return self.shown
        goal = (before + at_end) / 2
        return next(seconds for seconds, share in self.shares if share >= goal)


class Painter:
    """Paints corrections, and watches the overlay answer."""

    def __init__(self, viewer: napari.Viewer, truth: NDArray[np.uint8]) -> None:
        self.viewer, self.truth = viewer, truth
        layer = viewer.layers.selection.active
        assert isinstance(layer, Labels)
        self.layer = layer
        self.corrections: list[Correction] = []
        self.rng = np.random.default_rng(0)

    def show(self, index: int) -> None:
        self.viewer.dims.set_current_step(0, index)

    def begin(self) -> None:
        """Paint three strokes to start from."""
        self.show(PAINTED[0])
        for _ in range(3):
            place = [self.rng.integers(LENGTH, n - LENGTH) for n in self.shape]
            self.paint(PAINTED[0], self.stroke(place))

    @property
    def shape(self) -> tuple[int, int]:
        return self.truth.shape[1], self.truth.shape[2]

    def stroke(self, place: Sequence[Any]) -> NDArray[np.bool_]:
        """Choose the pixels along a line in any direction."""
        angle = self.rng.uniform(0, np.pi)
        rows, columns = np.ogrid[: self.shape[0], : self.shape[1]]
        y, x = rows - place[0], columns - place[1]
        along = y * np.sin(angle) + x * np.cos(angle)
        beside = y * np.cos(angle) - x * np.sin(angle)
        return (np.abs(along) <= LENGTH / 2) & (np.abs(beside) <= RADIUS)

    def paint(self, index: int, mask: NDArray[np.bool_]) -> None:
        """Paint the true labels, as one stroke."""
        at = np.nonzero(mask)
        with self.layer.block_history():
            self.layer.data_setitem(
                (np.full(len(at[0]), index), *at), self.truth[index][mask]
            )

    def plan(self, index: int) -> tuple[NDArray[np.bool_], float] | None:
        """Choose where the overlay is wrong most; None before there is one."""
        overlay = self.overlay(index)
        if overlay is None:
            return None
        density = uniform_filter((overlay != self.truth[index]).astype(float), 32)
        inner = density[LENGTH:-LENGTH, LENGTH:-LENGTH]
        place = np.array(np.unravel_index(inner.argmax(), inner.shape)) + LENGTH
        mask = self.stroke(place.tolist())
        return mask, self.share_right(overlay, index, mask)

    def correct(self, index: int, mask: NDArray[np.bool_], share: float) -> None:
        self.paint(index, mask)
        made = Correction(index, mask, time.monotonic(), [(0.0, share)])
        self.corrections.append(made)

    def overlay(self, index: int) -> NDArray[np.uint8] | None:
        if PREVIEW_NAME not in self.viewer.layers:
            return None
        plane = np.asarray(self.viewer.layers[PREVIEW_NAME].data[index])
        return plane if plane.any() else None

    def share_right(
        self, overlay: NDArray[np.uint8], index: int, mask: NDArray[np.bool_]
    ) -> float:
        return float((overlay[mask] == self.truth[index][mask]).mean())

    def look(self) -> None:
        """Note how much of each correction is right in the overlay by now."""
        overlays = {index: self.overlay(index) for index in PAINTED}
        for c in self.corrections:
            overlay = overlays[c.index]
            if overlay is None:
                continue
            share = self.share_right(overlay, c.index, c.mask)
            if share != c.shares[-1][1]:
                c.shares.append((time.monotonic() - c.painted_at, share))

    def follow(self, dock: Any) -> None:
        """Note when the first overlay is shown that has learnt from a correction."""
        handle, waiting, by_forest = dock.handle, list[Correction](), [False]

        def spy(event: Any) -> None:
            handle(event)
            match event:
                case StrokesTaken():
                    waiting[:] = [c for c in self.corrections if c.shown == np.inf]
                    is_learnt[0] = not by_forest[0]
                case OverlayChosen():
                    by_forest[0], is_learnt[0] = event.by == "forest", True
                case SlicePreview() if is_learnt[0]:
                    for c in waiting:
                        c.shown = time.monotonic() - c.painted_at
                    waiting.clear()

        is_learnt = [True]
        dock.handle = spy


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with own_settings(), TemporaryDirectory() as scratch:
        viewer = napari.Viewer()
        viewer.window.resize(1400, 900)
        truth = open_volume(viewer, folder, Path(scratch))
        image = viewer.layers[0].data
        press(open_dock(viewer, "Label phases"), "New labels layer")
        painter = Painter(viewer, truth)
        networks = watch_live(viewer, painter)
        labels = np.asarray(painter.layer.data)
        viewer.close()
        like, place = networks["finished"].config, Path(scratch) / "quick"
        networks["quick"] = train_quick(image, labels, like, place)
        report_scores(networks, image, truth)


def watch_live(viewer: napari.Viewer, painter: Painter) -> dict[str, Checkpoint]:
    """Paint while a network trains, and finish; report how it went."""
    painter.begin()
    dock = open_dock(viewer, "Train LRCS-Net")
    painter.follow(dock)
    press(dock, "Train as I paint")
    wait_until(lambda: PREVIEW_NAME in viewer.layers, seconds=300)
    gaps = paint_for_two_minutes(painter)
    run, networks = RunFolder(newest_run(viewer)), {}
    if run.last.is_file():  # an epoch has ended
        networks["after two minutes"] = load_checkpoint(run.last)
    press(dock, "Finish")
    begun = time.monotonic()
    wait_until(lambda: not dock.is_busy, seconds=600)
    print(f"finished in {time.monotonic() - begun:.0f} s: {dock.message}")
    report_answers(painter.corrections)
    report("live", gaps)
    return {**networks, "finished": load_checkpoint(run.best)}


def open_volume(
    viewer: napari.Viewer, folder: Path | None, scratch: Path
) -> NDArray[np.uint8]:
    """Open the image, from a copy where nothing is kept of it; return the truth."""
    import tifffile

    if folder is None:
        viewer.open_sample("napari-lrcs", "nmc_electrode")
        truth = np.asarray(viewer.layers[1].data, np.uint8)
        viewer.layers.pop(1)
        return truth
    image = scratch / "nmc-electrode-raw.tif"
    image.write_bytes((folder / image.name).read_bytes())
    viewer.open(image)
    return np.asarray(tifffile.imread(folder / "nmc-electrode-labels.tif"), np.uint8)


def paint_for_two_minutes(painter: Painter) -> list[float]:
    """Correct at fixed times; return the gaps of the window.

    What a user would do by eye is done in a thread, so that the window does not wait.
    """
    begun = time.monotonic()
    pause = (SECONDS - FIRST) / N_STROKES
    eye = ThreadPoolExecutor(1)
    looking: list[Future[Any]] = [eye.submit(lambda: None)]
    plans: list[Future[Any]] = [eye.submit(lambda: None)]

    def turn() -> None:
        n, elapsed = len(painter.corrections), time.monotonic() - begun
        if looking[0].done():
            looking[0] = eye.submit(painter.look)
        if n == N_STROKES:
            return
        index, due = PAINTED[n % len(PAINTED)], FIRST + n * pause
        if elapsed >= due - 5:  # the slice is in view before it is corrected
            painter.show(index)
        if elapsed >= due and plans[0].done():
            plan = plans[0].result()
            if plan is not None:
                painter.correct(index, *plan)
            is_made = plan is not None
            plans[0] = eye.submit(lambda: None if is_made else painter.plan(index))

    watch, timer = Watch(), QTimer()
    timer.timeout.connect(turn)
    timer.start(200)
    watch.start()
    wait_until(lambda: time.monotonic() - begun > SECONDS, seconds=2 * SECONDS)
    watch.stop()
    timer.stop()
    eye.shutdown()
    return watch.gaps


def train_quick(
    image: Any, labels: NDArray[np.uint8], like: TrainConfig, run: Path
) -> Checkpoint:
    """Train by the preset, on the network that was live, for two minutes at most."""
    config = TrainConfig().with_changes(
        context_slices=like.network.context_slices, device=like.device
    )
    volume = AnnotatedVolume(
        image=as_volume(image, name="image"),
        labels=as_labels(as_volume(labels, name="labels")),
        roles={"train": [z for z in range(len(labels)) if labels[z].any()]},
    )
    begun = time.monotonic()
    with closing(
        train(read_annotation([volume], config=config), config=config, run=run)
    ) as events:  # type: ignore[type-var]
        for _ in events:
            if time.monotonic() - begun > SECONDS:
                break
    print(f"quick: {len(RunFolder(run).read_history())} epochs in two minutes")
    return load_checkpoint(RunFolder(run).best)


def report_answers(corrections: Sequence[Correction]) -> None:
    print("| correction | median | worst | each, s |\n|---|---|---|---|")
    for what in ("shown", "answered"):
        seconds = [getattr(c, what) for c in corrections]
        each = ", ".join(f"{s:.1f}" for s in seconds)
        print(f"| {what} | {np.median(seconds):.1f} | {max(seconds):.1f} | {each} |")
    shares = [(c.shares[0][1], c.shares[-1][1]) for c in corrections]
    each = ", ".join(f"{a:.0%} → {b:.0%}" for a, b in shares)
    print(f"right under each, before and at the end: {each}")


def report_scores(
    networks: dict[str, Checkpoint], image: Any, truth: NDArray[np.uint8]
) -> None:
    hidden = range(len(truth) // 2, len(truth), 5)
    volume = as_volume(image)
    print("| network | mean IoU on hidden slices | IoU of each phase |\n|---|---|---|")
    for name, network in networks.items():
        n_phases = len(network.phases)
        parts = [
            confusion_matrix(
                truth[z],
                result_of(predict_slice(volume, network, z)),
                n_phases=n_phases,
            )
            for z in hidden
        ]
        confusion = reduce(add, parts)
        each = ", ".join(f"{iou:.3f}" for iou in iou_per_phase(confusion))
        print(f"| {name} | {mean_iou(confusion):.3f} | {each} |")


if __name__ == "__main__":
    main()
