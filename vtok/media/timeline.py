"""Display times of frames: makes timestamps increase, and checks whether they are evenly spaced."""

from vtok.video.frame import VideoInfo
from vtok.video.times import DEFAULT_RATE


class Timeline:
    """Keeps each frame's timestamp if it is later than the one before, and moves it later otherwise."""

    def __init__(self, info: VideoInfo, notices: dict[str, str]) -> None:
        self._notices = notices
        self._rate = info.average_rate or DEFAULT_RATE
        self._second = max(1, round(1 / info.time_base))
        self._step = max(1, round(1 / (self._rate * info.time_base)))
        self._last: int | None = None
        self._shift = 0

    def place(self, pts: int | None) -> int:
        """Return the timestamp of the next frame, in units of the time base."""
        last = self._last
        if pts is None:
            pts = 0 if last is None else last + self._step
            self._notices.setdefault("missing", f"timestamps missing: filled in at {float(self._rate):g} frames/s")
        else:
            pts += self._shift
            if last is not None and pts <= last:
                moved = last + 1
                if last - pts > self._second:  # not a slip but a cut: time goes on from the new timestamp
                    moved = last + self._step
                    self._shift += moved - pts
                self._notices.setdefault("order", f"timestamps repeat or go back: moved forward, first at {moved}")
                pts = moved
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
