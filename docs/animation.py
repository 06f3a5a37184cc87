"""Make README's animation: paint, train, predict and compare, in a real window.

xvfb-run -a -s "-screen 0 1600x1000x24" python docs/animation.py [FILE.gif]
"""

import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from napari import Viewer
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from screenshots import (
    SHOWN,
    TRAIN,
    VALIDATION,
    close_dock,
    open_dock,
    press,
    sample_in_napari,
    scribble,
    wait,
    wait_until,
)

WINDOW = (1180, 720)
WIDTH = 880
"""Pixels of the animation from left to right."""

N_STROKES = 24
N_EPOCHS = 8
PATCHES_PER_EPOCH = 160
"""Fewer than by default, so that the script ends soon on a busy machine too."""


class Film:
    """Frames with a caption each, and how long they are shown."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.caption = ""
        self.frames: list[Picture.Image] = []
        self.milliseconds: list[int] = []

    def take(self, seconds: float) -> None:
        """Photograph the window, to be shown for so long."""
        wait(0.3)
        shot = self.viewer.screenshot(canvas_only=False, flash=False)
        picture = Picture.fromarray(shot[..., :3])
        height = round(picture.height * WIDTH / picture.width)
        picture = picture.resize((WIDTH, height), Picture.Resampling.LANCZOS)
        self.frames.append(_with_caption(picture, self.caption))
        self.milliseconds.append(round(1000 * seconds))

    def save(self, path: Path) -> None:
        """Write all frames, looping, in the colours that serve them best together."""
        palette = _stacked(self.frames[:: max(1, len(self.frames) // 8)]).quantize(128)
        frames = [
            frame.quantize(palette=palette, dither=Picture.Dither.NONE)
            for frame in self.frames
        ]
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            duration=self.milliseconds,
            loop=0,
            optimize=True,
        )
        seconds = sum(self.milliseconds) / 1000
        print(f"{path}: {len(frames)} frames, {seconds:.1f} s, {path.stat().st_size} B")


def main(path: Path) -> None:
    with sample_in_napari() as viewer:
        viewer.window.resize(*WINDOW)
        viewer.dims.set_current_step(0, TRAIN)
        wait(1)
        film = Film(viewer)
        paint(film)
        train(film)
        predict(film)
        compare(film)
        film.save(path)


def paint(film: Film) -> None:
    film.caption = "1  Paint a few strokes on one slice, and some on a second to check"
    viewer = film.viewer
    dock, widget = open_dock(viewer, "Label phases")
    _settle(viewer)
    film.take(1)
    press(widget, "New labels layer")
    truth, painting = viewer.layers[1], viewer.layers[-1]
    for index, role, n_frames in ((TRAIN, "Train", 6), (VALIDATION, "Validation", 2)):
        viewer.dims.set_current_step(0, index)
        target = np.asarray(truth.data[index])
        step = N_STROKES // n_frames
        for first in range(0, N_STROKES, step):
            scribble(painting, target, index, strokes=slice(first, first + step))
            film.take(0.35)
        press(widget, role)
        film.take(0.8)
    viewer.dims.set_current_step(0, TRAIN)
    close_dock(viewer, dock, widget)


def train(film: Film) -> None:
    film.caption = "2  Train LRCS-Net, with or without a graphics card"
    dock, widget = open_dock(film.viewer, "Train LRCS-Net")
    widget.setup.form["n_epochs"].value = N_EPOCHS
    widget.setup.form["patches_per_epoch"].value = PATCHES_PER_EPOCH
    _settle(film.viewer)
    film.take(0.8)
    press(widget, "Train")
    wait_until(lambda: "Epoch" in widget.progress.text, seconds=60)
    while widget.is_busy:
        shown = _epoch(widget)
        film.take(0.4)
        wait_until(
            lambda shown=shown: not widget.is_busy or _epoch(widget) > shown,
            seconds=240,
        )
    film.take(1.2)
    close_dock(film.viewer, dock, widget)


def predict(film: Film) -> None:
    film.caption = "3  Predict the whole volume"
    viewer = film.viewer
    for layer in list(viewer.layers)[1:]:
        layer.visible = False
    viewer.dims.set_current_step(0, 4)
    dock, widget = open_dock(viewer, "Predict volume")
    _settle(viewer)
    wait(3)
    film.take(0.8)
    press(widget, "Predict")
    wait_until(lambda: not widget.is_busy, seconds=240)
    for index in range(4, SHOWN + 1, 6):
        viewer.dims.set_current_step(0, index)
        film.take(0.35)
    close_dock(viewer, dock, widget)


def compare(film: Film) -> None:
    film.caption = "4  Compare with the truth, and see where they differ"
    viewer = film.viewer
    truth, predicted = viewer.layers[1], viewer.layers[-1]
    dock, widget = open_dock(viewer, "Compare segmentations")
    widget.form.target.layer = truth
    widget.form.predicted.layer = predicted
    _settle(viewer)
    film.take(0.8)
    press(widget, "Compare")
    wait_until(lambda: not widget.is_busy)
    film.take(1.6)
    predicted.visible = False
    press(widget, "Show differences")
    film.take(2.2)
    close_dock(viewer, dock, widget)


def _settle(viewer: Viewer) -> None:
    wait(1)
    viewer.reset_view()
    wait(0.5)


def _epoch(widget: Any) -> int:
    (number,) = re.findall(r"Epoch (\d+)", widget.progress.text) or [0]
    return int(number)


def _with_caption(picture: Picture.Image, caption: str) -> Picture.Image:
    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    font = ImageFont.truetype(fonts / "DejaVuSans-Bold.ttf", 17)
    framed = Picture.new("RGB", (picture.width, picture.height + 36), "#1b3a4b")
    framed.paste(picture, (0, 36))
    ImageDraw.Draw(framed).text((14, 18), caption, "white", font, anchor="lm")
    return framed


def _stacked(pictures: list[Picture.Image]) -> Picture.Image:
    return Picture.fromarray(np.concatenate([np.asarray(p) for p in pictures]))


if __name__ == "__main__":
    HERE = Path(__file__).parent
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images" / "whole-way.gif")
