"""Many files in one command: the target of each, the ones to skip, and the outcome of each.

A batch goes on after a failure, and every file is written completely or not at all. A stopped batch is therefore
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
    """The outcome of one file."""

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
    """The outcome of one job.

    Attributes:
        source: The file to read.
        target: The file to write.
        status: `done`, `skipped` (the target exists already), `incomplete` (the source was damaged, the target holds
            the part that could be read), `failed`, or `planned` (nothing was done).
        error: The reason of the failure, or None.
        result: The object that the command prints with `--json` for this file alone, or None.
        num_retries: Number of times a task was repeated because a worker was lost or a file could not be reached.
    """

    source: str
    target: str
    status: Status
    error: str | None = None
    result: dict[str, Any] | None = None
    num_retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """The outcomes of all jobs, in order.

    Attributes:
        files: One result per job.
    """

    files: list[JobResult]

    def count(self, status: Status) -> int:
        """Return the number of files with that status."""
        return sum(file.status == status for file in self.files)

    def summary(self) -> str:
        """Return one line for people."""
        counts = [f"{self.count(status)} {status}" for status in Status if self.count(status)]
        num = len(self.files)
        return f"{num} file{'s' * (num != 1)}: {', '.join(counts) or 'nothing to do'}"


def plan_batch(
    sources: Iterable[StrPath], folder: StrPath, *, suffix: str, source_suffixes: Collection[str] = VIDEO_SUFFIXES
) -> list[Job]:
    """Choose the targets: a file goes into `folder`, a folder's files into the same tree below `folder`.

    Example:
        >>> plan_batch(["a.mp4"], "coded", suffix=".vtok")
        [Job(source=PosixPath('a.mp4'), target=PosixPath('coded/a.vtok'))]

    Args:
        sources: Files, taken whatever their names, and folders, searched for files with `source_suffixes`; hidden
            files are left out.
        folder: The root of all targets.
        suffix: Suffix of the targets, with its dot.
        source_suffixes: Suffixes of the files to take from folders, in lower case.

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
        jobs: The jobs to do.
        work: Does one job and returns a dataclass with the attribute `incomplete`; raises VtokError if it fails.
        skip: Whether an existing target is good, so that its job is skipped.
        dry_run: Do nothing; report what would be done.
        told: Called with each result as soon as it is known.
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
