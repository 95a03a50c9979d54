"""How far a command is: the counts of a phase, as numbers for programs and in words for people."""

import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path


class Style(StrEnum):
    """The ways to show progress."""

    AUTO = "auto"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The file at work, and its place in a batch.

    Attributes:
        source: The file.
        number: Its number in the batch, from 1.
        num_files: Number of files in the batch.
    """

    source: Path
    number: int = 1
    num_files: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressLine:
    """An object of `--progress json`.

    Attributes:
        command: Name of the command.
        source: The file at work; None if several are, or none.
        file: Its number in the batch, from 1; None if there is no such file.
        files: Number of files in the batch.
        phase: Name of the pass if there are several, as for a goal: `look`, `price`, `encode`, `write`; else None.
        unit: What is counted: `frames` of the phase, `files` or `jobs`.
        done: Number of these that are done.
        total: Number of all, as far as the source says; else None.
        frames: Number of frames done in this phase; of all files if `unit` is `files`; None for jobs.
        frames_per_second: Mean since the phase began; None for jobs.
        seconds: Time since the phase began.
        seconds_left: Estimated time to the end of the phase; None if there is no estimate.
        bytes: Bytes written so far; None if they are not counted.
        finished: Whether this is the last object of the file, or of the whole batch if several are at work.
    """

    command: str
    source: str | None
    file: int | None
    files: int
    phase: str | None
    unit: str
    done: int
    total: int | None
    frames: int | None
    frames_per_second: float | None
    seconds: float
    seconds_left: float | None
    bytes: int | None
    finished: bool


class Meter:
    """A count of finished items.

    Args:
        command: Name of the command.
        unit: Name of the items, plural.
        total: Number of all items, or None if unknown.
        place: The file at work, if it is one.
        phase: Name of the pass, if there are several.
    """

    def __init__(
        self, command: str, unit: str, total: int | None, place: Place | None = None, phase: str | None = None
    ) -> None:
        self.command, self.unit, self.total, self.place, self.phase = command, unit, total, place, phase
        self.done = 0
        self.frames: int | None = None
        self.num_bytes: int | None = None
        self.speed = ""
        self.seconds_left: float | None = None
        self._begun = time.monotonic()

    @property
    def description(self) -> str:
        """The activity, in a few words."""
        of_batch = self.place if self.place and self.place.num_files > 1 else None
        name = (
            f"{self.command} {of_batch.number}/{of_batch.num_files} {of_batch.source.name}"
            if of_batch
            else self.command
        )
        return f"{name} ({self.phase})" if self.phase else name

    @property
    def left(self) -> str:
        """The remaining time for people; empty if it is unknown."""
        return "" if self.seconds_left is None else f"{timedelta(seconds=round(self.seconds_left))} left"

    @property
    def seconds(self) -> float:
        """Seconds since the start; never 0."""
        return max(time.monotonic() - self._begun, 1e-9)

    def line(self, *, finished: bool) -> ProgressLine:
        """The same for programs."""
        return ProgressLine(
            command=self.command,
            source=str(self.place.source) if self.place else None,
            file=self.place.number if self.place else None,
            files=self.place.num_files if self.place else self.total or 0 if self.unit == "files" else 1,
            phase=self.phase,
            unit=self.unit,
            done=self.done,
            total=self.total,
            frames=self.frames,
            frames_per_second=None if self.frames is None else round(self.frames / self.seconds, 3),
            seconds=round(self.seconds, 3),
            seconds_left=None if self.seconds_left is None else round(self.seconds_left, 3),
            bytes=self.num_bytes,
            finished=finished,
        )
