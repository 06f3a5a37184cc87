"""The events of an uncertainty study; needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import Notice, PredictEvent, TrainEvent
from napari_lrcs.uncertainty.study.summary import Member, StudySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStarted:
    """A study is about to start or to continue."""

    out: Path
    names: tuple[str, ...]
    """Names of all members, in their order."""
    n_done: int
    """Members that were finished before the study was interrupted; `MemberEnded` is
    yielded for each of them first."""
    phases: PhaseTable
    n_bytes: int = 0
    """Space on disk that the study takes at most; 0 if that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStarted:
    """A member is about to start or to continue."""

    name: str
    number: int
    """Position among all members, from 1."""
    n_members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberProgress:
    """A member has made progress; yielded several times a second."""

    name: str
    share: float
    """Share of the member's work that is done, 0 to 1; approximate on a cluster."""
    text: str
    event: TrainEvent | PredictEvent | None
    """Event of training or prediction; None between them, and in another process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEnded:
    """A member is trained, predicted and scored."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFailed:
    """A member failed; the others continue."""

    name: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Combining:
    """Agreement, entropy, majority and ensemble are being computed from all members."""

    share: float
    """Share of the voxels that are done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEnded:
    """The study is complete."""

    summary: StudySummary
    out: Path
    seconds: float
    """Duration of this call, without earlier sessions of a resumed study."""


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
