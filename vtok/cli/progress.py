"""Shows progress on stderr: a bar on a terminal, log lines elsewhere, nothing with `--quiet`.

A meter counts the frames of a file, the files of a batch or the jobs of a benchmark; a display shows meters.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from vtok.benchmark.progress import Job, TimeLeft, job_name
from vtok.cli.output import print_line
from vtok.video.frame import Progress as FrameProgress
from vtok.video.frame import VideoInfo

LOG_SECONDS = 10.0
Advance = Callable[[int], None]  # called with the number of frames done since the last call


class Meter:
    """A count of finished items.

    Args:
        description: The activity, in a few words.
        unit: Name of the items, plural.
        total: Number of all items, or None if unknown.
    """

    def __init__(self, description: str, unit: str, total: int | None) -> None:
        self.description, self.unit, self.total = description, unit, total
        self.done = 0
        self.speed = ""
        self.left = ""  # the remaining time, if it can be estimated
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start; never 0."""
        return max(time.monotonic() - self._begun, 1e-9)


class Display:
    """A display that shows nothing."""

    def show(self, meter: Meter) -> None:
        """Show the count of `meter`; to be called by one thread at a time."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to other output."""
        yield


class _Log(Display):
    """Prints a line if the last one is at least `seconds` old."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = time.monotonic() + seconds

    def show(self, meter: Meter) -> None:
        now = time.monotonic()
        if meter.speed and now >= self._due:
            self._due = now + self._seconds
            total = f"/{meter.total}" if meter.total else ""
            parts = (f"{meter.description}: {meter.done}{total} {meter.unit}", meter.speed, meter.left)
            print_line(", ".join(part for part in parts if part), sys.stderr)


class _Bar(Display):
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[Meter, TaskID] = {}

    def show(self, meter: Meter) -> None:
        if meter not in self._tasks:
            self._tasks[meter] = self._bar.add_task("", total=meter.total, unit=meter.unit, speed="", left="")
        self._bar.update(
            self._tasks[meter],
            completed=meter.done,
            description=meter.description,
            speed=meter.speed,
            left=meter.left,
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._bar.stop()
        yield
        self._bar.start()


@contextmanager
def display(*, quiet: bool, console: Console | None = None, log_seconds: float | None = None) -> Iterator[Display]:
    """Yield a display for any number of meters.

    Args:
        quiet: Show nothing.
        console: The terminal; default: stderr.
        log_seconds: Seconds from one log line to the next; default: `LOG_SECONDS`.
    """
    # By default rich also draws a bar into a log file if the environment asks for colours (FORCE_COLOR).
    console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
    if quiet:
        yield Display()
    elif not console.is_interactive:
        yield _Log(LOG_SECONDS if log_seconds is None else log_seconds)
    else:
        columns = (
            TextColumn("{task.description}", markup=False),  # it may contain a file name
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[speed]}"),
            TextColumn("{task.fields[left]}"),
        )
        # Results go to stdout meanwhile. It may be a pipe, so rich must not draw them on the terminal.
        with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
            yield _Bar(bar)


@contextmanager
def frame_progress(verb: str, *, quiet: bool, console: Console | None = None) -> Iterator[FrameProgress]:
    """Show the progress through the frames of one file; `display` explains `quiet` and `console`.

    Yields:
        A function that takes the video's description, once known, and returns the function to call as frames are done.
    """
    with display(quiet=quiet, console=console) as shown:

        def begin(info: VideoInfo, activity: str = "") -> Advance:
            name = f"{verb} ({activity})" if activity else verb
            meter, total = Meter(name, "frames", info.num_frames_from_header), info.num_frames_from_header or 0
            shown.show(meter)

            def advance(frames: int) -> None:
                meter.done += frames
                rate = meter.done / meter.seconds
                times = f", {rate / info.average_rate:.2f} x real time" if info.average_rate else ""
                meter.speed = f"{rate:.1f} frames/s{times}"
                # The number of frames in a header may be wrong.
                meter.left = _time_left((total - meter.done) / rate) if 0 < meter.done <= total else ""
                shown.show(meter)

            return advance

        yield begin


class FileMeter:
    """A count of the files of a batch, and of their frames.

    Args:
        verb: The activity, in one word.
        num_files: Number of files in the batch.
        shown: The display that shows the count.
    """

    def __init__(self, verb: str, num_files: int, shown: Display) -> None:
        self._meter, self._frames, self._display = Meter(verb, "files", num_files), 0, shown
        shown.show(self._meter)

    def advance(self, frames: int, *, files: int = 0) -> None:
        """Add frames that are done, and files that are done or have failed."""
        self._frames += frames
        self._meter.done += files
        self._meter.speed = f"{self._frames} frames, {self._frames / self._meter.seconds:.1f} frames/s"
        self._display.show(self._meter)


@contextmanager
def job_progress(jobs: list[Job], *, quiet: bool) -> Iterator[Callable[[Job], None]]:
    """Show the progress through the jobs of a benchmark; yield the function to call with each finished job."""
    with display(quiet=quiet, log_seconds=0) as shown:
        left, meter = TimeLeft(jobs), Meter("bench", "jobs", len(jobs))
        shown.show(meter)

        def done(job: Job) -> None:
            left.done(job)
            meter.done = left.num_done
            meter.speed, meter.left = f"{job_name(job)} done", _time_left(left.seconds)
            shown.show(meter)

        yield done


def _time_left(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} left"
