"""Sources and targets of bytes: a path, memory, or a binary file object of the caller."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Protocol

from vtok.errors import ConfigError, MediaError, naming, writing
from vtok.system.paths import StrPath

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


_NO_SEEKING = "cannot seek, as a pipe; copy it to a file or to io.BytesIO first"


class Writable(Protocol):
    """A binary file object to write to; it need not be able to seek."""

    def write(self, data: bytes, /) -> object:
        """Write bytes; return the number written, or None for all of them."""


Readable = StrPath | bytes | bytearray | memoryview | BinaryIO


class ByteSource:
    """A file to read, with any number of open handles, in any number of threads.

    Each handle has its own position. Each handle of a path is a newly opened file, so processes may inherit the source
    or get it pickled. A file object is read from its beginning, whatever its position. It is not closed, and each read
    restores its position.

    Attributes:
        name: Name of the file in messages: the path, `<bytes>`, or the `name` of the file object.

    Args:
        source: A path, bytes, or a binary file object that can seek and that nothing else reads at the same time.
        name: Name of the file in messages; default: that of `source`.

    Raises:
        ConfigError: `source` is none of these.
    """

    def __init__(self, source: Readable, *, name: StrPath | None = None) -> None:
        self.name = os.fspath(name) if name is not None else name_of(source)
        self._open: Callable[[], BinaryIO]
        if isinstance(source, str | os.PathLike):
            self._open = partial(_open_path, Path(source), self.name)
        elif isinstance(source, bytes | bytearray | memoryview):
            self._open = partial(io.BytesIO, bytes(source))
        else:
            _check_binary(source, "read", "seek", "tell", "seekable")
            self._open = partial(_open_handle, source, Lock())

    @classmethod
    def of(cls, source: "Readable | ByteSource") -> "ByteSource":
        """A `ByteSource` of `source`: `source` itself if it is one already."""
        return source if isinstance(source, ByteSource) else cls(source)

    @contextmanager
    def held(self) -> Iterator["ByteSource"]:
        """The same file, kept open, so that it can be read whatever happens to its path."""
        with self._open() as file:
            yield ByteSource(file, name=self.name)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """A handle at the beginning of the file; errors name the file.

        Raises:
            MediaError: The file cannot be opened or read, or cannot seek.
        """
        with naming(self.name), self._open() as file:
            try:
                if not file.seekable():
                    raise MediaError(f"{self.name}: {_NO_SEEKING}")
                yield file
            except OSError as error:
                raise MediaError(f"{self.name}: cannot be read: {error.strerror or error}") from error


class Sink:
    """A binary file object of the caller, written from front to back and not closed.

    Attributes:
        name: Name of the object in messages.

    Raises:
        ConfigError: The object is not a binary file object.
    """

    def __init__(self, file: Writable) -> None:
        _check_binary(file, "write")
        self.name = name_of(file)
        self._file = file

    def write(self, data: bytes) -> None:
        """Write all of `data`, in several calls if the object takes less at a time.

        Raises:
            MediaError: The object cannot be written.
        """
        while data:
            with writing(self.name):
                num_bytes = self._file.write(data)
            data = data[num_bytes:] if isinstance(num_bytes, int) else b""


def name_of(file: Readable | Writable) -> str:
    """The name of a file in messages: the path, `<bytes>`, the `name` of a file object, or its type if it has none."""
    if isinstance(file, str | os.PathLike):
        return os.fspath(file)
    if isinstance(file, bytes | bytearray | memoryview):
        return "<bytes>"
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else f"<{type(file).__name__}>"


def refuse_pipe(path: StrPath) -> None:
    """Refuse a pipe where a file's size is needed or its bytes more than once; opening it could wait forever.

    Raises:
        MediaError: `path` is a pipe.
    """
    if Path(path).is_fifo():
        raise MediaError(f"{os.fspath(path)}: {_NO_SEEKING}")


def _open_path(path: Path, name: str) -> BinaryIO:
    if path.is_fifo():
        raise MediaError(f"{name}: {_NO_SEEKING}")
    try:
        return path.open("rb")
    except OSError as error:
        raise MediaError(f"{name}: cannot be opened: {error.strerror}") from error


def _open_handle(file: BinaryIO, lock: Lock) -> BinaryIO:
    return io.BufferedReader(_Handle(file, lock))


class _Handle(io.RawIOBase):
    """A handle with its own position in a shared file; all its handles read under `lock`."""

    def __init__(self, file: BinaryIO, lock: Lock) -> None:
        self._file = file
        self._lock = lock
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            with self._at(offset, whence) as file:
                self._position = file.tell()
        else:
            self._position = offset + (self._position if whence == os.SEEK_CUR else 0)
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer)
        with self._at(self._position) as file:
            data = file.read(len(view)) or b""
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    @contextmanager
    def _at(self, offset: int, whence: int = os.SEEK_SET) -> Iterator[BinaryIO]:
        """The file at a place; its position is restored afterwards."""
        with self._lock:
            position = self._file.tell()
            try:
                self._file.seek(offset, whence)
                yield self._file
            finally:
                self._file.seek(position)


def _check_binary(file: Readable | Writable, *methods: str) -> None:
    if isinstance(file, io.TextIOBase):
        raise ConfigError(f"{name_of(file)}: is open as text. Open it in binary mode")
    if not all(hasattr(file, method) for method in methods):
        what = "a path, bytes or a binary file object" if "read" in methods else "a path or an object with `write`"
        raise ConfigError(f"{file!r:.80}: expected {what}")
