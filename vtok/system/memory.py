"""Settings of the C library's memory: for the program, not for those who import the package."""

import ctypes
import sys

# Parameters of mallopt(3) in glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Keep freed memory for its next use, in one arena for all threads, if the C library is glibc.

    By default each freed buffer of the networks, of megabytes each, goes back to the kernel, and comes back as pages
    that have to be cleared one by one. That took a tenth of the time of decoding.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**30)
