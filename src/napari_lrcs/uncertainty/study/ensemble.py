"""Train many networks on perturbed labels, and summarise how far they differ."""

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from napari_lrcs.comparison.agreement import write_agreement
from napari_lrcs.errors import ClusterError, LrcsError, one_line
from napari_lrcs.io.locks import only_writer
from napari_lrcs.io.paths import check_outputs, follow_link
from napari_lrcs.io.volume import sources_of
from napari_lrcs.io.writing import check_new
from napari_lrcs.models.device import resolve_device
from napari_lrcs.progress import Notice
from napari_lrcs.uncertainty.perturbation.perturb import advice
from napari_lrcs.uncertainty.study.averaging import Averaging
from napari_lrcs.uncertainty.study.events import (
    Combining,
    MemberEnded,
    MemberFailed,
    MemberProgress,
    MemberStarted,
    StudyEnded,
    StudyEvent,
    StudyStarted,
)
from napari_lrcs.uncertainty.study.figures import write_study_figures
from napari_lrcs.uncertainty.study.folder import StudyFindings, StudyFolder
from napari_lrcs.uncertainty.study.measuring import with_checked_measures
from napari_lrcs.uncertainty.study.member import (
    MemberTask,
    member_events,
    run_member,
    watched,
)
from napari_lrcs.uncertainty.study.probabilities import disk_needed
from napari_lrcs.uncertainty.study.summary import GROUPS, Member
from napari_lrcs.uncertainty.study.task import StudyTask, hash_of

_FAILURES = (LrcsError, OSError, ValueError, MemoryError, RuntimeError)
"""Errors that fail one member but not the study; torch raises RuntimeError."""

_POLL_SECONDS = 0.5
"""Seconds between checks of other processes: closing the generator waits no longer."""

_AGREED = 0.5
"""Share of combining the members, about, that is done before the ensemble."""

_MIN_MEMBERS = 2
"""Members on perturbed labels that a standard deviation needs."""


def run_study(
    task: StudyTask,
    *,
    out: Path,
    resume: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
    devices: Sequence[str] = (),
) -> Generator[StudyEvent, None, None]:
    """Train, predict, score and measure the members of a study, and combine them.

    A member is one network and its results. Member m of the first group is trained with
    the seed ``config.seed + m`` on labels perturbed with
    ``np.random.default_rng((config.seed, m))``. Member m of the second group, which
    shows how much training alone scatters, is trained with the same seed on the labels
    as painted. The mean of the probabilities of all members that succeed is one more
    segmentation, the ensemble, with the same scores and measures.

    Parameters
    ----------
    task : StudyTask
        Volumes, slices and settings of the study.
    out : Path
        Folder for ``study.json``, ``members.csv``, the members' folders, figures, and
        ``majority.zarr``, ``agreement.zarr`` and ``entropy.zarr`` of the members on
        perturbed labels, and ``ensemble.zarr``.
    resume : bool
        Continue the study in the folder: finished members are kept, unfinished ones are
        continued, and failed ones are tried again. Everything but the numbers of
        members and the device must be the same.
    overwrite : bool
        Replace the study in the folder, after all other checks have passed.
    executor : concurrent.futures.Executor, optional
        Runs members in parallel; by default they run one after another in this process.
    devices : sequence of str, optional
        Devices for the executor, one member on each at a time; by default all members
        are submitted at once, with the config's device.

    Yields
    ------
    StudyEvent
        `Notice`, `StudyStarted`, `MemberEnded` for each member that was finished
        before, then for each other member `MemberStarted`, `MemberProgress` and
        `MemberEnded` or `MemberFailed`; then `Combining` and finally `StudyEnded`. If
        the generator is closed, the study can be resumed; other processes finish the
        members that they have begun.

    Raises
    ------
    ValueError
        If labels, slices or settings are not valid; nothing is written then.
    ResultExistsError
        If the folder holds something that is to be neither resumed nor replaced.
    InUseError
        If another process, or another window, is running the study.
    ClusterError
        If the executor is a cluster that is lost.
    LrcsError
        If fewer than two members on perturbed labels succeed.
    OSError
        If the study itself cannot be written.
    """
    started = time.monotonic()
    out = follow_link(out)
    check_outputs([out], inputs=sources_of(task.image, task.labels, task.mask))
    check_new(out, overwrite=True)
    folder = StudyFolder(out)
    folder.record.check_place(resume=resume, overwrite=overwrite)
    if executor is None:
        resolve_device(task.config.device)
    if resume:
        task = replace(task, begun_at=folder.record.read_begun_at())
    task, notices = _checked(task)
    study = _Study(task, folder)
    with only_writer(out):
        # Checked again under the lock: another process may have started or finished.
        folder.record.check_place(resume=resume, overwrite=overwrite)
        if resume:
            folder.record.check_same(study.description)
        out.mkdir(exist_ok=True)
        if overwrite:
            folder.remove()
        try:
            yield from notices
            yield from study.events(executor, devices)
            yield study.end(time.monotonic() - started)
        finally:
            study.stop()


