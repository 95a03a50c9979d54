"""How far a command is, told on stderr: a bar on a terminal, a log line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vtok.media_frame import VideoInfo

LOG_SECONDS = 10.0
Advance = Callable[[int], None]  # called with the number of frames that were done since the last call


@contextmanager
def frame_progress(verb: str, *, quiet: bool) -> Iterator[Callable[[VideoInfo], Advance]]:
    """A progress display for frames.

    Yields:
        A function that takes the video's description, once known, and returns the function to call as frames are done.
    """
    if quiet:
        yield lambda info: lambda frames: None
    elif not sys.stderr.isatty():
        yield lambda info: _log_lines(verb, info)
    else:
        columns = (
            TextColumn(verb),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames  {task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield lambda info: _bar(progress, verb, info)


def _bar(progress: Progress, verb: str, info: VideoInfo) -> Advance:
    task = progress.add_task(verb, total=info.num_frames_from_header, speed="")
    speed = _Speed(info)

    def advance(frames: int) -> None:
        speed.frames += frames
        progress.update(task, advance=frames, speed=str(speed))

    return advance


def _log_lines(verb: str, info: VideoInfo) -> Advance:
    speed = _Speed(info)
    total = f"/{info.num_frames_from_header}" if info.num_frames_from_header else ""
    due = LOG_SECONDS

    def advance(frames: int) -> None:
        nonlocal due
        speed.frames += frames
        if speed.seconds >= due:
            due = speed.seconds + LOG_SECONDS
            print(f"{verb}: {speed.frames}{total} frames, {speed}", file=sys.stderr, flush=True)

    return advance


class _Speed:
    """Frames per second since the start, and that as a multiple of real time."""

    def __init__(self, info: VideoInfo) -> None:
        self.frames = 0
        self._rate = float(info.average_rate) if info.average_rate else None
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def __str__(self) -> str:
        rate = self.frames / max(self.seconds, 1e-9)
        times = f", {rate / self._rate:.2f} x real time" if self._rate else ""
        return f"{rate:.1f} frames/s{times}"
