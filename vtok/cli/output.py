"""What commands print: results on stdout, everything else on stderr, one JSON object where that is asked for."""

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import Any

import typer

from vtok.batch.plan import BatchResult, JobResult, Status

EXIT_FAILED = 1
EXIT_INCOMPLETE = 3
_MOST_FAULTS = 20  # that are printed


def finish(result: Any, *, as_json: bool, quiet: bool) -> None:
    """Print the result of encoding or decoding one file, and exit with 3 if it is incomplete."""
    print_notices(result, quiet=quiet)
    with redirect_stdout(sys.stderr if result.target == "-" else sys.stdout):  # there the data are
        print_result(result, as_json=as_json, quiet=quiet)
    if result.incomplete:
        print(_warning(result), file=sys.stderr)
        raise typer.Exit(EXIT_INCOMPLETE)


def tell_of_job(job: JobResult, result: Any, *, as_json: bool, as_json_lines: bool, quiet: bool) -> None:
    """Print what became of one file of a batch; `result` is what its work returned, if it was done."""
    if job.status is Status.FAILED:
        print(f"vtok: error: {job.error}", file=sys.stderr)
    if result is not None:
        print_notices(result, quiet=quiet)
        if result.incomplete:
            print(_warning(result), file=sys.stderr)
    if as_json_lines:
        print_json(asdict(job))
    elif not (as_json or quiet or job.status is Status.FAILED):
        print(result.summary() if result is not None else f"{job.target}: {job.status}", flush=True)


def finish_batch(batch: BatchResult, *, as_json: bool, as_json_lines: bool, quiet: bool) -> None:
    """Print what became of a batch; exit with 1 if a file failed, else with 3 if one is incomplete."""
    if not as_json_lines:
        print_result(batch, as_json=as_json, quiet=quiet)
    if batch.count(Status.FAILED):
        raise typer.Exit(EXIT_FAILED)
    if batch.count(Status.INCOMPLETE):
        raise typer.Exit(EXIT_INCOMPLETE)


def print_result(result: Any, *, as_json: bool, quiet: bool) -> None:
    """Print a result for programs, for people, or not at all."""
    if as_json:
        print_json(asdict(result))
    elif not quiet:
        print(result.summary())


def print_notices(result: Any, *, quiet: bool) -> None:
    """Print what was converted or left out, and what is wrong with the source."""
    if not quiet:
        for notice in result.notices:
            print(f"vtok: notice: {result.source}: {notice}", file=sys.stderr)
    print_faults(result.source, getattr(result, "faults", []), quiet=quiet)


def print_faults(path: str, faults: list[str], *, quiet: bool) -> None:
    """Print what is wrong with a file, the first faults of it."""
    if quiet:
        return
    for fault in faults[:_MOST_FAULTS]:
        print(f"vtok: fault: {path}: {fault}", file=sys.stderr)
    if len(faults) > _MOST_FAULTS:
        print(f"vtok: fault: {path}: {len(faults) - _MOST_FAULTS} more; see --json", file=sys.stderr)


def print_json(value: dict[str, Any]) -> None:
    """Print one object."""
    print(json.dumps(value, allow_nan=False), flush=True)  # NaN is no JSON: better an error here than in every reader


def _warning(result: Any) -> str:
    return f"vtok: warning: {result.source}: {result.incomplete}. {result.target} holds what could be decoded."