def _checked(task: StudyTask) -> tuple[StudyTask, list[Notice]]:
    """Check the task before anything is written, and collect notices."""
    if not task.test:
        raise ValueError(
            "there is no test slice; choose a painted slice that is not trained on"
        )
    annotation = task.annotate(task.labels, with_test=True)
    task = with_checked_measures(task, annotation.phases)
    task = replace(task.with_painted_slices_only(), phases=annotation.phases)
    n_seeds = max(task.study.n_members, task.study.n_repeats)
    task.config.with_changes(seed=task.config.seed + n_seeds - 1)
    original = task.read_labels(task.painted)
    texts = [
        *_validation_notices(task),
        # The validation slices are next to the training slices on purpose: no score of
        # the study comes from them.
        *(t for t in annotation.advice if not t.startswith("train and validation")),
        *advice(original, task.perturbed(0), annotation.phases),
    ]
    return task, [Notice(kind="advice", text=text) for text in texts]


def _validation_notices(task: StudyTask) -> Iterator[str]:
    if task.validation:
        yield (
            f"slices {', '.join(map(str, task.validation))} of the training slices "
            "are used for validation, which selects the best epoch; the scores are for "
            "the test slices"
        )


class _Study:
    """A running study: its members, and their results so far."""

    def __init__(self, task: StudyTask, folder: StudyFolder) -> None:
        assert task.phases is not None
        self.folder = folder
        self.phases = task.phases
        self.study = task.study
        self.begun_at = task.begun_at
        self.description = task.to_dict()
        task_hash = hash_of(self.description)
        self.state = "begun"
        self.averaging = Averaging(task=task, task_hash=task_hash, folder=folder)
        sizes = {
            "perturbed": task.study.n_members,
            "same_labels": task.study.n_repeats,
        }
        self.members = [
            MemberTask(
                task=task,
                task_hash=task_hash,
                group=group,
                number=number,
                folder=folder.members,
            )
            for group in GROUPS
            for number in range(sizes[group])
        ]
        self.ended: dict[str, Member] = {}

    # ---- the members ----

    def events(
        self, executor: Executor | None, devices: Sequence[str]
    ) -> Iterator[StudyEvent]:
        """Run all members that are not finished, and combine the results."""
        found = [member.finished() for member in self.members]
        self.ended = {member.name: member for member in found if member is not None}
        self.members, notices = self.averaging.prepare(self.members, self.ended)
        done = [member for member in self.members if member.name in self.ended]
        left = [member for member in self.members if member.name not in self.ended]
        self.state = "running"
        self.write()
        yield from notices
        yield StudyStarted(
            out=self.folder.path,
            names=tuple(member.name for member in self.members),
            n_done=len(self.ended),
            phases=self.phases,
            n_bytes=disk_needed(**self.averaging.task.sizes),
        )
        yield from [MemberEnded(member=member) for member in self.ended.values()]
        yield from self._add(done)
        if executor is None:
            yield from self._one_after_another(left)
        else:
            yield from self._side_by_side(left, executor, devices)
        yield from self._combine()

    def _one_after_another(self, left: Sequence[MemberTask]) -> Iterator[StudyEvent]:
        for task in left:
            yield self._started(task)
            try:
                member = yield from member_events(task)
            except _FAILURES as error:
                yield self._failed(task, error)
            else:
                yield from self._add([task])
                yield self._ended(member)

    def _side_by_side(
        self, left: Sequence[MemberTask], executor: Executor, devices: Sequence[str]
    ) -> Iterator[StudyEvent]:
        waiting, free = deque(left), deque(devices)
        running: dict[Future[Member], tuple[MemberTask, str | None]] = {}
        try:
            while waiting or running:
                while waiting and (free or not devices):
                    task, device = waiting.popleft(), free.popleft() if free else None
                    running[_submit(executor, task, device)] = task, device
                    yield self._started(task)
                done, _ = wait(
                    running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED
                )
                for future in done:
                    task, device = running.pop(future)
                    free.extend([] if device is None else [device])
                    yield from self._result(task, future)
                yield from [watched(task) for task, _ in running.values()]
        finally:
            for future in running:
                future.cancel()

    def _result(
        self, task: MemberTask, future: Future[Member]
    ) -> Iterator[MemberProgress | MemberEnded | MemberFailed]:
        try:
            member = future.result()
        except ClusterError:  # of all members
            raise
        except _FAILURES as error:
            yield self._failed(task, error)
            return
        yield from self._add([task])
        yield self._ended(member)

    def _add(self, members: Sequence[MemberTask]) -> Iterator[MemberProgress]:
        """Add finished members to the ensemble."""
        for share in self.averaging.add(members):
            text = f"adding to the ensemble, {share:.0%}"
            name = members[-1].name
            yield MemberProgress(name=name, share=1.0, text=text, event=None)

    def _started(self, task: MemberTask) -> MemberStarted:
        return MemberStarted(
            name=task.name,
            number=self.members.index(task) + 1,
            n_members=len(self.members),
        )

    def _ended(self, member: Member) -> MemberEnded:
        self.ended[member.name] = member
        self.write()
        return MemberEnded(member=member)

    def _failed(self, task: MemberTask, error: BaseException) -> MemberFailed:
        text = one_line(error)
        self.ended[task.name] = task.failed(text)
        self.write()
        return MemberFailed(name=task.name, error=text)

    # ---- the end ----

    def _succeeded(self) -> list[MemberTask]:
        return [task for task in self.members if self.ended[task.name].error is None]

    def _combine(self) -> Iterator[Combining]:
        good = [task for task in self._succeeded() if task.group == "perturbed"]
        if len(good) < _MIN_MEMBERS:
            errors = {m.error: m.name for m in self.ended.values() if m.error}
            reasons = "; ".join(f"{name}: {error}" for error, name in errors.items())
            raise LrcsError(
                f"{len(good)} of {self.study.n_members} networks on perturbed labels "
                f"succeeded, but a study needs {_MIN_MEMBERS}; fix the cause and "
                f"resume ({reasons})"
            )
        out = self.folder.path
        segmentations = [task.segmentation for task in good]
        for share in write_agreement(segmentations, out=out, phases=self.phases):
            yield Combining(share=_AGREED * share)
        for share in self.averaging.finish(self._succeeded()):
            yield Combining(share=_AGREED + (1 - _AGREED) * share)
        write_study_figures(out, self.findings.summary)

    def end(self, seconds: float) -> StudyEnded:
        """Record that the study is complete."""
        self.state = "complete"
        self.write()
        findings = self.findings
        return StudyEnded(summary=findings.summary, out=findings.out, seconds=seconds)

    def stop(self) -> None:
        """Record that the study was stopped, unless it is complete."""
        if self.state == "running":
            self.state = "stopped"
            with suppress(OSError):  # a full disk, which the first error reports
                self.write()

    @property
    def findings(self) -> StudyFindings:
        """Results so far, with the members in the study's order."""
        ended = (self.ended.get(task.name) for task in self.members)
        return StudyFindings(
            out=self.folder.path,
            members=tuple(member for member in ended if member is not None),
            phases=self.phases,
            ensemble=self.averaging.results,
        )

    def write(self) -> None:
        """Write the results so far."""
        self.folder.write(
            self.findings,
            state=self.state,
            task=self.description,
            study=self.study,
            begun_at=self.begun_at,
        )


def _submit(executor: Executor, task: MemberTask, device: str | None) -> Future[Member]:
    try:
        return executor.submit(run_member, task.on(device) if device else task)
    except RuntimeError as error:  # a broken pool accepts no more work
        future: Future[Member] = Future()
        future.set_exception(error)
        return future
