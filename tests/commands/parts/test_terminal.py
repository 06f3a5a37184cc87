import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_lrcs.commands.parts.terminal import printable

COMMAND = f"{shlex.quote(sys.executable)} -m napari_lrcs"

needs_a_shell = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no shell that closes streams"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with two labels files of several phases."""
    folder = tmp_path_factory.mktemp("terminal")
    labels = np.random.default_rng(0).integers(1, 40, (2, 8, 8)).astype(np.uint8)
    tifffile.imwrite(folder / "labels.tif", labels)
    return folder


def run(
    line: str, place: Path, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which NAME stands for the program."""
    return subprocess.run(
        line.replace("NAME", COMMAND),
        shell=True,
        cwd=place,
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )


# ---- text ----


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Poren – größer", "Poren – größer"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
        ("\x7f\x9b\u2028", "\\x7f\\x9b\\u2028"),
        ("a\u202etxt.exe\u2066", "a\\u202etxt.exe\\u2066"),
        ("\udcff.tif", "\\udcff.tif"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


# ---- streams ----


@pytest.mark.parametrize(
    ("words", "encoding"),
    [("perturb --help", "cp1252"), ("measure labels.tif", "cp437")],
)
def test_any_encoding_will_do(words: str, encoding: str, place: Path) -> None:
    ended = run(f"NAME {words}", place, PYTHONIOENCODING=encoding)

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.decode(encoding)


@needs_a_shell
def test_a_closed_output_is_an_error_where_the_result_is_printed(place: Path) -> None:
    ended = run("NAME measure labels.tif --json >&-", place)

    assert ended.returncode == 2
    assert ended.stderr.startswith(b"error: standard output is closed")
    assert ended.stderr.count(b"\n") == 1


@needs_a_shell
def test_a_closed_output_is_fine_where_the_result_is_a_file(place: Path) -> None:
    words = "perturb labels.tif --out set --n-members 1 --n-simulations 0"

    ended = run(f"NAME {words} >&-", place)

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (place / "set" / "member-000.tif").is_file()


@needs_a_shell
def test_errors_without_a_place_do_not_go_among_the_results(place: Path) -> None:
    ended = run("NAME measure missing.tif --json 2>&-", place)

    assert (ended.returncode, ended.stdout) == (2, b"")


@needs_a_shell
def test_a_reader_that_leaves_early_ends_the_command_silently(place: Path) -> None:
    ended = run("NAME measure labels.tif --json | true; NAME --help | true", place)

    assert ended.stderr == b""


@needs_a_shell
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_is_full_is_one_line(place: Path) -> None:
    ended = run("NAME measure labels.tif --json >/dev/full", place)

    assert ended.returncode == 2
    assert ended.stderr.startswith(b"error: ")
    assert ended.stderr.count(b"\n") == 1
