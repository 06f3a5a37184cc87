from pathlib import Path

import pytest

from napari_lrcs.io.paths import check_outputs


@pytest.mark.parametrize(
    ("output", "source", "says"),
    [
        ("a.tif", "a.tif", "a.tif is an input"),
        ("x/../a.tif", "a.tif", "is an input"),
        ("g.zarr", "g.zarr/0", "g.zarr contains the input g.zarr/0"),
        ("stack/new.tif", "stack", "stack/new.tif is inside the input stack"),
    ],
)
def test_an_output_that_would_replace_an_input_is_refused(
    output: str, source: str, says: str
) -> None:
    with pytest.raises(ValueError, match=f"{says}.*choose another name"):
        check_outputs([Path("apart.tif"), Path(output)], inputs=["b.tif", source])


@pytest.mark.parametrize("linked", ["input", "output", "folder"])
def test_links_are_resolved(linked: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    output = source = tmp_path / "data" / "a.tif"
    source.touch()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "data" if linked == "folder" else source)
    if linked == "input":
        source = link
    else:
        output = link / "a.tif" if linked == "folder" else link

    with pytest.raises(ValueError, match="is an input"):
        check_outputs([output], inputs=[source])


@pytest.mark.parametrize("other", ["q", "q/inside.csv", "./q"])
def test_outputs_need_a_place_each(other: str) -> None:
    with pytest.raises(ValueError, match="overlap; choose another name"):
        check_outputs([Path("q"), Path(other)], inputs=[])


def test_neighbours_and_hard_links_are_no_matter(tmp_path: Path) -> None:
    source, output = tmp_path / "a.tif", tmp_path / "b.tif"
    source.touch()
    output.hardlink_to(source)  # its content stays under the other name

    check_outputs([output, tmp_path / "a.tif.csv"], inputs=[source])
