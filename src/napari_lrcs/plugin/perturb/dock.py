"""The dock "Perturb labels": labels as several experimenters may have painted them."""

from collections.abc import Callable
from typing import Any, ClassVar

from napari.viewer import Viewer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QLabel

from napari_lrcs.annotation.painting.slices import SlicesRead
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.connections import Connections, Emitter, Replaceable
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.forms import Fold
from napari_lrcs.plugin.parts.widgets import Kind, button, hbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Events
from napari_lrcs.plugin.perturb import job as jobs
from napari_lrcs.plugin.perturb.layers import PerturbedLayers
from napari_lrcs.plugin.perturb.preview import PreviewPart
from napari_lrcs.plugin.perturb.results import HistogramPart
from napari_lrcs.plugin.perturb.setup import MembersPart, PerturbRequest, PerturbSetup
from napari_lrcs.plugin.perturb.suggestion import SuggestionPart
from napari_lrcs.uncertainty.perturbation.histogram import SimulationEnded
from napari_lrcs.uncertainty.perturbation.perturbed_set import PerturbedSet, Perturbing
from napari_lrcs.uncertainty.perturbation.suggestion import Suggestion


class PerturbDock(Dock):
    """Make perturbed labels, see a preview, and count where interfaces come to lie."""

    key: ClassVar[str] = "perturb"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.setup = PerturbSetup(viewer)
        self.members = MembersPart()
        self.histogram = HistogramPart(viewer, on_count=self.count_interfaces)
        self.preview = PreviewPart(viewer, self.setup, self._preview_request)
        self.suggestion = SuggestionPart(self.setup, on_suggest=self.suggest)
        self._running: PerturbRequest | None = None
        self._layers: PerturbedLayers | None = None
        self._strokes = Replaceable()
        self._warnings: tuple[str, ...] = ()
        self._build()
        kept = self.recall()
        is_restored = self.setup.restore(kept)
        self.suggestion.is_own = is_restored and not kept.get("is_suggested")
        self._connect()
        self._on_labels()
        self.update_buttons()

    def _build(self) -> None:
        self.body.addWidget(self.setup)
        for part in (self.suggestion, self.preview, self.members):
            self.body.addWidget(part)
        self.body.addWidget(Fold("Interface histogram", self.histogram))
        self.body.addStretch()
        self.perturb_button = button(
            "Perturb", "Make the perturbed labels, each one different", self.perturb
        )
        self.cancel_button = button(
            "Cancel", "Stop; layers that are finished are kept", self.stop
        )
        buttons = hbox(self.perturb_button, self.cancel_button, stretch=(2, 1))
        self.footer.addLayout(buttons)

    def _connect(self) -> None:
        self.setup.labels.chosen.connect(self._on_labels)
        self.in_front_changed.connect(self.preview.layer.set_in_front)
        self.suggestion.search_ended.connect(self.preview.update_preview)
        self.setup.changed.connect(self.preview.update_preview)
        self.members.seed.valueChanged.connect(self.preview.update_preview)
        self.connections += [
            self.setup,
            self.histogram.plot,
            self.preview,
            self._strokes,
        ]

    # ---- what the buttons do ----

    def perturb(self) -> None:
        """Make the members that the form asks for."""
        if self.is_busy or not self.members.may_begin():
            return
        n_members = self.members.n_members.value()
        try:
            folder = self.members.folder
        except EXPECTED as error:
            self.show_error(error)
            return
        if folder is None:
            self._begin(
                lambda request: jobs.members(request, n_members),
                kept="The layers made so far are kept.",
            )
        else:
            self._begin(lambda request: jobs.files(request, n_members, folder))

    def suggest(self) -> None:
        """Set the kernel and the picked fraction that change the wanted share."""
        share = self.suggestion.share
        self._begin(lambda request: jobs.suggest(request, share))

    def count_interfaces(self) -> None:
        """Simulate, and count where interfaces come to lie."""
        n = self.histogram.n_simulations.value()
        if self._begin(lambda request: jobs.histogram(request, n)):
            self.histogram.clear()

    def _request(self) -> PerturbRequest:
        return self.setup.request(seed=self.members.seed.value())

    def _preview_request(self) -> PerturbRequest:
        if self.suggestion.is_searching:
            share = f"{self.suggestion.share:.0%}"
            raise ValueError(
                f"Looking for a perturbation that changes about {share} of the voxels…"
            )
        return self._request()

    def _begin(
        self, make: Callable[[PerturbRequest], Events], *, kept: str = ""
    ) -> bool:
        """Begin a job with what the form asks for, and tell whether it could begin."""
        if self.is_busy:
            return False
        try:
            request = self._request()
        except EXPECTED as error:
            self.show_error(error)
            return False
        self._running = request
        self._layers = PerturbedLayers(self.viewer, request.layer)
        self.remember()
        name = f"Perturbing {request.labels.name}"
        self.begin(name, lambda: make(request), kept=kept)
        self.progress.begin("Reading the labels…")
        return True

    # ---- running ----

    def handle(self, event: Any) -> None:
        """Show an event of the job."""
        match event:
            case SlicesRead():
                text = f"Reading slice {event.n_done} of {event.n_slices}"
                self.progress.show_share(event.share, text)
            case jobs.MemberMade():
                self._add_member(event)
            case Perturbing():
                self.progress.show_share(event.share, "Writing members and histogram")
            case SimulationEnded():
                share = event.n_done / event.n_simulations
                text = f"Simulation {event.n_done} of {event.n_simulations}"
                self.progress.show_share(share, text)
            case _:
                self._complete(event)

    def _complete(self, event: Any) -> None:
        match event:
            case PerturbedSet():
                self._show_files(event)
            case jobs.Counted():
                self._add_counts(event)
            case Suggestion():
                self._use_suggestion(event)

    def finish(self, outcome: Outcome) -> None:
        """Say what is kept of a job that was stopped."""
        if outcome == "stopped":
            n_kept = 0 if self._layers is None else self._layers.n_members
            self.show_message(f"Stopped; member layers kept: {n_kept or 'none'}")
        self._running = self._layers = None

    def update_buttons(self) -> None:
        """Enable the buttons that make sense now."""
        for made in (
            self.perturb_button,
            self.suggestion.button,
            self.histogram.count_button,
        ):
            made.setEnabled(not self.is_busy)
        self.cancel_button.setEnabled(self.is_busy and not self.is_stopping)

    def _add_member(self, made: jobs.MemberMade) -> None:
        if self._layers is None:
            return
        self._layers.add_member(made)
        n_done = made.number + 1
        text = f"Member {n_done} of {made.n_members}"
        self.progress.show_share(n_done / made.n_members, text)
        if made.number == 0:
            self._warnings = made.advice
        if n_done == made.n_members:
            self._show_made(f"Made {n_done} label layers", made.changed_share)

    def _show_files(self, made: PerturbedSet) -> None:
        folder = made.files[0].parent
        self._warnings = made.advice
        text = f"{len(made.files)} members and their histogram are in {folder}"
        self._show_made(text, float(made.changed_shares.mean()))
        self.members.propose_folder(self.setup.labels.layer)

    def _show_made(self, what: str, share: float) -> None:
        text = f"{what}; about {share:.1%} of the voxels change in each"
        warnings = [f"{text[:1].upper()}{text[1:]}." for text in self._warnings]
        kind: Kind = "warning" if warnings else "done"
        self.show_message(" ".join([f"{text}.", *warnings]), kind)

    def _add_counts(self, counted: jobs.Counted) -> None:
        if self._layers is None or self._running is None:
            return
        self._layers.add_counts(counted)
        self.histogram.show_widths(
            counted.widths, counted.histogram, self._running.labels
        )
        share = float(counted.histogram.changed_shares.mean())
        n = counted.histogram.n_simulations
        self.show_message(
            f"Counted {n} simulations; {share:.1%} of the voxels change", "done"
        )

    def _use_suggestion(self, suggestion: Suggestion) -> None:
        self.suggestion.use(suggestion)
        share = f"{suggestion.share:.1%}"
        self.show_message(
            f"Kernel and fraction are set: {share} of the voxels change", "done"
        )

    # ---- following ----

    def _on_labels(self) -> None:
        layer = self.setup.labels.layer
        self.preview.layer.remove()
        painting = painting_of(layer)
        changes: list[Emitter] = []
        if painting is not None:
            changes = [painting.changed]
        elif layer is not None:
            changes = [layer.events.paint, layer.events.data]
        else:
            self.preview.box.setChecked(True)  # it was removed with all other layers
        strokes = Connections(
            *((change, self.preview.update_preview) for change in changes)
        )
        self._strokes.replace(strokes)
        self.members.propose_folder(layer)
        self.suggestion.suggest_first(seed=self.members.seed.value())
        self.preview.update_preview()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 Qt's name
        """Align the fields of the forms, whose labels now have their font."""
        super().showEvent(event)
        forms = (self.setup, self.members)
        labels = [label for form in forms for label in form.findChildren(QLabel)]
        shown = [label for label in labels if label.isVisibleTo(self)]
        widest = max(label.sizeHint().width() for label in shown)
        for label in shown:
            label.setMinimumWidth(widest)

    def settings(self) -> dict[str, Any]:
        """Return what to remember, and whether it is only what was suggested."""
        settings = self.setup.settings()
        return settings and {**settings, "is_suggested": not self.suggestion.is_own}

    def shut_down(self) -> None:
        """Stop all work, the search for a suggestion too."""
        self.suggestion.cancel()
        super().shut_down()
