"""The command ``search``: runs `run_search`."""

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.commands.parts import context, flags, painted
from napari_lrcs.commands.parts.cluster import connected
from napari_lrcs.commands.parts.output import percent, print_json, print_table
from napari_lrcs.commands.parts.places import Places
from napari_lrcs.config import SearchConfig, TrainConfig
from napari_lrcs.errors import ClusterError, ResultExistsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.search.events import (
        SearchEnded,
        SearchEvent,
        SearchStarted,
        TrialProgress,
    )
    from napari_lrcs.search.results import SearchFindings, TrialResult
    from napari_lrcs.search.task import SearchTask

HELP = "search for the training settings that score best"

_N_SHOWN = 10
"""Settings in the table at the end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    painted.add_arguments(parser, roles=("train", "validation"))
    parser.add_argument("--out", type=Path, required=True, help="folder for the search")
    parser.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="SETTING",
        help="a setting to vary, as batch_size=2,4,8 or learning_rate=1e-4:1e-2:log; "
        "may be given several times; by default the learning rate, the batch size, "
        "the width and the kernel size around those of the preset",
    )
    flags.add(parser, "--preset", "--phases", "--mask", "--leave-out")
    parser.add_argument(
        "--save-preset",
        metavar="NAME",
        help="save the best setting under a name that --preset and the forms offer",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue a search, or help a process that is running it",
    )
    flags.add(parser, "--overwrite", "--json", "--cluster", "--n-workers")
    for config in (SearchConfig, TrainConfig):
        flags.add_config(parser, config)


def places(arguments: argparse.Namespace) -> Places:
    """Return the files read and written; `run` checks those that a TOML file names."""
    return Places(
        read=[arguments.image, arguments.labels, arguments.mask, *arguments.leave_out],
        written=[arguments.out],
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.presets import check_preset_name, save_preset
    from napari_lrcs.search.search import run_search

    if arguments.save_preset is not None:
        overwrite = arguments.overwrite or arguments.resume
        check_preset_name(arguments.save_preset, overwrite=overwrite)
    task, out = _task(arguments), arguments.out
    read = (arguments.image, arguments.labels, arguments.mask)
    with connected(arguments, *read) as executor:
        events = run_search(
            task,
            out=out if executor is None else out.absolute(),
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            executor=executor,
        )
        with closing(events):
            ended = _follow(events, out)
    findings, saved = ended.findings, None
    if arguments.save_preset is not None and findings.best is not None:
        saved = save_preset(arguments.save_preset, findings.best_config)
    if arguments.json:
        preset = None if saved is None else str(saved)
        print_json({**findings.to_dict(), "seconds": ended.seconds, "preset": preset})
    else:
        _print_findings(findings)


def _task(arguments: argparse.Namespace) -> "SearchTask":
    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.presets import read_preset
    from napari_lrcs.search.folder import SearchFolder
    from napari_lrcs.search.space import SearchSpace
    from napari_lrcs.search.task import SearchTask

    space = SearchSpace.parse(arguments.search)
    config, search = TrainConfig(), SearchConfig()
    if arguments.resume:
        if arguments.overwrite:
            raise ValueError(
                "--resume cannot be combined with --overwrite; leave one of them out"
            )
        config, search, begun = SearchFolder(arguments.out).read_settings()
        space = space if space.fields else begun
    else:
        config = read_preset(arguments.preset)
    given = flags.given(arguments, TrainConfig)
    twice = [name for name in space.fields if name in given]
    if twice:
        raise ValueError(
            f"{twice[0]} is searched, so it cannot be set as well; leave out "
            f"--{twice[0].replace('_', '-')}, or --search {twice[0]}"
        )
    config = config.with_changes(**given)
    volumes = painted.open_volumes(arguments)
    if not arguments.resume and "context_slices" not in space.fields:
        config, reason = context.fit(config, arguments, volumes)
        if reason:
            Display().print(reason)
    default = SearchSpace.default_for(config, without=given)
    return SearchTask(
        volumes=tuple(volumes),
        space=space if space.fields else default,
        config=config,
        search=search.with_changes(**flags.given(arguments, SearchConfig)),
        phases=flags.named_phases(arguments),
    )


# ---- what it shows ----


def _follow(events: "Iterable[SearchEvent]", out: Path) -> "SearchEnded":
    """Show the progress of a search on standard error, and return its last event."""
    from napari_lrcs.search.folder import SearchFolder

    try:
        return _show_all(events)
    except (OSError, ClusterError) as error:
        if SearchFolder(out).is_search and not isinstance(error, ResultExistsError):
            error.add_note(f"the search in {out} is kept: continue with --resume")
        raise


def _show_all(events: "Iterable[SearchEvent]") -> "SearchEnded":
    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.search.events import SearchEnded

    with Display() as display:
        search = SearchDisplay(display)
        for event in events:
            search.show(event)
            if isinstance(event, SearchEnded):
                return event
    raise AssertionError("a search ends with SearchEnded")


class SearchDisplay:
    """Shows one bar for all trials, and above it a line for each ended one."""

    def __init__(self, display: "Display") -> None:
        self._display = display
        self._n_ended = 0

    def show(self, event: "SearchEvent") -> None:
        """Show one event."""
        from napari_lrcs.progress import Notice
        from napari_lrcs.search import events as kinds

        match event:
            case kinds.SearchStarted():
                self._start(event)
            case kinds.TrialProgress():
                self._show_progress(event)
            case kinds.TrialEnded():
                self._n_ended += 1
                self._display.print(trial_line(event.trial))
                self._display.advance(self._n_ended)
            case Notice():
                self._display.warn(event.text)

    def _start(self, event: "SearchStarted") -> None:
        from napari_lrcs.commands.parts.progress import clock
        from napari_lrcs.inference.estimate import amount

        kept = f"; {event.n_done} have ended before" if event.n_done else ""
        self._display.print(
            f"{event.n_trials} trials of {event.n_repeats} trainings{kept}; they will "
            f"take about {clock(event.seconds)} (minutes:seconds) and up to "
            f"{amount(event.memory)} of memory"
        )
        self._display.begin("searching", total=event.n_trials)

    def _show_progress(self, event: "TrialProgress") -> None:
        self._display.advance(self._n_ended + event.share)


def trial_line(trial: "TrialResult") -> str:
    """Describe an ended trial on a line."""
    from napari_lrcs.commands.parts.progress import clock
    from napari_lrcs.search.space import describe

    line = f"{trial.name}  {clock(trial.seconds)}  {describe(trial.settings)}"
    if trial.state == "failed":
        return f"{line}  failed: {trial.reason}"
    line = f"{line}  mean IoU {_score(trial)}"
    return f"{line}  {trial.state}: {trial.reason}" if trial.reason else line


def _score(trial: "TrialResult") -> str:
    return f"{percent(trial.score)} ± {percent(trial.sd)}"


def _print_findings(findings: "SearchFindings") -> None:
    names = list(findings.space.fields)
    rows = [
        [trial.name, _score(trial), *(_cell(trial.settings[name]) for name in names)]
        for trial in findings.ranked[:_N_SHOWN]
    ]
    n_ended, states = len(findings.trials), [t.state for t in findings.trials]
    print_table(
        "Best settings by mean IoU on the validation slices",
        ["Trial", "mean ± sd", *names],
        rows,
        caption=f"{n_ended} of {findings.n_trials} trials have ended; "
        f"{states.count('pruned')} were pruned, {states.count('failed')} failed",
    )


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
