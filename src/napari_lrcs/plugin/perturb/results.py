"""What a perturbation changes, in words, and how wide interfaces become, in a plot."""

import math
from collections.abc import Callable, Sequence
from html import escape

from napari.viewer import Viewer
from qtpy.QtWidgets import (
    QLabel,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.widgets import WARNING, RichText, button, hbox, vbox
from napari_lrcs.uncertainty.perturbation.figures import (
    draw_interface_profile,
    widths_text,
)
from napari_lrcs.uncertainty.perturbation.histogram import (
    MAX_SIMULATIONS,
    InterfaceHistogram,
    InterfaceWidths,
)
from napari_lrcs.uncertainty.perturbation.perturbed_slices import PerturbedSlice


class Report(RichText):
    """How much a perturbation changes of the slice in view."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)

    def show_slice(self, found: PerturbedSlice, *, axis: str) -> None:
        """Tell the changed voxels, how each phase moves, and what is wrong with it."""
        share = f"{found.changed_share:.1%}"
        rows = "".join(self._row(found, i) for i in range(len(found.phases)))
        self.show_html(
            f"<p style='margin: 2px 0'><b>{share} of the voxels change</b> "
            f"({found.n_changed:,} of {found.n_painted:,} on slice {axis}="
            f"{found.index})"
            f"</p><table cellspacing='2'>{rows}</table>{_warnings(found.advice)}"
        )

    def show_message(self, text: str) -> None:
        """Show a sentence instead."""
        self.show_html(escape(text))

    def _row(self, found: PerturbedSlice, i: int) -> str:
        phase = found.phases.phases[i]
        before, after = 100 * found.fractions[:, i]
        moved = found.moved[i]
        change = "" if math.isnan(moved) else f"({_signed(moved)} of itself)"
        return (
            f"<tr><td><span style='color: {phase.colour}'>■</span> "
            f"{escape(phase.name)}&nbsp;</td><td align='right'>{before:.1f}</td>"
            f"<td>→</td><td align='right'>{after:.1f}%</td>"
            f"<td>&nbsp;{change}</td></tr>"
        )


def _signed(share: float) -> str:
    percent = round(100 * share)
    return f"{percent:+}%".replace("-", "−") if percent else "±0%"


def _warnings(sentences: Sequence[str]) -> str:
    return "".join(
        f"<p style='margin: 3px 0; color: {WARNING}'>"
        f"{escape(text[:1].upper() + text[1:])}.</p>"
        for text in sentences
    )


class HistogramPart(QWidget):
    """How many simulations, and the profile that they give.

    Parameters
    ----------
    on_count : callable
        Called when the interfaces are to be counted.
    """

    def __init__(self, viewer: Viewer, *, on_count: Callable[[], None]) -> None:
        super().__init__()
        self.n_simulations = QSpinBox()
        self.n_simulations.setRange(0, MAX_SIMULATIONS)
        self.n_simulations.setSpecialValueText("auto")
        self.n_simulations.setToolTip(
            "Number of perturbed copies to count; auto takes as many as the paper: "
            "1000 of single slices, 100 of adjacent ones"
        )
        self.count_button = button(
            "Count interfaces",
            "Add an image layer that says how often each voxel lies on an interface",
            on_count,
        )
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.plot = Plot(viewer, height=220)
        label = QLabel("Simulations")
        label.setToolTip(self.n_simulations.toolTip())
        layout = vbox(self)
        layout.addLayout(hbox(label, self.n_simulations, self.count_button))
        layout.addWidget(self.text)
        layout.addWidget(self.plot)
        self.clear()

    def clear(self) -> None:
        """Show no result."""
        self.text.setVisible(False)
        self.plot.setVisible(False)

    def show_widths(
        self, widths: InterfaceWidths, histogram: InterfaceHistogram, labels: Volume
    ) -> None:
        """Show how wide interfaces are."""
        self.text.setText(
            widths_text(widths, voxel_size=labels.voxel_size, unit=labels.unit)
        )
        self.text.setVisible(True)
        self.plot.setVisible(bool(widths.n_fitted))
        (ax,) = self.plot.axes
        ax.clear()
        if widths.n_fitted:
            draw_interface_profile(ax, widths, histogram)
        self.plot.restyle()
