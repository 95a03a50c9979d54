"""Times as people type them (seconds, or hours, minutes and seconds between colons), and stretches of time."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational
from typing import TYPE_CHECKING

from vtok.errors import ConfigError

if TYPE_CHECKING:
    from vtok.video.frame import VideoInfo

DEFAULT_RATE = Fraction(25)
"""Frames per second of a file that has neither timestamps nor a rate."""

MAX_RATE = 1000
"""The most frames per second that images may be said to have."""

_TIME = re.compile(r"(?:(?:([0-9]{1,5}):)?([0-9]{1,5}):)?([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})")
_RATE = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,6})?)(?:/([1-9][0-9]{0,6}))?")


def parse_seconds(text: str) -> Fraction:
    """Parse seconds, exactly.

    Example:
        >>> parse_seconds("90.5"), parse_seconds("1:30.5"), parse_seconds("00:01:30.5")
        (Fraction(181, 2), Fraction(181, 2), Fraction(181, 2))

    Raises:
        ConfigError: `text` is negative, or is neither seconds nor [HH:]MM:SS, with or without decimals.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{text!r} is no time; expected seconds (90.5) or HH:MM:SS (00:01:30.5)")
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + Fraction(seconds)


def parse_rate(text: str) -> Fraction:
    """Parse frames per second, exactly: 24, 23.976 or 30000/1001.

    Raises:
        ConfigError: `text` is no such number, or is not above 0 and at most 1000.
    """
    match = _RATE.fullmatch(text.strip())
    rate = Fraction(match[1]) / int(match[2] or 1) if match else Fraction(0)
    if not 0 < rate <= MAX_RATE:
        raise ConfigError(
            f"{text!r} is no rate; expected frames per second, above 0 and at most {MAX_RATE}, as 24 or 30000/1001"
        )
    return rate


def exact_seconds(seconds: Fraction | float) -> Fraction:
    """The decimal number that was written, not the nearest binary one: at 25 per second a frame begins at 1.28 exactly.

    Example:
        >>> exact_seconds(1.28), Fraction(1.28) > Fraction(32, 25)
        (Fraction(32, 25), True)

    Raises:
        ConfigError: `seconds` is negative or not finite.
    """
    if not 0 <= seconds < math.inf:
        raise ConfigError(f"{float(seconds):g} s is no time in a video: must be at least 0 and finite")
    return Fraction(seconds) if isinstance(seconds, Rational) else Fraction(str(seconds))


def parse_range(start: str | None, end: str | None, duration: str | None) -> tuple[Fraction, Fraction | None]:
    """Start and end in seconds, from texts that `parse_seconds` accepts; None if there is no end.

    Raises:
        ConfigError: Both end and duration are given, a time cannot be read, or the range is empty.
    """
    if end is not None and duration is not None:
        raise ConfigError("end=... and duration=... say the same thing: give one of them")
    begin = parse_seconds(start) if start is not None else Fraction(0)
    stop = parse_seconds(end) if end is not None else None
    if duration is not None:
        stop = begin + parse_seconds(duration)
    if stop is not None and stop <= begin:
        raise ConfigError(f"the range ends at {float(stop):g} s: must be after its start, {float(begin):g} s")
    return begin, stop


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in seconds on the clock of the timestamps, from `begin` to before `end`; None is no limit."""

    begin: Fraction | None = None
    end: Fraction | None = None

    def has(self, seconds: Fraction) -> bool:
        """Whether a moment lies in the stretch."""
        return (self.begin is None or seconds >= self.begin) and (self.end is None or seconds < self.end)


def played_seconds(info: "VideoInfo", first_pts: int, last_pts: int, last_frame_ticks: int) -> float:
    """Seconds from the first frame's timestamp to the end of the last frame; the average rate replaces 0 ticks."""
    last_frame = last_frame_ticks * info.time_base
    if not last_frame and info.average_rate:
        last_frame = 1 / info.average_rate
    return float((last_pts - first_pts) * info.time_base + last_frame)
