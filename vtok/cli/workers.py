"""`vtok encode` on several workers: starts an engine, prints the outcome of each file, and ends the engine."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtok.batch.plan import BatchResult, Job, JobResult
from vtok.cli.output import Reporter

if TYPE_CHECKING:
    from vtok.files.options import EncodeOptions


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of `vtok encode` about workers.

    Attributes:
        engine: The name of an engine, one of `vtok.batch.engines.ENGINES`.
        workers: Number of workers; None: the default of the engine.
        threads: Processor threads of each worker; None: the default of the engine.
        split_seconds: Length in seconds of the ranges of long videos; 0: no video is split.
        retries: Number of further tries for a task whose worker was lost.
        total_size: Bytes that all files may have together, which takes a worker too; None: no limit.
    """

    engine: str
    workers: int | None
    threads: int | None
    split_seconds: float
    retries: int
    total_size: float | None = None

    @property
    def are_wanted(self) -> bool:
        """Whether more than this process is to work."""
        return self.workers is not None or self.engine != "local" or self.total_size is not None

    def encode(
        self,
        jobs: list[Job],
        options: "EncodeOptions",
        report: Reporter,
        *,
        overwrite: bool,
        skip: Callable[[Path], bool],
    ) -> BatchResult:
        """Encode all `jobs` and report each one when it is done."""
        from vtok.batch.engines import start_engine
        from vtok.batch.workers import BatchSettings, encode_batch
        from vtok.cli.progress import FileMeter, display

        batch = BatchSettings(
            split_seconds=self.split_seconds,
            num_retries=self.retries,
            overwrite=overwrite,
            total_size=self.total_size,
        )
        num_workers = 1 if self.workers is None and self.engine == "local" else self.workers
        with (
            closing(start_engine(self.engine, num_workers=num_workers, num_threads=self.threads)) as engine,
            display(report.progress, quiet=report.quiet) as shown,
        ):
            meter = FileMeter("encode", len(jobs), shown)

            def told(job: JobResult, result: Any) -> None:
                with shown.paused():
                    report.finish_job(job, result)
                meter.advance(0, files=1, num_bytes=result.num_bytes if result else 0)

            return encode_batch(jobs, engine, options, batch, skip=skip, told=told, advance=meter.advance)
