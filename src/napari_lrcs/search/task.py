"""The task of a search: volumes, settings, and what is varied."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from napari_lrcs.annotation.annotation import AnnotatedVolume, Annotation
from napari_lrcs.annotation.compared import describe_compared, read_compared
from napari_lrcs.config import SearchConfig, TrainConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.search.space import SearchSpace, Values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchTask:
    """A search for the settings with the best score on the validation slices.

    Parameters
    ----------
    volumes : tuple of AnnotatedVolume
        Volumes to train on; to run in other processes, from `open_to_share` or in
        memory.
    space : SearchSpace
        The settings that are searched.
    config : TrainConfig
        All other settings; repeat r is trained with ``config.seed + r``.
    search : SearchConfig
        How settings are chosen, and how many.
    phases : PhaseTable, optional
        Phases of the labels; by default those named in the file, or numbered ones.
    begun_at : datetime
        When it began; check patches that were drawn later are not left out.
    """

    volumes: tuple[AnnotatedVolume, ...]
    space: SearchSpace
    config: TrainConfig = field(default_factory=TrainConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    phases: PhaseTable | None = None
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def n_trials(self) -> int:
        """Trials that are planned."""
        is_grid = self.search.sampler == "grid"
        return len(self.space.grid) if is_grid else self.search.n_trials

    def settings_of(self, number: int) -> Values | None:
        """Return the settings of a trial; None if they depend on earlier scores."""
        match self.search.sampler:
            case "grid":
                # Shuffled, so that a grid that is stopped early covers all of it.
                order = np.random.default_rng(self.config.seed)
                grid = self.space.grid
                return grid[int(order.permutation(len(grid))[number])]
            case "random":
                rng = np.random.default_rng((self.config.seed, number))
                return self.space.draw(rng)
        return None

    def config_of(self, settings: Values, *, repeat: int = 0) -> TrainConfig:
        """Return what a repeat of a trial is trained with."""
        seed = self.config.seed + repeat
        # A trial in the pitfall is pruned, so that a restart would hide it.
        return self.config.with_changes(**settings, seed=seed, pitfall_restarts=0)

    def annotate(self, config: TrainConfig) -> Annotation:
        """Read and check the painted slices, filtered as a config says.

        Raises
        ------
        ValueError
            As `read_compared` does.
        """
        return read_compared(
            self.volumes,
            config=config,
            phases=self.phases,
            begun_at=self.begun_at,
        )

    def to_dict(self, annotation: Annotation) -> dict[str, Any]:
        """Describe everything that the results depend on, as JSON values."""
        task = {
            **describe_compared(self.volumes, annotation, config=self.config),
            "space": self.space.to_list(),
            "sampler": self.search.sampler,
            "n_repeats": self.search.n_repeats,
            "prune": self.search.prune,
        }
        json_values: dict[str, Any] = json.loads(json.dumps(task))
        return json_values
