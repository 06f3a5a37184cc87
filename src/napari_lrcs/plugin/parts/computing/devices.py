"""Which device trains, and why."""

from collections.abc import Mapping
from dataclasses import dataclass

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QApplication, QLabel, QWidget

from napari_lrcs.plugin.parts.widgets import button, vbox
from napari_lrcs.plugin.parts.workers import (
    EXPECTED,
    Events,
    Work,
    load_torch,
    start_job,
)

_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """What PyTorch can compute on."""

    names: tuple[str, ...]
    """Names that `TrainConfig.device` takes."""
    summary: str
    installation: Mapping[str, str]


class DeviceLine(QWidget):
    """A line that describes the devices; they are looked for in a thread."""

    found = Signal(object)
    """Carries the `Devices`."""

    def __init__(self) -> None:
        super().__init__()
        self._line = QLabel("Looking for devices…")
        self._line.setWordWrap(True)
        self.copy = button(
            "Copy diagnostics",
            "Versions and devices, to paste into a bug report",
            self._copy_diagnostics,
        )
        self.copy.setEnabled(False)
        self._installation: Mapping[str, str] = {}
        layout = vbox(self, self._line)
        layout.addWidget(self.copy, alignment=Qt.AlignmentFlag.AlignLeft)

    def refresh(self) -> None:
        """Look for devices, in a thread."""
        self._job = start_job(
            Work("Looking for devices", find_devices),
            connect={"yielded": self._show, "errored": self._show_error},
        )

    @property
    def text(self) -> str:
        """The line."""
        return str(self._line.text())

    def disconnect_events(self) -> None:
        """Ignore devices that are still being looked for."""
        self._job.quit()

    def _show(self, devices: Devices) -> None:
        self._line.setText(devices.summary)
        self._installation = devices.installation
        self.copy.setEnabled(True)
        self.found.emit(devices)

    def _show_error(self, error: Exception) -> None:
        self._line.setText(str(error) if isinstance(error, EXPECTED) else repr(error))

    def _copy_diagnostics(self) -> None:
        text = "\n".join(
            f"{name}: {value}" for name, value in self._installation.items()
        )
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)


def find_devices() -> Events:
    """Look for devices; yields one `Devices`."""
    load_torch()
    import torch

    from napari_lrcs.models.device import describe_gpus, describe_installation

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_apple_gpu = torch.backends.mps.is_available()
    summary = describe_gpus()
    if n_gpus:
        free, _ = torch.cuda.mem_get_info()
        summary += f", {free / _GIB:.0f} GB free"
    elif not has_apple_gpu:
        n_threads = torch.get_num_threads()
        threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
        summary = f"CPU, {threads}: {summary}; for a GPU, see pytorch.org/get-started"
    others = tuple(f"cuda:{i}" for i in range(n_gpus)) if n_gpus > 1 else ()
    yield Devices(
        names=(
            "auto",
            "cpu",
            *(("cuda",) if n_gpus else ()),
            *others,
            *(("mps",) if has_apple_gpu else ()),
        ),
        summary=summary,
        installation=describe_installation(),
    )
