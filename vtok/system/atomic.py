"""Output files that exist completely or not at all.

The bytes go to a temporary file in the same folder. It replaces the real one by `os.replace` only when it is complete
and on the disk. A run that is killed at any moment leaves the old file or the new one, never a part of one.

A killed run (or a power cut) may also leave its temporary file, named `.vtok-` and 16 hexadecimal digits. Nothing
removes it: another run, perhaps on another machine, may be writing a file with such a name right now.
"""

import io
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vtok.errors import ConfigError, MediaError, writing

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; on a clean exit the file written there becomes `path`.

    The temporary file is in the folder of `path` (a rename cannot cross file systems) and has its suffix (FFmpeg picks
    the container by it). The caller creates and writes it, so it gets the permissions of any new file, or those of the
    file that it replaces. On any exception, also Ctrl-C, it is removed and an existing `path` stays untouched.

    Example:
        >>> with atomic_write("clip.vtok") as temporary:
        ...     temporary.write_bytes(b"...")

    Args:
        path: The file to create or replace. A symbolic link is followed: the file it points to is replaced.

    Yields:
        The path to write to.

    Raises:
        MediaError: The folder is missing or not writable, `path` is not a regular file (a folder, a device such as
            `/dev/null`, a pipe), or the file cannot be moved into place.
    """
    target = Path(os.path.realpath(path))
    folder = target.parent
    if not folder.is_dir():
        raise MediaError(f"{path}: the folder {folder} does not exist. Create it first.")
    if target.exists() and not target.is_file():
        raise MediaError(f"{path}: is not a regular file, and only those can be replaced. Give a file name.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MediaError(f"{path}: the folder {folder} is not writable. Choose another folder.")
    temporary = folder / f".vtok-{secrets.token_hex(8)}{target.suffix}"
    try:
        yield temporary
        with writing(path):
            _move_into_place(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to be written once from front to back; on a clean exit the written bytes become `path`.

    Raises:
        MediaError: `atomic_write` raises it, or the file cannot be written, also when the last bytes are flushed.
    """
    with atomic_write(path) as temporary, create(temporary, path) as file:
        yield file


@contextmanager
def create(temporary: Path, path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file at the place that `atomic_write` gave for `path`, to be written once from front to back.

    Raises:
        MediaError: The file cannot be written, also when the last bytes are flushed.
    """
    with writing(path):
        raw = _Output(temporary, path)
    with io.BufferedWriter(raw) as file:
        yield file


def write_atomically(path: str | os.PathLike[str], data: "ReadableBuffer") -> None:
    """Make `data` the contents of the file `path`.

    Raises:
        MediaError: `open_atomically` raises it; then an existing file stays as it was.
    """
    with open_atomically(path) as file:
        file.write(data)


class _Output(io.FileIO):
    """A file whose own failures name `path`; other failures while it is open are left alone."""

    def __init__(self, temporary: Path, path: str | os.PathLike[str]) -> None:
        super().__init__(temporary, "wb")
        self._path = path

    def write(self, data: "ReadableBuffer", /) -> int:
        with writing(self._path):
            return super().write(data)

    def close(self) -> None:
        with writing(self._path):
            super().close()


def check_target(target: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]], *, overwrite: bool) -> None:
    """Refuse to replace a file unasked, or one that is about to be read.

    Raises:
        ConfigError: `target` exists and `overwrite` is false, or `target` is one of `sources`.
    """
    if not Path(target).is_file():
        return  # `atomic_write` refuses anything else, such as a folder or a device, with a better reason
    if any(Path(source).exists() and Path(source).samefile(target) for source in sources):
        raise ConfigError(f"{target}: is the input too. Give the output another name")
    if not overwrite:
        raise ConfigError(f"{target}: exists already. Overwrite it with overwrite=True")


def _move_into_place(temporary: Path, target: Path) -> None:
    """Put the bytes of `temporary` on the disk, then rename it to `target`."""
    if target.exists():
        temporary.chmod(target.stat().st_mode & 0o7777)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())  # some systems report only here that the disk is full
    temporary.replace(target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, if the system can."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no handle on a folder to flush
        return
    # Some network file systems refuse this, and so do folders that may be written but not listed. The file itself is
    # already complete and in its place.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
