"""The C library's memory. Settings of it are for the program, not for those who import the package."""

import ctypes
import sys
from collections.abc import Callable

# Parameters of mallopt(3) in glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Keep freed memory for its next use, in one arena for all threads, if the C library is glibc.

    By default each freed buffer of the networks, of megabytes each, goes back to the kernel, and comes back as pages
    that have to be cleared one by one. That took a tenth of the time of decoding.
    """
    if (mallopt := _function("mallopt")) is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**30)


def give_back_freed_memory() -> None:
    """Give what is kept back to the kernel, if the C library is glibc.

    Buffers of large frames do not fit into what others left. Beside the time that such frames take, the pages that are
    cleared again cost little, and a gigabyte is saved.
    """
    if (malloc_trim := _function("malloc_trim")) is not None:
        malloc_trim(0)


def _function(name: str) -> Callable[..., object] | None:
    """A function of the C library; None if it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
