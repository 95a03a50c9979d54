"""`-` in place of a file: standard input, which is first copied to a file, and standard output."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vtok.errors import ConfigError, MediaError, writing
from vtok.system.sources import ByteSource, Readable

STANDARD = "-"


def is_standard(path: str | os.PathLike[str]) -> bool:
    """Whether `path` means standard input or output."""
    return os.fspath(path) == STANDARD


@contextmanager
def local_file(source: str | os.PathLike[str]) -> Iterator[Path]:
    """The file to read for `source`: `source` itself, or for `-` a temporary copy of all of standard input.

    It is a copy because most formats cannot be read from a pipe: an MP4 file may have its index at the end.

    Raises:
        ConfigError: Standard input is a terminal, or closed.
        MediaError: Standard input is empty, or there is no space for the copy.
    """
    if not is_standard(source):
        yield Path(source)
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise ConfigError(f"{STANDARD}: standard input is a terminal or closed. Pipe a file into it")
    with tempfile.TemporaryDirectory(prefix="vtok-") as folder:
        path = Path(folder) / "stdin"
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        except OSError as error:
            raise MediaError(f"{STANDARD}: cannot be copied to {folder}: {error.strerror or error}") from error
        if not path.stat().st_size:
            raise MediaError(f"{STANDARD}: standard input is empty")
        yield path


@contextmanager
def local_source(source: Readable) -> Iterator[ByteSource]:
    """The bytes to read for `source`; `local_file` handles a path, and raises its errors."""
    if not isinstance(source, str | os.PathLike):
        yield ByteSource(source)
        return
    with local_file(source) as path:
        yield ByteSource(path, name=source)


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output for bytes, flushed at the end.

    Raises:
        ConfigError: Standard output is a terminal, or closed.
        MediaError: Nothing reads standard output any more.
    """
    if sys.stdout is None or sys.stdout.isatty():
        raise ConfigError(f"{STANDARD}: standard output is a terminal or closed. Redirect it to a file or a pipe")
    sys.stdout.flush()
    # A separate handle, so that Python does not try again at exit to flush bytes that nothing reads.
    file = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    try:
        with writing(STANDARD):
            yield file
            file.flush()
    finally:
        with suppress(OSError):
            file.close()


def copy_to_standard_output(path: Path) -> None:
    """Write a whole file to standard output; raises the errors of `standard_output`."""
    with standard_output() as output, path.open("rb") as file:
        shutil.copyfileobj(file, output, 1 << 20)
