"""How far a command is, told on stderr: a bar on a terminal, a log line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vtok.video.frame import VideoInfo

LOG_SECONDS = 10.0
Advance = Callable[[int], None]  # called with the number of frames that were done since the last call


@contextmanager
def frame_progress(
    verb: str, *, quiet: bool, console: Console | None = None
) -> Iterator[Callable[[VideoInfo], Advance]]:
    """A progress display for frames.

    Args:
        verb: What is being done, in one word.
        quiet: Show nothing.
        console: Where to show it; default: stderr.

    Yields:
        A function that takes the video's description, once known, and returns the function to call as frames are done.
    """
    # Left to itself, rich would also draw a bar into a log file where the environment asks for colours (FORCE_COLOR).
    console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
    if quiet:
        yield lambda info: lambda frames: None
    elif not console.is_interactive:
        yield lambda info: _log_lines(verb, info, console)
    else:
        columns = (
            TextColumn("{task.description}", markup=False),  # there may be a file's name in it
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames  {task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield lambda info: _bar(progress, verb, info)


def _bar(progress: Progress, verb: str, info: VideoInfo) -> Advance:
    speed = _Speed(info)
    task = progress.add_task(verb, total=info.num_frames_from_header, speed="")

    def advance(frames: int) -> None:
        speed.frames += frames
        progress.update(task, advance=frames, speed=str(speed))

    return advance


def _log_lines(verb: str, info: VideoInfo, console: Console) -> Advance:
    speed = _Speed(info)
    total = f"/{info.num_frames_from_header}" if info.num_frames_from_header else ""
    due = LOG_SECONDS

    def advance(frames: int) -> None:
        nonlocal due
        speed.frames += frames
        if speed.seconds >= due:
            due = speed.seconds + LOG_SECONDS
            line = f"{verb}: {speed.frames}{total} frames, {speed}{speed.remaining(info.num_frames_from_header)}"
            print(line, file=console.file, flush=True)  # not by rich, which would break the line

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

    @property
    def frames_per_second(self) -> float:
        return self.frames / max(self.seconds, 1e-9)

    def remaining(self, total: int | None) -> str:
        """The time left, if the number of frames is known (and true: what a header says may not be)."""
        if not total or not 0 < self.frames <= total:
            return ""
        return f", {timedelta(seconds=round((total - self.frames) / self.frames_per_second))} left"

    def __str__(self) -> str:
        times = f", {self.frames_per_second / self._rate:.2f} x real time" if self._rate else ""
        return f"{self.frames_per_second:.1f} frames/s{times}"
