"""Chapters of a video: an optional list in the header's JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vtok.video.values import MAX_TIME, MIN_TIME, described, fraction, require_fraction, require_integer, require_tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A named stretch of time: `start` and `end` in units of `time_base` on the clock of the video's timestamps.

    Raises:
        ConfigError: A value has the wrong type or is outside its range.
    """

    start: int
    end: int
    time_base: Fraction
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        require_integer("start", self.start, MIN_TIME, MAX_TIME)
        require_integer("end", self.end, MIN_TIME, MAX_TIME)
        require_fraction("time_base", self.time_base)
        require_tags(self.tags)

    def to_json(self) -> dict[str, Any]:
        """The chapter as it is in the header; `from_json` reads it."""
        time_base = [self.time_base.numerator, self.time_base.denominator]
        return {"start": self.start, "end": self.end, "time_base": time_base, "tags": dict(self.tags)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Chapter":
        """The chapter that `values` describe, or ConfigError."""
        time_base = fraction("time_base", values["time_base"])
        return cls(start=values["start"], end=values["end"], time_base=time_base, tags=values["tags"])


def chapters_from_json(values: object) -> tuple[Chapter, ...]:
    """The header's `chapters`, or ConfigError."""
    return described("chapters", values, Chapter.from_json)


def shifted_chapters(
    chapters: Sequence[Chapter], begin: Fraction | None, end: Fraction | None, shift: Fraction
) -> tuple[Chapter, ...]:
    """The chapters between `begin` and `end`, cut off there and moved `shift` later; all in seconds."""
    moved = []
    for chapter in chapters:
        first, last = chapter.start * chapter.time_base, chapter.end * chapter.time_base
        first = first if begin is None else max(first, begin)
        last = last if end is None else min(last, end)
        if first <= last:
            ticks = [round((time + shift) / chapter.time_base) for time in (first, last)]
            moved.append(Chapter(start=ticks[0], end=ticks[1], time_base=chapter.time_base, tags=chapter.tags))
    return tuple(moved)
