"""How far a benchmark is, told on stderr: a bar with the time left on a terminal, one line per job elsewhere."""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Job = dict[str, Any]


@contextmanager
def silent(jobs: list[Job]) -> Iterator[Callable[[Job], None]]:
    """No progress at all."""
    yield lambda job: None


@contextmanager
def job_progress(jobs: list[Job]) -> Iterator[Callable[[Job], None]]:
    """A display of these jobs; yields the function to call with each as it is done."""
    console = Console(stderr=True, force_terminal=sys.stderr.isatty())  # whatever FORCE_COLOR says
    left = TimeLeft(jobs)
    if not console.is_interactive:

        def log(job: Job) -> None:
            left.done(job)
            print(f"bench: {left.num_done}/{len(jobs)} {_name(job)} done, {left}", file=sys.stderr, flush=True)

        yield log
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(_name(jobs[0]) if jobs else "", total=len(jobs), left="")

        def advance(job: Job) -> None:
            left.done(job)
            following = jobs[left.num_done] if left.num_done < len(jobs) else job
            progress.update(task, advance=1, description=_name(following), left=str(left))

        yield advance


class TimeLeft:
    """Estimates the time that remaining jobs take: of each kind the mean of those done, else the mean of all.

    Kinds differ by a factor of ten and more, so jobs cannot be counted alike.
    """

    def __init__(self, jobs: list[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._clock = jobs, clock
        self._seconds: dict[tuple[str, bool], list[float]] = defaultdict(list)
        self._begun = clock()
        self.num_done = 0

    def done(self, job: Job) -> None:
        """One more of the jobs is done, the next in their order."""
        now = self._clock()
        self._seconds[_kind(job)].append(now - self._begun)
        self._begun = now
        self.num_done += 1

    @property
    def seconds(self) -> float:
        """What is left; 0 at the end."""
        means = {kind: fmean(seconds) for kind, seconds in self._seconds.items()}
        mean = fmean(value for seconds in self._seconds.values() for value in seconds) if means else 0.0
        return sum(means.get(_kind(job), mean) for job in self._jobs[self.num_done :])

    def __str__(self) -> str:
        return f"{timedelta(seconds=round(self.seconds))} left"


def _kind(job: Job) -> tuple[str, bool]:
    return job["codec"], job["pictures"] is not None


def _name(job: Job) -> str:
    return f"{job['clip']} {job['codec']} {job['setting']}{' pictures' if job['pictures'] else ''}"
