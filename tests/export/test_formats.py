import sys
from pathlib import Path

import pytest

from napari_lrcs.errors import LrcsError
from napari_lrcs.export import formats
from napari_lrcs.export.formats import PackageInfo, check_export, format_of


@pytest.mark.parametrize(
    ("name", "format_"), [("a.onnx", "onnx"), ("b.ZIP", "bioimageio")]
)
def test_suffix_tells_the_format(name: str, format_: str) -> None:
    assert format_of(Path(name)) == format_


def test_unknown_suffix_is_refused() -> None:
    with pytest.raises(ValueError, match="a network cannot be exported to"):
        format_of(Path("network.pt"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"name": "four"}, "5 to 128 letters"),
        ({"name": "Nickel, YSZ and pores"}, "5 to 128 letters"),
        ({"authors": (" ",)}, "cannot be the name of an author"),
        ({"authors": ("A/B",)}, "cannot be the name of an author"),
    ],
)
def test_what_bioimageio_would_refuse_is_refused_beforehand(
    settings: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        PackageInfo(**settings)  # type: ignore[arg-type]


def test_versions_that_do_not_work_together_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    versions = {"pydantic": "2.14.3", "bioimageio.spec": "0.5.12.0"}
    monkeypatch.setattr(formats, "version", versions.__getitem__)
    for module in ("bioimageio.core", "onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, sys)

    with pytest.raises(LrcsError, match="does not work with pydantic 2"):
        check_export(tmp_path / "a.zip", "bioimageio", overwrite=False)
    versions["pydantic"] = "2.13.5"
    check_export(tmp_path / "a.zip", "bioimageio", overwrite=False)
    versions |= {"pydantic": "2.14.3", "bioimageio.spec": "0.5.14.3"}
    check_export(tmp_path / "a.zip", "bioimageio", overwrite=False)
