"""Which trials wait, run and have ended: Optuna's journal, and its samplers."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from napari_lrcs.config import Sampler
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.locks import one_at_a_time
from napari_lrcs.io.paths import lock_of
from napari_lrcs.search.results import TrialResult
from napari_lrcs.search.space import Choices, Range, SearchSpace, Values

try:
    import optuna
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import FrozenTrial, TrialState
except ModuleNotFoundError as error:
    raise LrcsError(
        f"a search needs Optuna ({error}); install it: "
        'pip install "napari-lrcs[search]"'
    ) from error

_Distribution: TypeAlias = CategoricalDistribution | FloatDistribution | IntDistribution

_NAME = "search"
"""Name of the only study in the journal."""

_NUMBER = "number"
"""Attribute of Optuna's trials: our number. Optuna numbers a trial that is continued
anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A trial in the queue, by Optuna's number and by ours."""

    key: int
    number: int
    settings: Values


class TrialQueue:
    """The trials of a search; several processes may share it.

    All trials of the budget are put in at the beginning. So no two processes start the
    same one, and together they start no more than the budget. The caller makes sure
    that one process changes the queue at a time.

    Parameters
    ----------
    journal : Path
        Optuna's journal; created if it is missing.
    space : SearchSpace
        The settings that are searched.
    sampler : {"grid", "random", "tpe", "bayes"}
        Chooses the settings of trials that were put in without.
    seed : int
        Seed of the sampler.
    """

    def __init__(
        self, journal: Path, *, space: SearchSpace, sampler: Sampler, seed: int
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._distributions = {
            name: _distribution_of(field) for name, field in space.fields.items()
        }
        self._sampler, self._seed = sampler, seed
        backend = JournalFileBackend(str(journal), lock_obj=_JournalLock(journal))
        self._study = optuna.create_study(
            storage=JournalStorage(backend),
            study_name=_NAME,
            direction="maximize",
            load_if_exists=True,
        )

    def add(self, number: int, settings: Values | None) -> None:
        """Put a trial in; without settings, the sampler chooses when it starts."""
        self._study.enqueue_trial(settings or {}, user_attrs={_NUMBER: number})

    @property
    def n_known(self) -> int:
        """How many trials were put in so far."""
        return len({_number(trial) for trial in self._trials()})

    @property
    def n_waiting(self) -> int:
        """How many trials can be started."""
        return len(self._trials(TrialState.WAITING))

    def start(self) -> Entry | None:
        """Start the next trial that waits and choose its settings; None without one."""
        waiting = self._trials(TrialState.WAITING)
        if not waiting:
            return None
        self._study.sampler = self._sampler_of(_number(waiting[0]))
        trial = self._study.ask(fixed_distributions=dict(self._distributions))
        number = int(trial.user_attrs[_NUMBER])
        return Entry(key=trial.number, number=number, settings=dict(trial.params))

    def started(self) -> list[Entry]:
        """List the trials that were started and have not ended."""
        return [
            # A process may have been killed while it was choosing the settings.
            Entry(key=t.number, number=_number(t), settings={**_given(t), **t.params})
            for t in self._trials(TrialState.RUNNING)
        ]

    def end(self, entry: Entry, result: TrialResult) -> None:
        """Record how a trial ended, for the sampler."""
        if result.state == "failed" or not result.scores:
            self._study.tell(entry.key, state=TrialState.FAIL)
        else:
            # Pruned ones too: a Gaussian process only looks at complete trials, and
            # would try a hopeless setting again and again.
            self._study.tell(entry.key, result.score)

    def put_back(self, entry: Entry) -> None:
        """Let a trial wait again, with the settings that it has been given."""
        self._study.tell(entry.key, state=TrialState.FAIL)
        self.add(entry.number, entry.settings)

    def importances(self) -> dict[str, float]:
        """Share of each setting in the spread of the scores, by fANOVA.

        Returns
        -------
        dict of str to float
            The largest first; empty if fewer than two trials or equal scores say
            nothing.
        """
        values = {trial.value for trial in self._trials(TrialState.COMPLETE)}
        if len(values) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return dict(
            optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        )

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _sampler_of(self, number: int) -> BaseSampler:
        """Make a sampler whose choice depends on the number and on earlier scores."""
        seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        match self._sampler:
            case "tpe":
                return TPESampler(seed=seed, constant_liar=True)
            case "bayes":
                return GPSampler(seed=seed)
        return RandomSampler(seed=seed)  # has nothing to choose


def _number(trial: FrozenTrial) -> int:
    return int(trial.user_attrs[_NUMBER])


def _given(trial: FrozenTrial) -> Values:
    """Return the settings that a trial was put in with."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def _distribution_of(field: Choices | Range) -> _Distribution:
    if isinstance(field, Choices):
        return CategoricalDistribution(field.values)
    if not field.step:
        return FloatDistribution(field.low, field.high, log=field.log)
    low, high, step = int(field.low), int(field.high), field.step
    # Optuna has no logarithm of odd numbers.
    return IntDistribution(low, high, log=field.log and step == 1, step=step)


class _JournalLock(JournalFileOpenLock):
    """Optuna's lock of its journal, but one that ends with the process that holds it.

    Optuna's own would keep others waiting for half a minute after a kill.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal
        self._block = one_at_a_time(lock_of(journal))

    def acquire(self) -> bool:
        """Wait for the journal, and remove what a killed process has half written."""
        self._block = one_at_a_time(lock_of(self._journal))
        self._block.__enter__()
        _remove_half_line(self._journal)
        return True

    def release(self) -> None:
        """Let others have the journal."""
        self._block.__exit__(None, None, None)


def _remove_half_line(journal: Path) -> None:
    with journal.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read() not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
