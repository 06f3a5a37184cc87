import json
import sys
from pathlib import Path

import onnx
import pytest

from command_line import Run, call, printed_object
from napari_lrcs.commands.parts.terminal import BAD_INPUT

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
def test_onnx_file_is_written_once_and_replaced_if_asked(place: Path, run: Run) -> None:
    line = "export run --format onnx --out network.onnx"

    printed = printed_object(run(f"{line} --json"))
    first = Path("network.onnx").read_bytes()

    assert printed == {"out": "network.onnx", "advice": []}
    (metadata,) = onnx.load_from_string(first).metadata_props
    phases = json.loads(metadata.value)["phases"]
    assert [phase["label"] for phase in phases] == [1, 2]
    assert call(line) == BAD_INPUT
    assert Path("network.onnx").read_bytes() == first
    Path("network.onnx").write_bytes(b"older")
    assert "network: network.onnx" in run(f"{line} --overwrite")
    assert Path("network.onnx").read_bytes() != b"older"
    assert sorted(path.name for path in place.iterdir()) == [
        *("image.tif", "labels.tif", "network.onnx", "run"),
    ]


@pytest.mark.parametrize(
    ("format_", "module"), [("onnx", "onnxscript"), ("bioimageio", "bioimageio.core")]
)
def test_a_missing_library_is_named(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    format_: str,
    module: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    out = {"onnx": "network.onnx", "bioimageio": "network.zip"}[format_]

    assert call(f"export run --format {format_} --out {out}") == BAD_INPUT

    assert capsys.readouterr().err == (
        f"error: exporting to {format_} needs {module}, which is not installed; "
        'install it: pip install "napari-lrcs[export]"\n'
    )
    assert not (place / out).exists()
