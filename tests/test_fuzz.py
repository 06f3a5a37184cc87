"""Damaged files, hostile names and arguments: see ``fuzz.py``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1800)  # so that the script reports what hangs
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
def test_nothing_is_lost_and_every_error_is_one_line() -> None:
    script = Path(__file__).with_name("fuzz.py")

    run = subprocess.run(
        [sys.executable, script, "200", "0"],
        capture_output=True,
        check=False,
        text=True,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("200 passed, 0 failed\n")
