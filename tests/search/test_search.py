import pickle
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from napari_lrcs.errors import InUseError, LrcsError, ResultExistsError, VolumeError
from napari_lrcs.progress import Notice
from napari_lrcs.search import trial as trial_module
from napari_lrcs.search.events import (
    Drawing,
    Estimating,
    SearchEnded,
    SearchEvent,
    SearchStarted,
    TrialEnded,
    TrialProgress,
    TrialStarted,
)
from napari_lrcs.search.figures import FIGURES
from napari_lrcs.search.folder import SearchFolder, SearchState, list_searches
from napari_lrcs.search.results import TrialResult
from napari_lrcs.search.search import run_search
from napari_lrcs.search.space import Values
from napari_lrcs.search.task import SearchTask
from napari_lrcs.search.trial import TrialTask, run_trial
from napari_lrcs.search.trial_queue import TrialQueue
from napari_lrcs.training import loop
from napari_lrcs.training.run.folder import RunFolder
from scripts import Script
from searches import CONFIG, RUN, begin, search_task

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = set(product((1e-4, 1e-3), (2, 4)))


@pytest.fixture(scope="module")
def search(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[SearchEvent]]:
    """Run a search that nothing interrupts."""
    out = tmp_path_factory.mktemp("search") / "out"
    return out, list(run_search(search_task(), out=out))


def results(out: Path) -> list[TrialResult]:
    """Read what does not depend on time."""
    found = SearchFolder(out).read_results()
    return [replace(trial, seconds=0.0, ended=0.0) for trial in found]


def queue_of(out: Path, task: SearchTask) -> TrialQueue:
    return TrialQueue(
        SearchFolder(out).journal,
        space=task.space,
        sampler=task.search.sampler,
        seed=task.config.seed,
    )


def wait_for(process: Script, *files: Path) -> None:
    while process.is_running and not all(file.exists() for file in files):
        time.sleep(0.002)


# ---- a whole search ----


def test_a_grid_is_exactly_its_product(search: tuple[Path, list[SearchEvent]]) -> None:
    tried = [tuple(trial.settings.values()) for trial in results(search[0])]

    assert len(tried) == 4
    assert set(tried) == SETTINGS


def test_a_search_tells_its_way_and_leaves_all_files(
    search: tuple[Path, list[SearchEvent]],
) -> None:
    out, events = search

    told = [type(e) for e in events if not isinstance(e, TrialProgress | Estimating)]
    assert told[told.index(SearchStarted) :] == [
        SearchStarted,
        *[TrialStarted, TrialEnded] * 4,
        *[Drawing] * len(FIGURES),
        SearchEnded,
    ]
    started = next(e for e in events if isinstance(e, SearchStarted))
    assert (started.n_trials, started.n_repeats, started.n_done) == (4, 1, 0)
    assert 0 < started.seconds < 600
    assert 0 < started.memory < 2**30
    shares = [e.share for e in events if isinstance(e, TrialProgress) and not e.number]
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] <= 1  # the last step may end without an event
    assert {file.name for file in out.iterdir()} == {
        "journal.log",
        "search.json",
        "trials",
        "trials.csv",
        *FIGURES,
    }


def test_each_setting_reaches_its_trainings(
    search: tuple[Path, list[SearchEvent]],
) -> None:
    for trial in results(search[0]):
        run = RunFolder(search[0] / "trials" / trial.name / "repeat-0")
        assert run.read_config() == CONFIG.with_changes(
            **trial.settings, pitfall_restarts=0
        )
        assert {file.name for file in run.path.iterdir()} == {
            *("best.safetensors", "config.json", "history.csv", "labels.tif")
        }


def test_findings_are_ranked_and_tabulated(
    search: tuple[Path, list[SearchEvent]],
) -> None:
    out, events = search
    (ended,) = (e for e in events if isinstance(e, SearchEnded))

    best = ended.findings.best
    assert best is not None
    scores = [trial.score for trial in ended.findings.trials]
    assert best.score == max(scores)
    assert ended.findings.best_config == CONFIG.with_changes(
        device="auto", **best.settings
    )
    assert sum(ended.findings.importances.values()) == pytest.approx(1)
    assert SearchFolder(out).read_findings() == ended.findings
    header, *rows = (out / "trials.csv").read_text().splitlines()
    assert header == (
        "trial,state,mean_iou,sd,n_repeats,seconds,learning_rate,batch_size,reason"
    )
    assert [float(row.split(",")[2]) for row in rows] == scores


