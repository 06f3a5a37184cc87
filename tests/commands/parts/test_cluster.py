from pathlib import Path

import pytest

from command_line import call


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("predict image.tif run --out new.tif --n-workers 2", "got 2 and no cluster"),
        (
            "predict image.tif run --out new.tif --n-workers 0 --cluster local",
            "--n-workers is at least 1",
        ),
        ("measure labels.tif --n-workers 2", "got 2 and no cluster"),
        (
            "uncertainty image.tif labels.tif --train-z 1:4 --test-z 5 --out new "
            "--devices cpu --cluster local",
            "leave out --devices or --cluster",
        ),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    command: str, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(command) == 2

    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (place / "new").exists()
