"""Display times of frames: finds missing ones, makes them increase, and checks whether they are evenly spaced."""

from collections import deque
from collections.abc import Iterator
from itertools import chain

from av.video.frame import VideoFrame

from vtok.video.frame import VideoInfo
from vtok.video.times import DEFAULT_RATE

LONG_GAP = 3600
"""Seconds between two frames that are more likely a fault of the source than meant."""

_LONGEST_GUESS = 0.25  # seconds by which guessed timestamps of program streams are wrong at most
_MAX_HELD = 32  # pictures without a timestamp that wait in memory for the first one


class DecodingTimes:
    """Display times from decoding times, where a container has no others: both have the same values in another order.

    A decoder returns a picture some packets after it was coded. That delay tells the times also if packets hold none.
    """

    def __init__(self) -> None:
        self._times: deque[int] = deque()
        self._delay: int | None = None

    def restart(self) -> None:
        """Go on elsewhere in the file. The delay stays, also where pictures cannot be decoded."""
        self._times.clear()

    def place(self, dts: int | None, pictures: list[VideoFrame]) -> None:
        """Set the times of the pictures that a decoder returned for a packet; `dts` is None at the end of the file."""
        if dts is not None:
            self._times.append(dts)
            if pictures and self._delay is None:
                self._delay = len(self._times) - 1
            while pictures and len(self._times) - 1 > (self._delay or 0):
                self._times.popleft()
        for picture in pictures:
            picture.pts = self._times.popleft() if self._times else None


def begun_evenly(pictures: Iterator[VideoFrame], info: VideoInfo, notices: dict[str, str]) -> Iterator[VideoFrame]:
    """Yield the pictures; the first ones, if they have no timestamps, at even times before the first that has one."""
    held: list[VideoFrame] = []
    for picture in pictures:
        held.append(picture)
        if picture.pts is not None or len(held) == _MAX_HELD:
            break
    if len(held) > 1 and (known := held[-1].pts) is not None:
        rate = info.average_rate or DEFAULT_RATE
        notices["begin"] = f"timestamps missing at the beginning: filled in at {float(rate):g} frames/s"
        for number, picture in enumerate(reversed(held)):
            picture.pts = known - round(number / (rate * info.time_base))
    yield from chain(held, pictures)


class Timeline:
    """Keeps each frame's timestamp if it is later than the one before, and moves it later otherwise.

    Args:
        info: Rate and time base of the video.
        notices: Receives a line for each kind of repair.
        format_name: Name of FFmpeg's demuxer. In a program stream (mpg, vob) not every picture has a timestamp. FFmpeg
            guesses the others, sometimes some pictures too early, and then those that follow too. So there a picture
            that is too early comes evenly after the one before; elsewhere a tick after it, which moves no other.
    """

    def __init__(self, info: VideoInfo, notices: dict[str, str], format_name: str = "") -> None:
        self._notices = notices
        self._is_guessed = format_name == "mpeg"
        self._rate = info.average_rate or DEFAULT_RATE
        self._step = max(1, round(1 / (self._rate * info.time_base)))
        self._unit, self._long_gap = info.time_base, LONG_GAP / info.time_base
        self._last: int | None = None

    def place(self, pts: int | None) -> int:
        """Return the timestamp of the next frame, in units of the time base."""
        last = self._last
        if pts is None:
            pts = 0 if last is None else last + self._step
            self._notices.setdefault("missing", f"timestamps missing: filled in at {float(self._rate):g} frames/s")
        elif last is not None and pts <= last:
            is_small = self._is_guessed and (last + self._step - pts) * self._unit <= _LONGEST_GUESS
            pts = last + (self._step if is_small else 1)
            self._notices.setdefault("order", f"timestamps repeat or go back: moved forward, first at {pts}")
        elif last is not None and pts - last > self._long_gap:
            seconds = float((pts - last) * self._unit)
            self._notices.setdefault("gap", f"a gap of {seconds:.0f} s in the timestamps is kept")
        self._last = pts
        return pts


class Cadence:
    """Checks that frames come at the average rate, to a tick. Then an output without timestamps loses nothing.

    Attributes:
        rate: Frames per second.
    """

    def __init__(self, info: VideoInfo) -> None:
        self.rate = info.average_rate or DEFAULT_RATE
        self._is_even = True
        self._ticks_per_frame = 1 / (self.rate * info.time_base)
        self._num_frames = 0
        self._first_pts = 0

    def add(self, pts: int, notices: list[str]) -> None:
        """Take the timestamp of the next frame; the first one that is off adds a notice."""
        if not self._num_frames:
            self._first_pts = pts
        is_even = abs(pts - self._first_pts - self._num_frames * self._ticks_per_frame) <= 1
        if self._is_even and not is_even:
            self._is_even = False
            notices.append(f"times are lost: the output has none, and the frames do not come evenly at {self.rate}/s")
        self._num_frames += 1
