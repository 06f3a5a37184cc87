"""Train many networks on perturbed labels, and see how far their results differ."""

import json
import re
import shutil
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_lrcs.comparison.agreement import VOLUMES, write_agreement
from napari_lrcs.errors import LrcsError, ResultExistsError, VolumeError
from napari_lrcs.io.locks import only_writer
from napari_lrcs.io.paths import check_outputs, follow_link
from napari_lrcs.io.volume import sources_of
from napari_lrcs.io.writing import check_new, replacing
from napari_lrcs.models.device import resolve_device
from napari_lrcs.progress import Notice
from napari_lrcs.uncertainty.perturbation.perturb import advice
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
from napari_lrcs.uncertainty.study.figures import FIGURES, write_study_figures
from napari_lrcs.uncertainty.study.member import MemberTask, member_events, run_member
from napari_lrcs.uncertainty.study.summary import (
    FORMAT_VERSION,
    GROUPS,
    Member,
    read_record,
    summarise,
    write_members_csv,
)
from napari_lrcs.uncertainty.study.task import StudyTask, hash_of

_FAILURES = (LrcsError, OSError, ValueError, MemoryError, RuntimeError)
"""What sinks one member and not the others; torch raises RuntimeError."""

_TICK = 0.5
"""Seconds between looks at other processes: closing the generator waits no longer."""

_MEMBER = re.compile(r"(perturbed|repeat)-[0-9]{3,}")
"""Names of `MemberTask.place`."""