def test_searches_are_listed_with_their_progress(
    search: tuple[Path, list[SearchEvent]], tmp_path: Path
) -> None:
    shutil.copytree(search[0], tmp_path / "search-1")
    begin(tmp_path / "search-2")
    (tmp_path / "search-3").mkdir()
    (tmp_path / "search-3" / "search.json").write_text("{")
    (tmp_path / "search-4").mkdir()

    found = {state.path.name: state for state in list_searches(tmp_path)}

    whole, begun, damaged = (found[f"search-{n}"] for n in (1, 2, 3))
    assert len(found) == 3
    assert (whole.n_done, whole.n_planned, whole.can_resume) == (4, 4, False)
    assert whole.best == max(trial.score for trial in results(search[0]))
    assert (begun.n_done, begun.n_planned, begun.can_resume) == (0, 4, True)
    assert "damaged" in damaged.damaged
    assert not damaged.can_resume
    # Only a search that is no grid has more settings to try.
    random = SearchState(path=whole.path, modified=whole.modified)
    states = (whole, damaged, random)
    assert [state.can_extend for state in states] == [False, False, True]


def test_a_complete_search_is_resumed_at_once(
    search: tuple[Path, list[SearchEvent]],
) -> None:
    before = results(search[0])

    events = list(run_search(search_task(), out=search[0], resume=True))

    assert [type(e) for e in events if not isinstance(e, Notice)] == [
        SearchStarted,
        *[TrialEnded] * 4,
        *[Drawing] * len(FIGURES),
        SearchEnded,
    ]
    assert results(search[0]) == before


def test_another_search_may_not_take_its_place(
    search: tuple[Path, list[SearchEvent]], tmp_path: Path
) -> None:
    out, _ = search
    other = search_task("learning_rate=1e-4,1e-3", "batch_size=2,8")
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(ResultExistsError, match="holds a search already"):
        next(run_search(search_task(), out=out))
    with pytest.raises(VolumeError, match=r"started with other settings \(space: "):
        next(run_search(other, out=out, resume=True))
    with pytest.raises(ResultExistsError, match="is not a search"):
        next(run_search(search_task(), out=tmp_path, overwrite=True))
    with pytest.raises(VolumeError, match="there is no search"):
        next(run_search(search_task(), out=tmp_path / "new", resume=True))
    with SearchFolder(out).running(0), pytest.raises(InUseError):
        next(run_search(search_task(), out=out, overwrite=True))


class PicklingExecutor(ThreadPoolExecutor):
    """Sends its tasks as to other processes, without their start."""

    def submit(self, run: Any, /, *tasks: Any, **named: Any) -> Future[Any]:
        return super().submit(run, *pickle.loads(pickle.dumps(tasks)), **named)


def test_an_executor_finds_the_same(
    search: tuple[Path, list[SearchEvent]], tmp_path: Path
) -> None:
    with PicklingExecutor(1) as executor:
        events = list(
            run_search(search_task(), out=tmp_path / "out", executor=executor)
        )

    told = [type(e) for e in events if isinstance(e, TrialStarted | TrialEnded)]
    assert told == [TrialStarted, TrialEnded] * 4
    assert results(tmp_path / "out") == results(search[0])


# ---- stopped, killed, shared ----


