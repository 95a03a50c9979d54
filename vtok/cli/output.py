"""The output of commands: results on stdout, everything else on stderr, one JSON object if requested."""

import errno
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from vtok.batch.plan import BatchResult, JobResult, Status
from vtok.cli.meters import Style
from vtok.errors import MediaError, writing

if TYPE_CHECKING:
    from rich.console import Console

EXIT_FAILED = 1
EXIT_INCOMPLETE = 3
_MOST_FAULTS = 20  # more are not printed
_STANDARD_OUTPUT = "standard output"
_OPTIONS = {
    "allow_hdr=True": "--allow-hdr",
    "at_seconds=...": "--at",
    "crop=...": "--crop",
    "duration=...": "--duration",
    "end=...": "--end",
    "end_seconds=...": "--end",
    "fps=...": "--fps",
    "output_format=...": "--format",
    "overwrite=True": "--force",
    "recover=True": "--recover",
    "scale=...": "--scale",
    "split=True": "--split",
    "start_seconds=...": "--start",
    "tokenizer=...": "--model",
    "with_audio=False": "--no-audio",
    "with_subtitles=False": "--no-subtitles",
}
_ARGUMENT = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, _OPTIONS))})(?!\w)")


def in_options(text: str) -> str:
    """Replace the arguments of functions in a message of the library by the options of the commands."""
    return _ARGUMENT.sub(lambda found: _OPTIONS[found[0]], text)


def prepare_streams() -> None:
    """Make the standard streams accept any text, even if the shell has closed some of them (`2>&-`)."""
    # Otherwise a file opened later would get the number of a closed stream, and FFmpeg's messages.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", errors="backslashreplace")  # noqa: SIM115 # until the program ends
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may contain any bytes


def print_line(text: str, stream: TextIO | None) -> None:
    """Print `text` at once. If the stream is closed or no longer read, only the text is lost.

    Raises:
        MediaError: Results cannot be written, for example because the disk is full.
    """
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())  # so that neither the next line nor Python's exit fails
            os.close(null)
        if error.errno != errno.EPIPE and stream is sys.stdout:
            raise MediaError(f"{_STANDARD_OUTPUT}: cannot be written: {error.strerror}") from error


class Reporter:
    """Reports the outcome of a command, for people or for programs, and exits with the matching code.

    Args:
        as_json: Print results as JSON objects.
        as_json_lines: Print one JSON object per file of a batch, as soon as the file is done.
        quiet: Print neither summaries nor notices; errors and warnings are still printed.
        progress: How the command shows its progress, for those that do.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        as_json_lines: bool = False,
        quiet: bool = False,
        progress: Style = Style.AUTO,
    ) -> None:
        self.as_json, self.as_json_lines, self.quiet, self.progress = as_json, as_json_lines, quiet, progress

    def error(self, message: str) -> None:
        """Print the reason of a failure."""
        self._say("error", message)

    def warning(self, message: str) -> None:
        """Print the reason why something is incomplete."""
        self._say("warning", message)

    def faults(self, path: str, faults: list[str]) -> None:
        """Print the first faults of a file."""
        if self.quiet:
            return
        for fault in faults[:_MOST_FAULTS]:
            self._say("fault", f"{path}: {fault}")
        if len(faults) > _MOST_FAULTS:
            self._say("fault", f"{path}: {len(faults) - _MOST_FAULTS} more; see --json")

    def notices(self, path: str, notices: list[str]) -> None:
        """Print conversions and omissions of a file."""
        if not self.quiet:
            for notice in notices:
                self._say("notice", f"{path}: {notice}")

    def line(self, text: str) -> None:
        """Print a text for people."""
        if not (self.as_json or self.quiet):
            print_line(in_options(text), sys.stdout)

    @contextmanager
    def console(self, *, width: int | None = None) -> Iterator["Console"]:
        """Yield a console for tables, then print them to stdout; `width` is its width without a terminal."""
        from rich.console import Console

        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        console = Console(width=None if is_terminal else width)
        with writing(_STANDARD_OUTPUT), console.capture() as tables:  # rich flushes stdout
            yield console
        self.line(tables.get().rstrip("\n"))

    def result(self, result: Any, *, stream: TextIO | None = None) -> None:
        """Print a result as JSON or as its summary, or nothing with `quiet`."""
        stream = stream or sys.stdout
        if self.as_json:
            print_json(asdict(result), stream)
        elif not self.quiet:
            print_line(in_options(result.summary()), stream)

    def finish(self, result: Any) -> None:
        """Print the result of encoding or decoding one file, and exit with 3 if it is incomplete."""
        self._notices_of(result)
        self.result(result, stream=sys.stderr if result.target == "-" else None)  # stdout holds the data
        if result.incomplete:
            raise typer.Exit(EXIT_INCOMPLETE)

    def finish_estimate(self, estimate: Any) -> None:
        """Print what a file would come to, which also `--quiet` asked for; exit with 3 if its source is incomplete."""
        self.notices(estimate.source, estimate.notices)
        if self.as_json:
            print_json(asdict(estimate))
        else:
            print_line(estimate.summary(), sys.stdout)
        if estimate.incomplete:
            self.warning(f"{estimate.source}: {estimate.incomplete}. The figures are of what could be decoded.")
            raise typer.Exit(EXIT_INCOMPLETE)

    def finish_job(self, job: JobResult, result: Any) -> None:
        """Print the outcome of one file of a batch; `result` is the result of encoding or decoding it, or None."""
        if job.error is not None:
            self.error(job.error)
        if result is not None:
            self._notices_of(result)
        if self.as_json_lines:
            print_json(asdict(_in_options(job)))
        elif job.status is not Status.FAILED:
            self.line(result.summary() if result is not None else f"{job.target}: {job.status}")

    def finish_batch(self, batch: BatchResult) -> None:
        """Print the outcome of a batch; exit with 1 if a file failed, else with 3 if one is incomplete."""
        if not self.as_json_lines:
            self.result(replace(batch, files=[_in_options(job) for job in batch.files]))
        if batch.count(Status.FAILED):
            raise typer.Exit(EXIT_FAILED)
        if batch.count(Status.INCOMPLETE):
            raise typer.Exit(EXIT_INCOMPLETE)

    def _notices_of(self, result: Any) -> None:
        """Print conversions, omissions, and faults of the source."""
        self.notices(result.source, result.notices)
        self.faults(result.source, getattr(result, "faults", []))
        if result.incomplete:
            self.warning(f"{result.source}: {result.incomplete}. {result.target} holds what could be decoded.")

    def _say(self, kind: str, message: str) -> None:
        print_line(f"vtok: {kind}: {in_options(message)}", sys.stderr)


def print_json(value: dict[str, Any], stream: TextIO | None = None) -> None:
    """Print one object, on stdout if no other stream is given."""
    # NaN is not JSON: an error here is better than one in every reader.
    print_line(json.dumps(value, allow_nan=False), stream or sys.stdout)


def _in_options(job: JobResult) -> JobResult:
    return replace(job, error=None if job.error is None else in_options(job.error))