_FEWEST = 2
"""Members on perturbed labels without which there is no deviation to give."""


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

    Member m of the first group is trained with the seed ``config.seed + m`` on the
    labels that ``np.random.default_rng((config.seed, m))`` perturbs; member m of the
    second group, which shows what training alone scatters, with the same seed on the
    labels as painted.

    Parameters
    ----------
    task : StudyTask
    out : Path
        Folder for ``study.json``, ``members.csv``, the members' folders, figures, and
        ``majority.zarr``, ``agreement.zarr`` and ``entropy.zarr`` of the members on
        perturbed labels.
    resume : bool
        Go on with the study in the folder: members that ended are kept, what is half
        done goes on, failed ones are tried again. All but the numbers of members and
        the device must be the same.
    overwrite : bool
        Replace a study that is in the folder, once all else is found to be in order.
    executor : concurrent.futures.Executor, optional
        Where members run side by side; one after another in this process by default.
    devices : sequence of str, optional
        Devices that the executor's members share, one member on each at a time; by
        default all members are handed in at once, with the config's device.

    Yields
    ------
    StudyEvent
        `Notice`, `StudyStarted`, `MemberEnded` for each that is there already,
        then for each other `MemberStarted`, `MemberProgress` and `MemberEnded` or
        `MemberFailed`; `Combining` and, last, `StudyEnded`. Closing the generator
        keeps all to go on from; other processes end the members that they are at.

    Raises
    ------
    ValueError
        If labels, slices or settings do not fit; nothing is written then.
    ResultExistsError
        If something is in the folder that is neither to be resumed nor replaced.
    InUseError
        If another process, or another window, works on the study.
    LrcsError
        If fewer than two members on perturbed labels succeed.
    OSError
        If the study itself cannot be written.
    """
    started = time.monotonic()
    out = follow_link(out)
    check_outputs([out], inputs=sources_of(task.image, task.labels, task.mask))
    check_new(out, overwrite=True)
    _check_place(out, resume=resume, overwrite=overwrite)
    if executor is None:
        resolve_device(task.config.device)
    task, notices = _checked(task)
    study = _Study(task, out)
    with only_writer(out):
        # Again, now that nobody else writes: another one may have begun or ended.
        _check_place(out, resume=resume, overwrite=overwrite)
        if resume:
            study.check_same()
        out.mkdir(exist_ok=True)
        if overwrite:
            _remove_study(out)
        try:
            yield from notices
            yield from study.events(executor, devices)
            yield study.end(time.monotonic() - started)
        finally:
            study.leave()


def _check_place(out: Path, *, resume: bool, overwrite: bool) -> None:
    is_study = (out / "study.json").is_file()
    if is_study and overwrite:
        read_record(out)  # somebody else's file of that name is not removed
    if resume:
        if not is_study:
            raise VolumeError(
                f"there is no study in {out} to resume; start one without resuming"
            )
    elif is_study and not overwrite:
        raise ResultExistsError(
            f"{out} holds a study already; resume it, overwrite it or choose another "
            "folder"
        )
    elif out.exists() and not is_study and not _is_vacant(out):
        raise ResultExistsError(f"{out} exists and is no study; choose another place")


def _is_vacant(out: Path) -> bool:
    return out.is_dir() and all(file.name.startswith(".") for file in out.iterdir())


def _remove_study(out: Path) -> None:
    """Remove the files of an earlier study, and nothing else."""
    members = [path for path in out.glob("members/*") if _MEMBER.fullmatch(path.name)]
    for folder in (*members, *(out / f"{name}.zarr" for name in VOLUMES)):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # it may hold something else, or be missing
        (out / "members").rmdir()
    # Last the file by which the folder is known as a study.
    for name in ("members.csv", *FIGURES, "study.json"):
        (out / name).unlink(missing_ok=True)


def _checked(task: StudyTask) -> tuple[StudyTask, list[Notice]]:
    """Find what is wrong before anything is written, and what should be known."""
    if not task.test:
        raise ValueError(
            "no slice is for the test; name a painted slice that is not trained on"
        )
    annotation = task.annotate(task.labels, with_test=True)
    task = replace(task.with_painted_slices_only(), phases=annotation.phases)
    n_seeds = max(task.study.n_members, task.study.n_repeats)
    task.config.with_changes(seed=task.config.seed + n_seeds - 1)
    original = task.read_labels(task.painted)
    texts = [
        *_said_of_validation(task),
        # These two lie side by side on purpose: no score of the study is from them.
        *(t for t in annotation.advice if not t.startswith("train and validation")),
        *advice(original, task.perturbed(0), annotation.phases),
    ]
    return task, [Notice(kind="advice", text=text) for text in texts]


def _said_of_validation(task: StudyTask) -> Iterator[str]:
    if task.validation:
        yield (
            f"slices {', '.join(map(str, task.validation))} of the training slices "
            "are for validation, which picks the best epoch; the scores are of the "
            "test slices"
        )


class _Study:
    """A study's members, and what they have found so far."""

    def __init__(self, task: StudyTask, out: Path) -> None:
        assert task.phases is not None
        self.out = out
        self.phases = task.phases
        self.study = task.study
        self.description = task.to_dict()
        self.hash = hash_of(self.description)
        self.state = "begun"
        sizes = {
            "perturbed": task.study.n_members,
            "same_labels": task.study.n_repeats,
        }
        self.members = [
            MemberTask(
                task=task,
                task_hash=self.hash,
                group=group,
                number=number,
                folder=out / "members",
            )
            for group in GROUPS
            for number in range(sizes[group])
        ]
        self.ended: dict[str, Member] = {}

    def check_same(self) -> None:
        """Refuse to go on with another task than the folder's."""
        begun = _flat(read_record(self.out)["task"])
        for name, now in _flat(self.description).items():
            if begun.get(name) != now:
                raise VolumeError(
                    f"the study in {self.out} was begun with other {name} "
                    f"({begun.get(name)}, now {now}); resume without changes, or "
                    "choose another folder"
                )

    # ---- the members ----

    def events(
        self, executor: Executor | None, devices: Sequence[str]
    ) -> Iterator[StudyEvent]:
        """Bring all members to their end, and combine them."""
        found = [member.finished() for member in self.members]
        self.ended = {member.name: member for member in found if member is not None}
        left = [member for member in self.members if member.name not in self.ended]
        self.state = "running"
        self.write()
        yield StudyStarted(
            out=self.out,
            names=tuple(member.name for member in self.members),
            n_done=len(self.ended),
            phases=self.phases,
        )
        yield from [MemberEnded(member=member) for member in self.ended.values()]
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
                done, _ = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
                for future in done:
                    task, device = running.pop(future)
                    free.extend([] if device is None else [device])
                    yield self._result(task, future)
                yield from [_going_on(task) for task, _ in running.values()]
        finally:
            for future in running:
                future.cancel()

    def _result(
        self, task: MemberTask, future: Future[Member]
    ) -> MemberEnded | MemberFailed:
        try:
            member = future.result()
        except _FAILURES as error:
            return self._failed(task, error)
        return self._ended(member)

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
        text = " ".join(str(error).split()) or type(error).__name__
        self.ended[task.name] = task.failed(text)
        self.write()
        return MemberFailed(name=task.name, error=text)

    # ---- the end ----

    def _combine(self) -> Iterator[Combining]:
        good = [
            task
            for task in self.members
            if task.group == "perturbed" and self.ended[task.name].error is None
        ]
        if len(good) < _FEWEST:
            errors = {m.error: m.name for m in self.ended.values() if m.error}
            reasons = "; ".join(f"{name}: {error}" for error, name in errors.items())
            raise LrcsError(
                f"{len(good)} of {self.study.n_members} networks on perturbed labels "
                f"succeeded, a study needs {_FEWEST}; mend the cause and resume "
                f"({reasons})"
            )
        for share in write_agreement(
            [task.segmentation for task in good], out=self.out, phases=self.phases
        ):
            yield Combining(share=share)
        write_study_figures(self.out, summarise(self.in_order, self.phases))

    def end(self, seconds: float) -> StudyEnded:
        """Note that all is done."""
        self.state = "complete"
        self.write()
        summary = summarise(self.in_order, self.phases)
        return StudyEnded(summary=summary, out=self.out, seconds=seconds)

    def leave(self) -> None:
        """Note that it was stopped, if it was."""
        if self.state == "running":
            self.state = "stopped"
            with suppress(OSError):  # on a full disk, which the first error told of
                self.write()

    @property
    def in_order(self) -> list[Member]:
        """The members that ended or failed, in the study's order."""
        return [self.ended[m.name] for m in self.members if m.name in self.ended]

    def write(self) -> None:
        """Write what is known so far: ``members.csv`` and ``study.json``."""
        members = self.in_order
        if members:
            write_members_csv(self.out / "members.csv", members, self.phases)
        record = {
            "format_version": FORMAT_VERSION,
            "state": self.state,
            "task": self.description,
            "task_hash": self.hash,
            "study": self.study.to_dict(),
            "members": [member.to_dict() for member in members],
            **summarise(members, self.phases).to_dict(),
        }
        with replacing(self.out / "study.json") as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _flat(task: Mapping[str, Any]) -> dict[str, Any]:
    """Put the fields of a task's configs among its own."""
    flat: dict[str, Any] = {}
    for name, value in task.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat


def _submit(executor: Executor, task: MemberTask, device: str | None) -> Future[Member]:
    try:
        return executor.submit(run_member, task.on(device) if device else task)
    except RuntimeError as error:  # a pool that broke takes no more
        future: Future[Member] = Future()
        future.set_exception(error)
        return future


def _going_on(task: MemberTask) -> MemberProgress:
    return MemberProgress(
        name=task.name, share=0.0, text="in another process", event=None
    )
