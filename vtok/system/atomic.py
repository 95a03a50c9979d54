"""Output files that exist completely or not at all.

The bytes go to a temporary file in the same folder. It replaces the real one by `os.replace` only when it is complete
and on the disk. A run that is killed at any moment leaves the old file or the new one, never a part of one.

A killed run (or a power cut) may also leave its temporary file, named `.vtok-` and 16 hexadecimal digits. Nothing
removes it: another run, perhaps on another machine, may be writing a file with such a name right now.

Of two runs that make the same new file, the one that is complete first makes it; the other one fails in the end.
"""

import io
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vtok.errors import ConfigError, MediaError, writing

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path; on a clean exit the file written there becomes `path`.

    The temporary file is in the folder of `path` (a rename cannot cross file systems) and has its suffix (FFmpeg picks
    the container by it). The caller creates and writes it, so it gets the permissions of any new file, or those of the
    file that it replaces. On any exception, also Ctrl-C, it is removed and an existing `path` stays untouched.

    Example:
        >>> with atomic_write("clip.vtok") as temporary:
        ...     temporary.write_bytes(b"...")

    Args:
        path: The file to create or replace. A symbolic link is followed: the file it points to is replaced.
        overwrite: Replace a file that is there in the end; if false, the caller has checked that there is none yet.

    Yields:
        The path to write to.

    Raises:
        MediaError: The folder is missing or not writable, `path` is not a regular file (a folder, a device such as
            `/dev/null`, a pipe), or the file cannot be moved into place.
        ConfigError: `overwrite` is false, and `path` came into being meanwhile.
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
            _flush(temporary, target)
            _rename(temporary, target, path, overwrite=overwrite)
            _sync_folder(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def open_atomically(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Open a file to be written once from front to back; on a clean exit the written bytes become `path`.

    Raises:
        MediaError: `atomic_write` raises it, or the file cannot be written, also when the last bytes are flushed.
        ConfigError: `overwrite` is false, and `path` came into being meanwhile.
    """
    with atomic_write(path, overwrite=overwrite) as temporary, create(temporary, path) as file:
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


def move_together(moves: Mapping[Path, Path], *, overwrite: bool) -> None:
    """Move complete files into place, all or none, within one file system.

    After an error, or a signal that Python turns into an exception, the final paths are as they were; temporary files
    may be gone. A run that is killed, or loses its power, in these milliseconds may leave some of the new files beside
    some of the old ones, each of them whole. The old ones that were replaced are then in a folder beside them, named
    `.vtok-` and 16 hexadecimal digits.

    Args:
        moves: The final path of each file by its temporary one; all final paths are in one folder.
        overwrite: Replace files that exist.

    Raises:
        ConfigError: `overwrite` is false, and one of the files came into being meanwhile.
        OSError: A file cannot be moved.
    """
    if not moves:
        return
    folder = next(iter(moves.values())).parent
    for temporary, target in moves.items():
        _flush(temporary, target)
    older = folder / f".vtok-{secrets.token_hex(8)}"
    try:
        older.mkdir()
        for number, (temporary, target) in enumerate(moves.items()):
            if overwrite and target.exists():
                _keep(target, older / str(number))
            _rename(temporary, target, target, overwrite=overwrite)
    except BaseException:
        for number, (temporary, target) in enumerate(moves.items()):
            kept = older / str(number)
            if kept.exists():
                kept.replace(target)
            elif not temporary.exists() or (target.exists() and target.samefile(temporary)):
                target.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(older, ignore_errors=True)
    _sync_folder(folder)


def _flush(temporary: Path, target: Path) -> None:
    """Put the bytes of `temporary` on the disk, with the permissions of the file that it is to replace."""
    if target.exists():
        temporary.chmod(target.stat().st_mode & 0o7777)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())  # some systems report only here that the disk is full


def _rename(temporary: Path, target: Path, name: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Rename `temporary` to `target`, which is called `name` in messages; unless `overwrite`, it must be new.

    Raises:
        ConfigError: It is not.
    """
    if overwrite:
        temporary.replace(target)
        return
    made_meanwhile = ConfigError(
        f"{name}: exists by now, for another run made it in the meantime. Overwrite it with overwrite=True"
    )
    try:
        os.link(temporary, target)  # unlike a rename, this never replaces anything
    except FileExistsError:
        raise made_meanwhile from None
    except OSError:  # a file system without hard links
        if target.exists():
            raise made_meanwhile from None
        temporary.replace(target)
    else:
        temporary.unlink()


def _keep(target: Path, kept: Path) -> None:
    """Give a file that is to be replaced a second name, or this one only if the file system has no hard links."""
    try:
        os.link(target, kept)
    except OSError:
        target.replace(kept)


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
