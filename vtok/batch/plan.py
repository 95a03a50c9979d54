"""Many files in one command: where each one goes, which are left out, and what became of them.

A batch goes on after a failure, and every file is written completely or not at all, so a batch that was stopped is
resumed by running it again with `skip_existing`.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from vtok.errors import ConfigError, MediaError, VtokError, one_line
from vtok.system.paths import VIDEO_SUFFIXES, StrPath


class Status(StrEnum):
    """What became of a file."""

    DONE = "done"
    SKIPPED = "skipped"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Job:
    """One file to read and one to write."""

    source: Path
    target: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What became of one job.

    Attributes:
        source: The file that was to be read.
        target: The file that was to be written.
        status: `done`, `skipped` (the target is there already), `incomplete` (the source was damaged, the target holds
            what could be read), `failed`, or `planned` (nothing was done).
        error: Why it failed, or None.
        result: What the command would print with `--json` for this file alone, or None.
        num_retries: How often something was done again because a worker was lost or a file could not be reached.
    """

    source: str
    target: str
    status: Status
    error: str | None = None
    result: dict[str, Any] | None = None
    num_retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of all jobs, in order.

    Attributes:
        files: One result per job.
    """

    files: list[JobResult]

    def count(self, status: Status) -> int:
        """How many files have that status."""
        return sum(file.status == status for file in self.files)

    def summary(self) -> str:
        """One line for people."""
        counts = [f"{self.count(status)} {status}" for status in Status if self.count(status)]
        num = len(self.files)
        return f"{num} file{'s' * (num != 1)}: {', '.join(counts) or 'nothing to do'}"


def plan_batch(
    sources: Iterable[StrPath], folder: StrPath, *, suffix: str, source_suffixes: Collection[str] = VIDEO_SUFFIXES
) -> list[Job]:
    """Where everything goes: a file into `folder`, a folder's files into the same tree below `folder`.

    Example:
        >>> plan_batch(["a.mp4"], "coded", suffix=".vtok")
        [Job(source=PosixPath('a.mp4'), target=PosixPath('coded/a.vtok'))]

    Args:
        sources: Files, taken as they are, and folders, searched for files with `source_suffixes`; hidden ones are left
            out.
        folder: The root of all targets.
        suffix: Of the targets, with its dot.
        source_suffixes: What to take from folders, lower case.

    Raises:
        MediaError: A folder has no such file.
        ConfigError: Two sources would go to one target, or a target is a source.
    """
    jobs: list[Job] = []
    for source in map(Path, sources):
        if not source.is_dir():
            jobs.append(Job(source, Path(folder) / Path(source.name).with_suffix(suffix)))
            continue
        found = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file()]
        found = [
            path
            for path in found
            if path.suffix.lower() in source_suffixes and not any(part.startswith(".") for part in path.parts)
        ]
        if not found:
            raise MediaError(f"{source}: no files ending in {', '.join(sorted(source_suffixes))} in this folder")
        jobs += [Job(source / path, Path(folder) / path.with_suffix(suffix)) for path in found]
    _check_distinct(jobs)
    return jobs


def run_batch(
    jobs: Iterable[Job],
    work: Callable[[Job], Any],
    *,
    skip: Callable[[Path], bool] = lambda target: False,
    dry_run: bool = False,
    told: Callable[[JobResult], None] = lambda result: None,
) -> BatchResult:
    """Do one job after the other; those that fail do not stop the rest.

    Args:
        jobs: What to do.
        work: Does one job and returns a dataclass with the attribute `incomplete`; raises VtokError if it fails.
        skip: Whether a target is there already and good.
        dry_run: Do nothing, but say what would be done.
        told: Called with each result as it is known.
    """
    results = []
    for job in jobs:
        results.append(_run_job(job, work, skip=skip, dry_run=dry_run))
        told(results[-1])
    return BatchResult(files=results)


def _run_job(job: Job, work: Callable[[Job], Any], *, skip: Callable[[Path], bool], dry_run: bool) -> JobResult:
    def result(status: Status, **more: Any) -> JobResult:
        return JobResult(source=str(job.source), target=str(job.target), status=status, **more)

    try:
        if job.target.exists() and skip(job.target):
            return result(Status.SKIPPED)
        if dry_run:
            return result(Status.PLANNED)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        done = work(job)
    except (VtokError, OSError) as error:
        return result(Status.FAILED, error=one_line(error))
    return result(Status.INCOMPLETE if done.incomplete else Status.DONE, result=asdict(done))


def _check_distinct(jobs: list[Job]) -> None:
    sources = {job.source.resolve() for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in taken:
            raise ConfigError(f"{taken[target]} and {job.source} would both become {job.target}. Rename one of them")
        if target in sources:
            raise ConfigError(f"{job.target}: is an input too. Choose another output folder")
        taken[target] = job.source
