"""How far a batch on several workers is, on stderr: a bar on a terminal, a log line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from vtok.cli.progress import LOG_SECONDS


class BatchProgress:
    """A count of files and frames."""

    def __init__(self, verb: str, num_files: int) -> None:
        self._verb, self._num_files = verb, num_files
        self._files = self._frames = 0
        self._begun = time.monotonic()

    def advance(self, frames: int) -> None:
        """So many more frames are done."""
        self._frames += frames
        self._show()

    def advance_file(self) -> None:
        """One more file is done, or will not be."""
        self._files += 1
        self._show()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While something else is printed."""
        yield

    def _show(self) -> None:
        """Tell it."""

    def _speed(self) -> str:
        return f"{self._frames} frames, {self._frames / max(time.monotonic() - self._begun, 1e-9):.1f} frames/s"


class _LogLines(BatchProgress):
    def __init__(self, verb: str, num_files: int) -> None:
        super().__init__(verb, num_files)
        self._due = self._begun + LOG_SECONDS

    def _show(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + LOG_SECONDS
            print(f"{self._verb}: {self._files}/{self._num_files} files, {self._speed()}", file=sys.stderr, flush=True)


class _Bar(BatchProgress):
    def __init__(self, verb: str, num_files: int, bar: Progress) -> None:
        super().__init__(verb, num_files)
        self._bar = bar
        self._task = bar.add_task(verb, total=num_files, speed="")

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._bar.stop()
        yield
        self._bar.start()

    def _show(self) -> None:
        self._bar.update(self._task, completed=self._files, speed=self._speed())


@contextmanager
def batch_progress(
    verb: str, num_files: int, *, quiet: bool, console: Console | None = None
) -> Iterator[BatchProgress]:
    """A progress display for a batch; arguments as for `vtok.cli.progress.frame_progress`.

    Yields:
        What to tell when files and frames are done, from one thread at a time.
    """
    console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
    if quiet:
        yield BatchProgress(verb, num_files)
    elif not console.is_interactive:
        yield _LogLines(verb, num_files)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files  {task.fields[speed]}"),
        )
        # Results are printed to stdout meanwhile, which may be a pipe: not for rich to draw on the terminal.
        with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            yield _Bar(verb, num_files, bar)
