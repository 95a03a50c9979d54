"""OpenCV with one thread: its optical flow depends on the number of threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_lock = threading.Lock()
_num_users = 0
_num_threads_before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Let OpenCV use one thread within the context, then as many as before.

    The number is the process's, so the first of concurrent users sets it and the last one restores it.
    """
    global _num_users, _num_threads_before
    with _lock:
        if _num_users == 0:
            _num_threads_before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _num_users += 1
    try:
        yield
    finally:
        with _lock:
            _num_users -= 1
            if _num_users == 0:
                cv2.setNumThreads(_num_threads_before)
