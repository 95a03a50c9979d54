"""`vtok encode` on several workers: starts an engine, prints what becomes of each file, and ends the engine."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtok.batch.plan import BatchResult, Job, JobResult
from vtok.cli.output import tell_of_job

if TYPE_CHECKING:
    from vtok.files.options import EncodeOptions


def encode_on_workers(
    jobs: list[Job],
    options: "EncodeOptions",
    *,
    engine: str,
    workers: int | None,
    threads: int | None,
    split_seconds: float,
    retries: int,
    overwrite: bool,
    skip: Callable[[Path], bool] | None,
    as_json: bool,
    as_json_lines: bool,
    quiet: bool,
) -> BatchResult:
    """Encode all `jobs`; see the options of `vtok encode`."""
    from vtok.batch.engines import start_engine
    from vtok.batch.workers import BatchSettings, encode_batch
    from vtok.cli.batch_progress import batch_progress

    with (
        closing(start_engine(engine, num_workers=workers, num_threads=threads)) as started,
        batch_progress("encode", len(jobs), quiet=quiet) as progress,
    ):

        def told(job: JobResult, result: Any) -> None:
            with progress.paused():
                tell_of_job(job, result, as_json=as_json, as_json_lines=as_json_lines, quiet=quiet)
            progress.advance_file()

        return encode_batch(
            jobs,
            started,
            options,
            BatchSettings(split_seconds=split_seconds, num_retries=retries, overwrite=overwrite),
            skip=skip or (lambda target: False),
            told=told,
            advance=progress.advance,
        )
