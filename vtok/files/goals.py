"""What a file should come to, in place of a quality: a size, a bitrate, a ratio, a PSNR, an SSIM or a VMAF.

`vtok.files.steering` finds the file that comes to it.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from vtok.errors import ConfigError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_EXPECTED = {
    "size": "bytes, such as 25MB, 800kB or 24MiB",
    "bitrate": "bits per second, such as 800k or 1.5M",
    "ratio": "bytes of raw frames for one of the file, such as 20",
    "psnr": "dB, such as 36",
    "ssim": "above 0 and below 1, such as 0.97",
    "vmaf": "above 0 and below 100, such as 90",
}
KINDS = tuple(_EXPECTED)
_LARGEST = {"size": 2.0**53, "bitrate": 2.0**53, "ratio": 1e6, "psnr": 99.0, "ssim": 1.0, "vmaf": 100.0}
_SIZES = ("size", "bitrate", "ratio")  # these limit the bytes of a file
# Files may have this much less than a limit of bytes, and differ by this much from the others.
_TOLERANCES = {"psnr": 0.1, "ssim": 0.002, "vmaf": 0.5}
_LEAST_USED = 0.97


@dataclass(frozen=True, slots=True)
class Goal:
    """A value that a file should reach; make it with `goal_of`.

    Attributes:
        kind: `size`, `bitrate` or `ratio`, which are never exceeded; `psnr` (PSNR-YUV, dB), `ssim` (of luma)
            or `vmaf` (the default model, nothing scaled).
        value: Bytes, bits per second, raw bytes per byte, dB, SSIM or VMAF.

    Raises:
        ConfigError: The value is outside its range.
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < _LARGEST[self.kind]:
            raise ConfigError(f"{self.kind} is {self.value:g}; expected {_EXPECTED[self.kind]}")

    @property
    def is_size(self) -> bool:
        """Whether the goal limits the bytes of the file."""
        return self.kind in _SIZES

    def limit(self, seconds: float, num_raw_bytes: int) -> float:
        """Bytes that a file may have whose frames play for some seconds and have so many bytes; else infinity."""
        limits = {"size": self.value, "bitrate": self.value * seconds / 8, "ratio": num_raw_bytes / self.value}
        return limits.get(self.kind, math.inf)

    def of_bytes(self, num_bytes: float, limit: float) -> float:
        """What a file of so many bytes comes to, in units of `value`, where `limit` bytes come to that."""
        return self.value * (limit / num_bytes if self.kind == "ratio" else num_bytes / limit)

    def is_met(self, reached: float) -> bool:
        """Whether a file that comes to `reached` is what was asked for."""
        if self.kind == "ratio":
            return self.value <= reached <= self.value / _LEAST_USED
        if self.is_size:
            return _LEAST_USED * self.value <= reached <= self.value
        return abs(reached - self.value) <= _TOLERANCES[self.kind]

    def text(self, value: float) -> str:
        """A value with its unit, for people."""
        return {
            "size": f"{value:.0f} bytes",
            "bitrate": f"{value / 1000:.1f} kbit/s",
            "ratio": f"ratio {value:.1f}",
            "psnr": f"PSNR-YUV {value:.2f} dB",
            "ssim": f"SSIM {value:.4f}",
            "vmaf": f"VMAF {value:.2f}",
        }[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalReport:
    """How a goal was reached.

    Attributes:
        kind: `size`, `bitrate`, `ratio`, `psnr`, `ssim` or `vmaf`.
        wanted: What was asked for, in bytes, bits per second, raw bytes per byte, dB, or as SSIM or VMAF.
        reached: What the file comes to, likewise.
        num_passes: Number of times that the source was read: to look, for each price, to encode (again), and to write.
        qualities: The quality of each group.
    """

    kind: str
    wanted: float
    reached: float
    num_passes: int
    qualities: list[float]

    def summary(self) -> str:
        """A few words for people."""
        lowest, highest = (f"{bound(self.qualities):.3g}" for bound in (min, max))
        between = lowest if lowest == highest else f"{lowest} to {highest}"
        goal = Goal(self.kind, self.wanted)
        return f"{goal.text(self.reached)} of {goal.text(self.wanted)} at quality {between}"


def goal_of(**values: float | str | None) -> Goal | None:
    """Return the goal whose value is given, as a number or as text with a unit; None if there is none.

    Raises:
        ConfigError: There are several, or a value is no number or outside its range.

    Example:
        >>> goal_of(size="24MiB", psnr=None)
        Goal(kind='size', value=25165824)
    """
    given = {kind: value for kind, value in values.items() if value is not None}
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are given: give one of {', '.join(_EXPECTED)}, or a quality")
    return next((Goal(kind, _number(kind, value)) for kind, value in given.items()), None)


def _number(kind: str, value: Any) -> float:
    if not isinstance(value, str):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{kind} is {value!r}; expected {_EXPECTED[kind]}") from None
    suffixes = {"size": "B?", "bitrate": "(?:bit/s)?"}.get(kind)
    units = "" if suffixes is None else rf"\s*([kMG]i?)?{suffixes}"
    match = re.fullmatch(rf"\s*([0-9]*\.?[0-9]+){units}\s*", value, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"{kind} is {value!r}; expected {_EXPECTED[kind]}")
    return float(match[1]) * (_UNITS[(match[2] or "").lower()] if units else 1)
