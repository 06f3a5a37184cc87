import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clusters import Cluster
from command_line import PROGRAM, TINY, call, write_sample
from napari_lrcs.io.opening import open_labels
from napari_lrcs.uncertainty.study.folder import StudyFolder
from scripts import Script

pytestmark = pytest.mark.usefixtures("one_thread")

STUDY = (
    f"uncertainty image.tif labels.tif --train-z 1:4 --test-z 5 {TINY} "
    "--n-members 4 --n-repeats 0 --pitfall-restarts 0"
)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Start a cluster whose workers take a second for a prediction."""
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path)
    (tmp_path / "logs").mkdir()
    machines = Cluster(tmp_path / "logs", pause=1)
    machines.start()
    yield machines
    machines.stop()


def found(out: Path) -> dict[str, Any]:
    """Read what does not depend on how long it took."""
    members = StudyFolder(out).read_findings().members
    results: dict[str, Any] = {m.name: replace(m, seconds=0.0) for m in members}
    for path in (*out.glob("*.zarr"), *out.glob("members/*/segmentation.zarr")):
        if path.name != "probability-sums.zarr":
            results[str(path.relative_to(out))] = open_labels(path).slab(0, 6).tolist()
    return results


def ended(out: Path) -> dict[Path, int]:
    """Tell which members have ended, and when."""
    return {p: p.stat().st_mtime_ns for p in out.glob("members/*/member.json")}


def predicted(cluster: Cluster, out: Path) -> int:
    """Count the predictions that have been made, finished members or not."""
    places = [
        out / "members" / f"perturbed-00{i}" / "segmentation.zarr" for i in range(4)
    ]
    return sum(len(cluster.finished(place)) for place in places)


def begin(cluster: Cluster) -> Script:
    """Begin or continue the study, and wait until its members are handed out."""
    resume = "--resume" if Path("out").exists() else ""
    words = f"{STUDY} --out out --cluster {cluster.start()} {resume}".split()
    driver = Script(PROGRAM, *words)
    assert any("networks to train" in line for line in driver.stderr)
    return driver


def wait_for_prediction(cluster: Cluster, driver: Script, out: Path) -> None:
    before = predicted(cluster, out)
    while predicted(cluster, out) == before:
        assert driver.is_running
        time.sleep(0.05)


def test_a_study_of_four_survives_what_dies(cluster: Cluster, tmp_path: Path) -> None:
    out = tmp_path / "out"

    with begin(cluster) as driver:
        wait_for_prediction(cluster, driver, out)
        cluster.workers[0].kill()
        wait_for_prediction(cluster, driver, out)
        driver.kill()
    assert json.loads((out / "study.json").read_text())["state"] == "running"
    with begin(cluster) as driver:
        wait_for_prediction(cluster, driver, out)
        assert cluster.scheduler is not None
        cluster.scheduler.kill()
        driver.wait()
        errors = driver.stderr.read().splitlines()
    finished = ended(out)
    cluster.stop()
    assert call(f"{STUDY} --out out --resume") == 0

    assert errors[-1] == (
        f"error: the scheduler at {cluster.address} does not answer any more; what is "
        "finished is kept in out: continue with --resume"
    )
    assert finished
    assert finished.items() <= ended(out).items()
    assert call(f"{STUDY} --out alone") == 0
    assert found(out) == found(tmp_path / "alone")
