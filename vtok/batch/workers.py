"""Runs a batch on the workers of an engine: a task per file; of a long one per range, or for a goal per group.

    jobs --> one thread each, for as many as there are workers --> tasks --> engine
                 | skips existing targets, scans and joins long files, tries lost tasks again
                 v
             JobResult, as each is done

A batch keeps no record of its progress: the files it has written are complete, and are skipped when the same batch runs
again.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vtok.batch.engines import Engine
from vtok.batch.plan import BatchResult, Job, JobResult, Status
from vtok.batch.ranges import SourceRange, UnrepeatableError
from vtok.batch.split import encode_split, is_long
from vtok.batch.tasks import Outcome, code_group, encode_part, encode_whole
from vtok.batch.tasks import price as price_task
from vtok.batch.total_size import divided
from vtok.batch.worker import WorkerLostError
from vtok.container.groups import VideoGroup
from vtok.errors import VtokError, one_line
from vtok.files.encode import encode_with
from vtok.files.encoded_file import EncodeResult
from vtok.files.goals import Goal
from vtok.files.options import EncodeOptions
from vtok.files.source import source_reader
from vtok.files.survey import Survey
from vtok.files.trials import Costs, Trial
from vtok.model.loading import shared_model
from vtok.system.atomic import check_target

Share = tuple[Goal, Survey]
Told = Callable[[JobResult, EncodeResult | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """The settings of a batch.

    Attributes:
        split_seconds: Approximate length of the ranges that videos longer than 1.5 times this are split into; 0: no
            video is split.
        num_retries: Number of further tries for a task whose worker was lost or could not read or write a file.
        overwrite: Replace existing targets.
        total_size: Bytes that all files may have together, those that are skipped included, in place of a quality or a
            goal; see `vtok.batch.total_size`.
    """

    split_seconds: float = 60.0
    num_retries: int = 2
    overwrite: bool = False
    total_size: float | None = None


def encode_batch(
    jobs: Sequence[Job],
    engine: Engine,
    options: EncodeOptions,
    batch: BatchSettings | None = None,
    *,
    skip: Callable[[Path], bool] = lambda target: False,
    told: Told = lambda job, result: None,
    advance: Callable[[int], None] = lambda frames: None,
) -> BatchResult:
    """Encode many videos on the workers of `engine`; those that fail do not stop the rest.

    Args:
        jobs: The files to encode.
        engine: The engine that runs the tasks; the caller closes it.
        options: The options of encoding.
        batch: The settings of the batch.
        skip: Whether an existing target is good, so that its job is skipped.
        told: Called with each result as soon as it is known, and with the EncodeResult of an encoded file, else None;
            by one thread at a time.
        advance: Called with the number of frames written since the last call; by one thread at a time.

    Returns:
        One result per job, in the order of `jobs`.

    Raises:
        ConfigError: The files cannot come to the total size; then none was written.
    """
    run = _Batch(engine, options, batch or BatchSettings(), skip, told, advance)
    return BatchResult(files=run.results(jobs))


class _Batch:
    def __init__(
        self,
        engine: Engine,
        options: EncodeOptions,
        batch: BatchSettings,
        skip: Callable[[Path], bool],
        told: Told,
        advance: Callable[[int], None],
    ) -> None:
        self._engine, self._options, self._batch = engine, options, batch
        self._skip, self._told, self._advance = skip, told, advance
        self._shares: dict[Job, Share] = {}
        self._is_stopped = threading.Event()
        self._telling = threading.Lock()
        self._scans = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._tasks = ThreadPoolExecutor(engine.num_workers, "vtok-task")
        self._jobs = ThreadPoolExecutor(engine.num_workers + 1, "vtok-job")  # one more, which inspects the next file

    def results(self, jobs: Sequence[Job]) -> list[JobResult]:
        try:
            if self._batch.total_size is not None:
                self._divide(jobs, self._batch.total_size)
            futures = [self._jobs.submit(self._run_job, job) for job in jobs]
            for future in as_completed(futures):
                future.result()  # an error in the program ends the batch
            return [future.result() for future in futures]
        except BaseException:
            self._is_stopped.set()
            self._engine.close()
            raise
        finally:
            self._jobs.shutdown(cancel_futures=True)
            self._tasks.shutdown(cancel_futures=True)

    def _divide(self, jobs: Sequence[Job], total: float) -> None:
        """Find the size of each file that is to be written. A file that cannot be read will fail when it is encoded."""
        wanted = [job for job in jobs if not (job.target.exists() and self._skip(job.target))]
        left = total - sum(job.target.stat().st_size for job in jobs if job not in wanted)

        def price(surveys: Mapping[Job, Survey] | None, quality: float, every: bool = False) -> dict[Job, Survey]:
            asked = wanted if surveys is None else list(surveys)
            tasks = {
                job: self._tasks.submit(
                    self._attempt, [], price_task, job.source, self._options, (surveys or {}).get(job), quality, every
                )
                for job in asked
            }
            found = {}
            for job, task in tasks.items():
                with suppress(VtokError, OSError):
                    found[job] = task.result()
            return found

        highest = float(shared_model(self._options.model).networks.config.num_qualities)
        self._shares = divided(left, price, highest)

    def _run_job(self, job: Job) -> JobResult:
        retried: list[str] = []  # the reason of each retry
        result: EncodeResult | None = None
        error = None
        try:
            if job.target.exists() and self._skip(job.target):
                status = Status.SKIPPED
            else:
                check_target(job.target, [job.source], overwrite=self._batch.overwrite)
                job.target.parent.mkdir(parents=True, exist_ok=True)
                result = self._encode(job, retried)
                status = Status.INCOMPLETE if result.incomplete else Status.DONE
        except (VtokError, OSError) as caught:
            status, error = Status.FAILED, one_line(caught)
        done = JobResult(
            source=str(job.source),
            target=str(job.target),
            status=status,
            error=error,
            result=None if result is None else asdict(result),
            num_retries=len(retried),
        )
        with self._telling:
            if not self._is_stopped.is_set():
                self._told(done, result)
        return done

    def _encode(self, job: Job, retried: list[str]) -> EncodeResult:
        goal, survey = self._shares.get(job, (self._options.goal, None))
        options = replace(self._options, goal=goal)
        is_part = options.start_seconds or options.end_seconds is not None
        if (is_part and goal is None) or not self._is_long(job.source):
            return self._encode_whole(job, options, survey, retried)
        if goal is not None:
            with self._scans:
                return self._encode_groups(job, options, survey, retried)
        try:
            with self._scans:
                return self._encode_split(job, retried)
        except UnrepeatableError as error:
            result = self._encode_whole(job, options, survey, retried)
            return replace(result, notices=[*result.notices, f"encoded in one piece: {error}"])

    def _encode_whole(
        self, job: Job, options: EncodeOptions, survey: Survey | None, retried: list[str]
    ) -> EncodeResult:
        task = self._tasks.submit(self._attempt, retried, encode_whole, job.source, job.target, options, survey)
        result: EncodeResult = task.result()
        self._advanced(result.num_frames)
        return result

    def _encode_groups(
        self, job: Job, options: EncodeOptions, survey: Survey | None, retried: list[str]
    ) -> EncodeResult:
        """Encode for a goal: read the source here, and have its groups coded by the workers."""
        # Groups of frames take memory: one for each worker, and one that is sent next.
        room = threading.BoundedSemaphore(self._engine.num_workers + 1)

        def submit(trial: Trial) -> Future[tuple[VideoGroup, Costs]]:
            room.acquire()
            task = self._tasks.submit(self._attempt, retried, code_group, job.source, trial, options)
            task.add_done_callback(lambda task: room.release())
            return task

        result = encode_with(options, job.source, job.target, overwrite=True, survey=survey, submit=submit)
        self._advanced(result.num_frames)
        return result

    def _encode_split(self, job: Job, retried: list[str]) -> EncodeResult:
        options = self._options

        def submit(part: SourceRange) -> Future[list[VideoGroup]]:
            return self._tasks.submit(self._attempt, retried, encode_part, job.source, part, options)

        return encode_split(
            job.source,
            job.target,
            submit,
            options,
            model=shared_model(options.model),
            split_seconds=self._batch.split_seconds,
            max_in_flight=self._engine.num_workers + 1,
            advance=self._advanced,
        )

    def _is_long(self, source: Path) -> bool:
        """Whether a source is worth more than one worker. Images never are."""
        if not source.is_file():
            return False
        with suppress(VtokError), source_reader(source, self._options) as reader:
            return is_long(reader.info, self._batch.split_seconds)
        return False  # the task will report the error

    def _attempt(self, retried: list[str], function: Callable[..., Outcome], source: Path, *rest: Any) -> Any:
        """Return the result of a task; try it again where that may help, which is not if its input is at fault."""
        for left in reversed(range(1 + self._batch.num_retries)):
            try:
                outcome: Outcome = self._engine.run(function, source, *rest)
                error = outcome.error
            except WorkerLostError:
                times = 1 + self._batch.num_retries
                outcome, error = Outcome(), OSError(f"{source}: the process at work on it was lost, {times} times")
            if error is None:
                return outcome.result
            if not left or isinstance(error, VtokError) or self._is_stopped.is_set():
                raise error
            retried.append(str(error))
        raise AssertionError("unreachable")

    def _advanced(self, frames: int) -> None:
        with self._telling:
            self._advance(frames)
