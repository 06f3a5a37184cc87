import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clusters import Cluster
from command_line import PROGRAM, SLICES, TINY, call, write_sample
from napari_lrcs.search.folder import SearchFolder
from scripts import Script

pytestmark = pytest.mark.usefixtures("one_thread")

SEARCH = f"search image.tif labels.tif {SLICES} {TINY} --n-trials 5 --n-repeats 1"


def scores(out: Path) -> dict[int, Any]:
    found = SearchFolder(out).read_results()
    return {trial.number: (trial.settings, trial.scores) for trial in found}


def wait_for(out: Path, *, n_trained: int, n_ended: int) -> None:
    """Wait until some trials have ended, and others are trained but not recorded."""
    until = time.monotonic() + 300
    while len(scores(out)) < n_ended or len(trained(out)) < n_trained:
        assert time.monotonic() < until
        time.sleep(0.02)


def trained(out: Path) -> list[Path]:
    return [*out.glob("trials/*/repeat-0/best.safetensors")]


def test_a_search_survives_what_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path)
    (tmp_path / "logs").mkdir()
    cluster, out = Cluster(tmp_path / "logs", pause=1), tmp_path / "out"
    command = f"{SEARCH} --out out --cluster {cluster.start()}"

    with Script(PROGRAM, *command.split()) as driver:
        wait_for(out, n_trained=2, n_ended=0)
        cluster.workers[0].kill()
        wait_for(out, n_trained=3, n_ended=1)
        driver.kill()
    kept = scores(out)
    cluster.start()
    assert cluster.scheduler is not None
    with ThreadPoolExecutor(1) as pool:
        resumed = pool.submit(call, f"{command} --resume")
        wait_for(out, n_trained=4, n_ended=2)
        cluster.scheduler.kill()
        assert resumed.result() == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert len(scores(out)) < 5
    assert call(f"{SEARCH} --out out --resume") == 0
    cluster.stop()

    assert error == (
        f"error: the scheduler at {cluster.address} does not answer any more; the "
        "search in out is kept: continue with --resume"
    )
    assert call(f"{SEARCH} --out alone") == 0
    assert scores(out) == scores(tmp_path / "alone")
    assert kept.items() <= scores(out).items()
    assert not list(out.rglob(".*"))
