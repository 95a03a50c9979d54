"""Shows progress on stderr: a bar on a terminal, log lines elsewhere, nothing with `--quiet`; JSON for programs.

A display shows meters, which count the frames of a file, the files of a batch or the jobs of a benchmark.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from vtok.benchmark.progress import Job, TimeLeft, job_name
from vtok.cli.meters import Meter, Place, Style
from vtok.cli.output import print_json, print_line
from vtok.video.frame import Progress as FrameProgress
from vtok.video.frame import VideoInfo

LOG_SECONDS = 10.0
JSON_SECONDS = 1.0


class Display:
    """A display that shows nothing."""

    def show(self, meter: Meter) -> None:
        """Show the count of `meter`; to be called by one thread at a time."""

    def finish(self) -> None:
        """Show the last state; all went well."""

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


class _JsonLines(Display):
    """Prints an object if the last one is at least `JSON_SECONDS` old, at the start of each phase, and at the end."""

    def __init__(self) -> None:
        self._due = 0.0
        self._last: Meter | None = None

    def show(self, meter: Meter) -> None:
        now = time.monotonic()
        if meter is not self._last or now >= self._due:
            self._due = now + JSON_SECONDS
            self._last = meter
            self._print(meter, finished=False)

    def finish(self) -> None:
        if self._last is not None:
            self._print(self._last, finished=True)

    def _print(self, meter: Meter, *, finished: bool) -> None:
        print_json(asdict(meter.line(finished=finished)), sys.stderr)


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
def display(
    style: Style = Style.AUTO, *, quiet: bool, console: Console | None = None, log_seconds: float | None = None
) -> Iterator[Display]:
    """Yield a display for any number of meters.

    Args:
        style: JSON: objects for programs, also if `quiet`.
        quiet: Show nothing.
        console: The terminal; default: stderr.
        log_seconds: Seconds from one log line to the next; default: `LOG_SECONDS`.
    """
    # By default rich also draws a bar into a log file if the environment asks for colours (FORCE_COLOR).
    console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
    if style is Style.JSON:
        lines = _JsonLines()
        yield lines
        lines.finish()
    elif quiet:
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


class FrameMeter:
    """Counts the frames of one pass over a file.

    Args:
        meter: Where the count is kept.
        info: The video's description.
        shown: The display that shows the count.
    """

    def __init__(self, meter: Meter, info: VideoInfo, shown: Display) -> None:
        self._meter, self._rate, self._shown = meter, info.average_rate, shown
        meter.frames = 0
        shown.show(meter)

    def __call__(self, frames: int) -> None:
        """Add frames that are done."""
        meter, total = self._meter, self._meter.total or 0
        meter.done = meter.frames = meter.done + frames
        rate = meter.done / meter.seconds
        meter.speed = f"{rate:.1f} frames/s{f', {rate / self._rate:.2f} x real time' if self._rate else ''}"
        # The number of frames in a header may be wrong.
        meter.seconds_left = (total - meter.done) / rate if 0 < meter.done <= total else None
        self._shown.show(meter)

    def written(self, num_bytes: int) -> None:
        """Note how many bytes the output has; see `vtok.video.frame.CountsBytes`."""
        self._meter.num_bytes = num_bytes


@contextmanager
def frame_progress(
    command: str, place: Place, style: Style = Style.AUTO, *, quiet: bool, console: Console | None = None
) -> Iterator[FrameProgress]:
    """Show the progress through the frames of one file; `display` explains `style`, `quiet` and `console`.

    Yields:
        A function that takes the video's description, once known, and returns the function to call as frames are done.
    """
    with display(style, quiet=quiet, console=console) as shown:

        def begin(info: VideoInfo, activity: str = "") -> FrameMeter:
            meter = Meter(command, "frames", info.num_frames_from_header, place, activity or None)
            return FrameMeter(meter, info, shown)

        yield begin


class FileMeter:
    """A count of the files of a batch, and of their frames.

    Args:
        command: Name of the command.
        num_files: Number of files in the batch.
        shown: The display that shows the count.
    """

    def __init__(self, command: str, num_files: int, shown: Display) -> None:
        self._meter, self._display = Meter(command, "files", num_files), shown
        self._frames = self._num_bytes = self._meter.frames = 0
        shown.show(self._meter)

    def advance(self, frames: int, *, files: int = 0, num_bytes: int = 0) -> None:
        """Add frames that are done, and files that are done or have failed, with their bytes."""
        meter = self._meter
        self._frames += frames
        self._num_bytes += num_bytes
        meter.done += files
        meter.frames, meter.num_bytes = self._frames, self._num_bytes
        meter.speed = f"{self._frames} frames, {self._frames / meter.seconds:.1f} frames/s"
        self._display.show(meter)


@contextmanager
def job_progress(jobs: list[Job], style: Style = Style.AUTO, *, quiet: bool) -> Iterator[Callable[[Job], None]]:
    """Show the progress through the jobs of a benchmark; yield the function to call with each finished job."""
    with display(style, quiet=quiet, log_seconds=0) as shown:
        left, meter = TimeLeft(jobs), Meter("bench", "jobs", len(jobs))
        shown.show(meter)

        def done(job: Job) -> None:
            left.done(job)
            meter.done = left.num_done
            meter.speed, meter.seconds_left = f"{job_name(job)} done", left.seconds
            shown.show(meter)

        yield done
