"""The ensemble of a study: the mean of the probabilities of all its members."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from napari_lrcs.inference.estimate import amount
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.writing import remove
from napari_lrcs.progress import Notice, changed
from napari_lrcs.uncertainty.study.folder import StudyFolder
from napari_lrcs.uncertainty.study.measuring import measure, score
from napari_lrcs.uncertainty.study.member import MemberTask
from napari_lrcs.uncertainty.study.probabilities import ProbabilitySum, bytes_needed
from napari_lrcs.uncertainty.study.results import Results
from napari_lrcs.uncertainty.study.summary import Member
from napari_lrcs.uncertainty.study.task import StudyTask

_LABELLED = 0.5
"""Share of the work, about, that is done once the ensemble's labels are written."""


@dataclass(slots=True, kw_only=True)
class Averaging:
    """Adds up the probabilities of members as they end, and segments by their mean.

    Parameters
    ----------
    task : StudyTask
        With its phases.
    task_hash : str
        Hash of the task.
    folder : StudyFolder
    """

    task: StudyTask
    task_hash: str
    folder: StudyFolder
    why_not: str = field(init=False, default="")
    """Why there is no ensemble; empty if there is one."""
    results: Results | None = field(init=False, default=None)
    """Those of the ensemble, once there is one."""

    @property
    def sums(self) -> ProbabilitySum:
        """The sum so far."""
        path = self.folder.probability_sums
        return ProbabilitySum(path=path, task_hash=self.task_hash)

    def prepare(
        self, members: Sequence[MemberTask], ended: Mapping[str, Member]
    ) -> tuple[list[MemberTask], list[Notice]]:
        """Find out whether there can be an ensemble.

        Returns
        -------
        members : list of MemberTask
            The same ones; they keep their probabilities if there can be an ensemble.
        notices : list of Notice
            Why there cannot.
        """
        self.why_not = self._obstacle(members, ended)
        members = [
            replace(member, keeps_probabilities=not self.why_not) for member in members
        ]
        if not self.why_not:
            return members, []
        text = f"the table has no ensemble: {self.why_not}"
        return members, [Notice(kind="advice", text=text)]

    def _obstacle(
        self, members: Sequence[MemberTask], ended: Mapping[str, Member]
    ) -> str:
        added = {*self.sums.members}
        lost = [
            member.name
            for member in members
            if member.name in ended
            and member.name not in added
            and not member.probabilities.exists()
        ]
        if lost:
            return (
                f"the probabilities of {', '.join(lost)} were not kept; a new study "
                "keeps them"
            )
        if not added <= {member.name for member in members}:
            return "it had more networks before; continue it with as many"
        needed = bytes_needed(**self.task.sizes)
        free = shutil.disk_usage(self.folder.path).free
        if needed > free and not added:
            return f"it takes up to {amount(needed)}, but the disk has {amount(free)}"
        return ""

    def add(self, members: Sequence[MemberTask]) -> Iterator[float]:
        """Add finished members that are not in the sum; yields the share done."""
        if self.why_not:
            return
        added = self.sums.members
        places = {m.name: m.probabilities for m in members if m.name not in added}
        if places:
            yield from self.sums.add(places, like=open_labels(members[0].segmentation))
        for member in members:
            remove(member.probabilities)

    def finish(self, members: Sequence[MemberTask]) -> Iterator[float]:
        """Write the labels of the ensemble, and score and measure them.

        Without an ensemble, the labels of an earlier one are removed.

        Parameters
        ----------
        members : sequence of MemberTask
            All that succeeded.

        Yields
        ------
        float
            Share of the work that is done, 0 to 1.
        """
        path, task, phases = self.folder.ensemble, self.task, self.task.phases
        assert phases is not None
        if self.why_not or {*self.sums.members} != {member.name for member in members}:
            remove(path)
            return
        for share in self.sums.write_labels(
            path,
            phases=phases,
            like=open_labels(members[0].segmentation),
            min_size=task.predict.min_size,
        ):
            yield _LABELLED * share
        segmentation = open_labels(path)
        self.results = yield from changed(
            measure(segmentation, task, score(segmentation, task, phases)),
            lambda event: _LABELLED + (1 - _LABELLED) * event.share,
        )
