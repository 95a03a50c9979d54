"""The tree of errors that vtok raises for bad input; any other error that reaches a user is a bug.

```
VtokError
├── FormatError                  the bytes are not a .vtok file that this reader can read
│   ├── TruncatedError           the bytes end too early
│   ├── ChecksumError            the bytes, or the codes they decode to, are not those that were written
│   ├── UnsupportedVersionError  a newer vtok is needed
│   └── LimitError               a declared size is beyond what the format allows
├── ModelMismatchError           the file was written with other weights
├── MediaError                   a video could not be read or written
├── WeightsError                 weights are missing, damaged or of another configuration
└── ConfigError                  an option or a parameter is out of its range
```

Every message is one line: the value, the allowed set, and the way out.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


class VtokError(Exception):
    """Base of all errors that are the fault of the input, not of the program."""


class FormatError(VtokError):
    """The bytes are not a `.vtok` file that this reader can read."""


class TruncatedError(FormatError):
    """The bytes end before the structure they declare is complete."""


class ChecksumError(FormatError):
    """Stored bytes, or the codes decoded from them, do not match their CRC-32."""


class UnsupportedVersionError(FormatError):
    """The file needs a newer reader than this one."""


class LimitError(FormatError):
    """A declared size is beyond the limits of the format, so nothing was allocated for it."""


class ModelMismatchError(VtokError):
    """The file names a model, by name and SHA-256, that is not the one at hand."""


class MediaError(VtokError):
    """A video file could not be opened, decoded or written."""


class WeightsError(VtokError):
    """Weights are missing, damaged, or do not belong to their configuration."""


class ConfigError(VtokError, ValueError):
    """A parameter has a value outside its allowed set."""


def one_line(error: Exception) -> str:
    """`FILE: cause. hint`, as every VtokError says; a system error has no hint and sometimes no file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the name of a `.vtok` file, once, before errors in the file or in reading it."""
    try:
        yield
    except (FormatError, ModelMismatchError) as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        if error.filename is not None:
            raise
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from error


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file that could not be written in system errors such as a full disk."""
    try:
        yield
    except OSError as error:
        raise MediaError(f"{path}: cannot be written: {error.strerror or error}") from error
