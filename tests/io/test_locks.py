import signal
import subprocess
import sys
from pathlib import Path

import pytest

from napari_lrcs.data.claim import Claim
from napari_lrcs.errors import VolumeError

HOLD = """
import sys
from pathlib import Path
from napari_lrcs.data.claim import Claim
claim = Claim(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_folder_is_claimed_once(tmp_path: Path) -> None:
    first = Claim(tmp_path / "lock")

    with pytest.raises(VolumeError, match="is open in another window"):
        Claim(tmp_path / "lock")
    first.release()
    first.release()

    Claim(tmp_path / "lock")


def test_claim_ends_with_what_holds_it(tmp_path: Path) -> None:
    Claim(tmp_path / "lock")

    held = Claim(tmp_path / "lock")  # raises if the first one still holds it

    with pytest.raises(VolumeError):
        Claim(tmp_path / "lock")
    held.release()


def test_claim_of_a_killed_process_is_void(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(VolumeError, match=rf"\(process {process.pid}\)"):
            Claim(tmp_path / "lock")
        process.send_signal(signal.SIGKILL)

    Claim(tmp_path / "lock")