def test_a_stopped_search_goes_on_where_it_was(
    search: tuple[Path, list[SearchEvent]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    events = run_search(search_task(), out=out)
    seen: list[int] = []
    while not (seen and seen[-1] == 1):
        event = next(events)
        if isinstance(event, TrialStarted):
            seen.append(event.number)
    events.close()

    resumed = list(run_search(search_task(), out=out, resume=True))

    assert [e.number for e in resumed if isinstance(e, TrialStarted)] == [2, 3, 1]
    assert results(out) == results(search[0])


@pytest.mark.slow
def test_a_search_that_was_killed_twice_has_each_trial_once(
    search: tuple[Path, list[SearchEvent]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    begin(out)
    trials = out / "trials"
    killed_at = (
        (trials / "trial-000" / "trial.json", trials / "trial-001/repeat-0/resume.pt"),
        (trials / "trial-002" / "trial.json", trials / "trial-003/repeat-0/resume.pt"),
    )

    for files in killed_at:
        with Script(RUN, out) as process:
            wait_for(process, *files)
            assert process.is_running
            process.kill()
    first = (trials / "trial-000" / "trial.json").stat().st_mtime_ns
    list(run_search(search_task(), out=out, resume=True))

    assert results(out) == results(search[0])
    assert (trials / "trial-000" / "trial.json").stat().st_mtime_ns == first
    queue = queue_of(out, search_task())
    assert (queue.started(), queue.n_waiting, queue.n_known) == ([], 0, 4)
    assert not list(out.rglob(".*"))


@pytest.mark.slow
def test_two_processes_share_a_search(
    search: tuple[Path, list[SearchEvent]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    begin(out)
    (together := tmp_path / "together").mkdir()

    with Script(RUN, out, together) as one, Script(RUN, out, together) as other:
        assert (one.wait(), other.wait()) == (0, 0)
        ran = [one.stdout.read().split(), other.stdout.read().split()]

    assert sorted(ran[0] + ran[1]) == ["0", "1", "2", "3"]
    assert all(ran)
    assert results(out) == results(search[0])
    assert all((out / name).exists() for name in FIGURES)


def test_a_journal_that_was_cut_by_a_kill_is_read(tmp_path: Path) -> None:
    begin(tmp_path / "out")
    with SearchFolder(tmp_path / "out").journal.open("ab") as file:
        file.write(b'{"op_code": 4, "wor')

    queue = queue_of(tmp_path / "out", search_task())
    queue.add(4, None)

    assert queue_of(tmp_path / "out", search_task()).n_known == 5


def test_a_trial_that_was_killed_while_it_started_keeps_its_settings(
    tmp_path: Path,
) -> None:
    begin(tmp_path)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    optuna.load_study(study_name=None, storage=storage).ask()
    queue = queue_of(tmp_path, search_task())

    (entry,) = queue.started()
    queue.put_back(entry)

    assert entry.settings == search_task().settings_of(0)
    numbers = [queue.start() for _ in range(4)]
    assert {e.number: e.settings for e in numbers if e} == {
        number: search_task().settings_of(number) for number in range(4)
    }


def test_a_search_may_grow(tmp_path: Path) -> None:
    space = ("learning_rate=1e-4:1e-2:log",)
    few, more = (search_task(*space, sampler="random", n_trials=n) for n in (1, 2))

    list(run_search(few, out=tmp_path / "out"))
    list(run_search(more, out=tmp_path / "out", resume=True))

    drawn = [trial.settings for trial in results(tmp_path / "out")]
    assert drawn == [more.settings_of(0), more.settings_of(1)]


# ---- samplers ----


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe", "bayes"])
def test_each_field_has_its_own_name_and_value(sampler: str, tmp_path: Path) -> None:
    values: dict[str, set[Any]] = {
        "learning_rate": {1e-4, 1e-3},
        "batch_size": {2, 4},
        "n_filters": {5, 6},
        "kernel_size": {7, 9},
        "n_bottleneck_convs": {3, 1},
        "loss": {"dice", "cross_entropy"},
        "flip": {True, False},
    }
    texts = [f"{k}={','.join(str(v).lower() for v in vs)}" for k, vs in values.items()]
    task = search_task(*texts, sampler=sampler, n_trials=3)
    (tmp_path / "trials").mkdir()
    queue = queue_of(tmp_path, task)
    for number in range(3):
        queue.add(number, task.settings_of(number))

    entries = [queue.start() for _ in range(3)]

    assert queue.start() is None
    for entry in entries:
        assert entry is not None
        config = task.config_of(entry.settings).to_dict()
        for name, allowed in values.items():
            assert config[name] == entry.settings[name]
            assert config[name] in allowed


@pytest.mark.parametrize("sampler", ["tpe", "bayes"])
def test_a_sampler_learns_from_scores(sampler: str, tmp_path: Path) -> None:
    task = search_task("gain=0:0.9", sampler=sampler, n_trials=16)
    queue = queue_of(tmp_path, task)
    for number in range(16):
        queue.add(number, None)

    gains = []
    while (entry := queue.start()) is not None:
        gain = float(entry.settings["gain"])
        gains.append(gain)
        score = 1 - abs(gain - 0.7)
        queue.end(
            entry,
            TrialResult(
                number=entry.number,
                settings=entry.settings,
                state="complete",
                curves=((score,),),
            ),
        )

    early, late = gains[:10], gains[10:]
    mean = sum(abs(g - 0.7) for g in late) / len(late)
    assert mean < 0.8 * sum(abs(g - 0.7) for g in early) / len(early)


# ---- trials that fail or are hopeless ----


@pytest.fixture
def lone_trial(tmp_path: Path) -> TrialTask:
    """Give a trial of a folder without others."""
    folder = SearchFolder(tmp_path)
    folder.trial(3).mkdir(parents=True)
    settings: Values = {"learning_rate": 1e-3, "batch_size": 2}
    task = search_task(prune=True, n_repeats=3)
    return TrialTask(task=task, folder=folder, number=3, settings=settings)


def test_repeats_differ_only_in_their_seed(lone_trial: TrialTask) -> None:
    result = run_trial(lone_trial)

    configs = [lone_trial.run_of(repeat).read_config() for repeat in range(3)]
    first = lone_trial.task.config_of(lone_trial.settings)
    assert configs == [first.with_changes(seed=7 + repeat) for repeat in range(3)]
    assert result.state == "complete"
    assert len(set(result.scores)) == 3
    assert result == replace(
        run_trial(lone_trial), seconds=result.seconds, ended=result.ended
    )


def test_a_trial_in_the_pitfall_is_pruned(
    lone_trial: TrialTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def train(*_: object, **arguments: Any) -> Iterator[Notice]:
        calls.append(arguments["config"].optimisation.pitfall_restarts)
        yield Notice(kind="pitfall", text="major-class pitfall: only pore; try less")
        raise AssertionError("the trial goes on")

    monkeypatch.setattr(trial_module, "train", train)

    result = run_trial(lone_trial)

    assert calls == [0]
    assert (result.state, result.reason) == ("pruned", "major-class pitfall: only pore")
    assert lone_trial.folder.read_results() == [result]


def test_a_hopeless_trial_is_pruned_after_its_first_training(
    lone_trial: TrialTask,
) -> None:
    for number in range(10, 15):
        lone_trial.folder.trial(number).mkdir()
        lone_trial.folder.write_result(
            TrialResult(number=number, settings={}, state="complete", curves=((1.0,),))
        )

    result = run_trial(lone_trial)

    assert result.state == "pruned"
    assert len(result.scores) == 1
    assert "the median of 5 other trials" in result.reason


def test_a_failed_trial_does_not_stop_the_search_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def train(*arguments: Any, **options: Any) -> Iterator[Any]:
        if "trial-000" in str(options["run"]):
            raise MemoryError("cpu has not enough memory")
        return loop.train(*arguments, **options)

    task = search_task("batch_size=2,4")
    with monkeypatch.context() as patch:
        patch.setattr(trial_module, "train", train)
        list(run_search(task, out=tmp_path / "out"))
    first = results(tmp_path / "out")
    list(run_search(task, out=tmp_path / "out", resume=True))

    assert [trial.state for trial in first] == ["failed", "complete"]
    assert first[0].reason == "cpu has not enough memory"
    assert [trial.state for trial in results(tmp_path / "out")] == ["complete"] * 2


def test_a_search_whose_trials_all_fail_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object, **__: object) -> Iterator[Any]:
        raise ValueError("nothing works")

    monkeypatch.setattr(trial_module, "train", train)

    with pytest.raises(LrcsError, match=r"all 4 trials failed; .* \(nothing works\)"):
        list(run_search(search_task(), out=tmp_path / "out"))


def test_no_trial_starts_after_the_time(tmp_path: Path) -> None:
    task = search_task(minutes=1e-6)

    events = list(run_search(task, out=tmp_path / "out"))

    (ended,) = (e for e in events if isinstance(e, SearchEnded))
    assert ended.findings.trials == ()
    assert ended.findings.best is None
