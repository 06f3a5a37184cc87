"""A volume that no memory would hold is painted, trained on and predicted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("large_volume_window.py")
MOST_GIB = 2.25
LIMIT_SECONDS = 600


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells peaks")
def test_20_gb_are_painted_and_predicted_in_little_memory(
    tmp_path: Path,
) -> None:
    # napari's own settings, too, stay out of the test.
    environment = {"NAPARI_CONFIG": str(tmp_path / "napari.yaml")}

    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)  # noqa: T201 pytest shows it with -s
    (peak,) = re.findall(r"^peak GiB: (.+)$", done.stdout, re.MULTILINE)
    assert float(peak) < MOST_GIB, done.stdout
