"""The dock "Check segmentation": paint check patches, and see what they tell."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from napari.viewer import Viewer
from qtpy.compat import isalive

from napari_lrcs.annotation.check_folder import CheckFolder, Drawing
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.comparison.measures import Measuring
from napari_lrcs.plugin.check.form import CheckForm, Draw
from napari_lrcs.plugin.check.job import Judge, Judged, save_budget, save_report
from napari_lrcs.plugin.check.offer import CheckOffer
from napari_lrcs.plugin.check.patches import CheckPatches
from napari_lrcs.plugin.check.results import CheckResults
from napari_lrcs.plugin.check.session import PatchSession
from napari_lrcs.plugin.check.tools import PatchTools
from napari_lrcs.plugin.parts.closable import Closable
from napari_lrcs.plugin.parts.connections import Outdated
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.keys import canvas_button
from napari_lrcs.plugin.parts.layers.layers import labels_of
from napari_lrcs.plugin.parts.widgets import button, hbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, Saved
from napari_lrcs.uncertainty.trust.report import LEAST_PATCHES, Counting

Save = Callable[[Path, Judged], Events]


class CheckDock(Dock):
    """Paint squares at random places; they show how far a result is off."""

    key: ClassVar[str] = "check"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.session: PatchSession | None = None
        """The patches that are open."""
        self._judge: Judge | None = None
        self._is_waiting = False  # to judge once the job has ended
        self._is_counting = False  # or drawing, which may be stopped
        self._drawn: Draw | None = None
        self._outdated = Outdated(viewer.layers, self._on_outdated)
        self.form = CheckForm(viewer)
        self.tools = PatchTools()
        self.results = CheckResults(viewer)
        self.offer = CheckOffer()
        self._build()
        self._connect()
        for part in (self.form, self.results):
            part.restore(self.recall())
        self.connections += [
            *self.form.connections,
            *(self.results.plot, self.results.budget.plot, self.offer, self._outdated),
        ]
        self._search()
        self.update_buttons()

    def _build(self) -> None:
        self.draw_button = canvas_button(
            "Draw patches",
            "Place new squares at random, and begin to paint the first of them",
            self.draw,
        )
        self.stop_button = button(
            "Stop", "Stop; what is painted is kept, and can be judged later", self.stop
        )
        self.judge_button = canvas_button(
            "Judge again",
            "Judge the chosen segmentation by the patches as they are now",
            self.judge,
        )
        for part in (self.form, self.tools, self.results):
            self.body.addWidget(part)
        self.body.addStretch()
        self.footer.addWidget(self.offer)
        self.footer.addLayout(
            hbox(self.draw_button, self.judge_button, self.stop_button)
        )

    def _connect(self) -> None:
        self.form.image_changed.connect(self._search)
        self.form.segmentation.chosen.connect(self._on_segmentation)
        self.offer.open_requested.connect(self.open_check)
        self.offer.failed.connect(lambda text: self.show_message(text, "warning"))
        self.offer.searched.connect(self.update_buttons)
        _connect_results(self)
        self.tools.requested.connect(self._act)

    def _act(self, act: Callable[[PatchSession], None]) -> None:
        if self.session is not None:
            act(self.session)

    # ---- patches are drawn, opened and left ----

    def draw(self) -> None:
        """Draw patches as the form says, or say why that cannot be."""
        if self.is_busy:
            return
        try:
            drawn = self.form.draw()
        except EXPECTED as error:
            self.show_error(error)
            return
        self._drawn, self._is_counting = drawn, True
        self.begin("Drawing check patches", drawn.events)
        self.progress.begin("Looking where patches may lie…")

    def open_check(self, folder: CheckFolder) -> None:
        """Go on with patches that are drawn."""
        if (image := self.form.image) is None:
            self.show_message("Open the image that the patches are to be painted on")
            return
        self.close_check()
        try:
            patches = CheckPatches(folder, image)
        except EXPECTED as error:
            self.show_error(error)
            return
        session = PatchSession(self.viewer, patches, image, dock=self)
        self._judge, self.session = Judge(folder), session
        session.changed.connect(self._show_patches)
        session.left.connect(self._judge_if_painted)
        session.told.connect(self.show_message)
        session.closed.connect(self._on_closed)
        self.results.clear()
        self.show_message("")
        self._show_patches()
        self.update_buttons()
        self._judge_if_painted()

    def close_check(self) -> None:
        """Leave the patches; all that is painted is on disk."""
        if self.session is not None:
            self.session.close()

    def _on_closed(self) -> None:
        self.session = self._judge = None
        self._is_waiting = False
        if not self._is_closed:
            self._search(anew=True)
            self.update_buttons()

    def _search(self, *, anew: bool = False) -> None:
        self.offer.search(self.form.image, anew=anew)

    def _show_patches(self) -> None:
        if self.session is not None:
            self.tools.show_patches(self.session.patches)

    # ---- judging ----

    def judge(self, *, with_material: bool = False) -> None:
        """Judge the chosen segmentation by what is painted, now or once that can be."""
        session, judge = self.session, self._judge
        layer = self.form.segmentation.layer
        if session is None or judge is None or session.patches.n_done < LEAST_PATCHES:
            return
        if self.is_busy:
            self._is_waiting = True
            return
        if layer is None:
            self.show_message("Choose the segmentation that is to be judged", "warning")
            return
        try:
            segmentation = labels_of(layer)
        except EXPECTED as error:
            self.show_error(error)
            return
        self._outdated.follow([layer])
        begin = partial(
            judge.events,
            segmentation,
            half_width=self.results.half_width,
            version=session.patches.version,
            with_material=with_material,
        )
        self.begin(f"Judging {layer.name}", begin)

    def _judge_if_painted(self) -> None:
        """Judge anew once a patch is finished, unless nothing has changed."""
        session, judged = self.session, self.results.judged
        if session is not None and (
            judged is None or judged.version != session.patches.version
        ):
            self.judge()

    def _on_segmentation(self) -> None:
        self._count_anew()
        self.judge()

    def _on_outdated(self) -> None:
        self._count_anew()
        self._is_waiting |= self.is_busy
        if self.results.judged is not None:
            self.results.setEnabled(False)
            warning = self._outdated.warning("judged", remedy="press Judge again")
            self.show_message(warning, "warning")

    def _count_anew(self) -> None:
        if self.session is not None:
            self._judge = Judge(self.session.patches.folder)

    def handle(self, event: Any) -> None:
        """Show how far the work is, patches that are drawn, or what they tell."""
        match event:
            case Drawing():
                self.progress.show_share(event.share, "Looking where patches may lie")
            case Check() if self._drawn is not None:
                self.form.seed.setValue(self.form.seed.value() + 1)
                self.open_check(CheckFolder(self._drawn.path))
            case Counting(share=share):
                self._show_share(share, "Counting voxels")
            case Measuring(share=share, text=text):
                self._show_share(share, text)
            case Judged():
                self._show_judged(event)
            case Saved():
                self.show_message(str(event), "done")

    def _show_share(self, share: float, text: str) -> None:
        if not self._is_counting:
            self._is_counting = True
            self.progress.begin(f"{text}…")
            self.update_buttons()
        self.progress.show_share(share, text)

    def _show_judged(self, judged: Judged) -> None:
        self.results.show_judged(judged)
        if judged.report.n_patches == (n := len(judged.report.check.patches)):
            self.show_message(f"All {n} patches are painted.", "done")

    def finish(self, outcome: Outcome) -> None:
        """Say so if the work was stopped, and judge what was painted meanwhile."""
        if outcome == "stopped":
            is_drawn = self._drawn is None
            self.show_message("Stopped" + ("" if is_drawn else "; nothing was drawn"))
        self._drawn, self._is_counting = None, False
        if self._is_waiting:
            self._is_waiting = False
            self.judge()

    def update_buttons(self) -> None:
        """Show the buttons that make sense now."""
        session, is_open = self.session, self.session is not None
        self.form.show_drawing(not is_open)
        self.tools.setVisible(is_open)
        self.draw_button.setVisible(not is_open)
        self.offer.setVisible(bool(self.offer.checks) and not is_open)
        self.judge_button.setVisible(
            session is not None and session.patches.n_done >= LEAST_PATCHES
        )
        for made in (self.draw_button, self.offer, self.judge_button):
            made.setEnabled(not self.is_busy)
        self.results.budget.material_button.setEnabled(not self.is_busy)
        self.stop_button.setVisible(self._is_counting and self.is_busy)
        self.stop_button.setEnabled(not self.is_stopping)

    def save(self, path: Path, write: Save = save_report) -> None:
        """Write what is shown to `path`, by default as `save_report` does."""
        judged = self.results.judged
        if judged is not None and not self.is_busy:
            self.begin("Saving the report", lambda: write(path, judged))

    # ---- the rest ----

    def settings(self) -> dict[str, Any]:
        """Return how patches are drawn, and the wanted half-width."""
        return {**self.form.settings(), "half_width": self.results.half_width}

    def shut_down(self) -> None:
        """Stop, and let the patches be opened elsewhere."""
        session = self.session
        # napari closes a dock alone by taking it out of the window, which goes on.
        is_alone = isalive(self) and isinstance(self.window(), Closable)
        super().shut_down()
        if session is not None:
            session.close() if is_alone else session.disconnect_events()


def _connect_results(dock: CheckDock) -> None:
    dock.results.half_width_changed.connect(dock.judge)
    budget = dock.results.budget
    budget.material_requested.connect(lambda: dock.judge(with_material=True))
    for part, write in ((dock.results, save_report), (budget, save_budget)):
        save = partial(dock.save, write=write)
        part.copy_requested.connect(dock.copy_table)
        part.save_requested.connect(partial(dock.ask_where_to_save, save=save))
