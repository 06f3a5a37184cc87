"""The events of a study of uncertainty; needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import Notice, PredictEvent, TrainEvent
from napari_lrcs.uncertainty.study.summary import Member, StudySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStarted:
    """A study is about to train its first member, or to go on."""

    out: Path
    names: tuple[str, ...]
    """Of all members, in their order."""
    n_done: int
    """Members that an earlier, interrupted study has left; their `MemberEnded` come
    first."""
    phases: PhaseTable


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStarted:
    """A member is about to be trained, or to go on."""

    name: str
    number: int
    """Place among all members, from 1."""
    n_members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberProgress:
    """A member has come further; yielded several times a second."""

    name: str
    share: float
    """Of the member's work, 0 to 1; 0 while another process does it."""
    text: str
    event: TrainEvent | PredictEvent | None
    """Of training or prediction; None between them, and in another process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEnded:
    """A member is trained, predicted and scored."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFailed:
    """A member could not be brought to its end; the others go on."""

    name: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Combining:
    """Agreement, entropy and majority are computed from all members."""

    share: float
    """Of the voxels, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEnded:
    """The study is complete and in its place."""

    summary: StudySummary
    out: Path
    seconds: float
    """Of this call, what a resumed study found done left out."""


StudyEvent: TypeAlias = (
    Notice
    | StudyStarted
    | MemberStarted
    | MemberProgress
    | MemberEnded
    | MemberFailed
    | Combining
    | StudyEnded
)
