"""Progress of a benchmark: the jobs that are done, and an estimate of the time left."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import Any

Job = dict[str, Any]


@contextmanager
def silent(jobs: list[Job]) -> Iterator[Callable[[Job], None]]:
    """Show no progress."""
    yield lambda job: None


class TimeLeft:
    """Estimates the time left: each remaining job takes the mean of its kind so far, else the mean of all jobs.

    Kinds differ by a factor of ten and more, so jobs cannot be counted alike.
    """

    def __init__(self, jobs: list[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._clock = jobs, clock
        self._seconds: dict[tuple[str, bool], list[float]] = defaultdict(list)
        self._begun = clock()
        self.num_done = 0

    def done(self, job: Job) -> None:
        """Note that the next of the jobs, in their order, is done."""
        now = self._clock()
        self._seconds[_kind(job)].append(now - self._begun)
        self._begun = now
        self.num_done += 1

    @property
    def seconds(self) -> float:
        """The estimated time left; 0 at the end."""
        means = {kind: fmean(seconds) for kind, seconds in self._seconds.items()}
        mean = fmean(value for seconds in self._seconds.values() for value in seconds) if means else 0.0
        return sum(means.get(_kind(job), mean) for job in self._jobs[self.num_done :])


def _kind(job: Job) -> tuple[str, bool]:
    return job["codec"], job["pictures"] is not None


def job_name(job: Job) -> str:
    """A short name of a job."""
    return f"{job['clip']} {job['codec']} {job['setting']}{' pictures' if job['pictures'] else ''}"
