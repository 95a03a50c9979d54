"""Stages of a stream that work at the same time, each in its own thread.

    reading --[depth]--> analysis --[depth]--> entropy coding and writing          encode
    entropy decoding --[depth]--> synthesis --[depth]--> writing                   decode

Between two stages there is a queue of bounded length, so a fast stage waits for a slow one and memory stays constant.
FFmpeg, PyTorch and the range coder work without Python's lock, so threads are enough. Items keep their order, and each
passes every stage alone, so the result is that of a single loop.
"""

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 2  # chunks of frames between two stages: one to work on and one spare

_POLL_SECONDS = 0.1  # a stage that waits for a free place checks this often whether its items are still wanted


@dataclass(frozen=True, slots=True)
class _End:
    """Follows the last item; holds the error that ended the stage, or None."""

    error: BaseException | None


@contextmanager
def ahead(items: Iterable[T], *, depth: int) -> Iterator[Iterator[T]]:
    """Produce `items` in a thread, up to `depth` of them before they are asked for.

    Example:
        >>> with ahead(range(3), depth=2) as numbers:
        ...     list(numbers)
        [0, 1, 2]

    An error in `items` is raised after the items before it. Leaving the context, by an error or early, stops the thread
    and waits until it has finished its current item. After that, the source of `items` may be closed.

    Args:
        items: Items to produce in the thread, one after the other; a generator is also closed there.
        depth: Number of items that may wait in the queue, at least 1.
    """
    stage = _Stage(items, depth)
    try:
        stage.thread.start()  # inside, because a signal may raise an exception while it waits for the thread
        yield stage.results()
    finally:
        stage.stop()


class _Stage(Generic[T]):
    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._items = items
        self._queue: Queue[T | _End] = Queue(max(1, depth))
        self._unwanted = threading.Event()
        self.thread = threading.Thread(target=self._produce, name="vtok-stage", daemon=True)

    def results(self) -> Iterator[T]:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def stop(self) -> None:
        self._unwanted.set()
        with suppress(Empty):  # empty the queue, so that a waiting stage sees at once that it is to end
            while True:
                self._queue.get_nowait()
        if self.thread.is_alive():
            self.thread.join()

    def _produce(self) -> None:
        error: BaseException | None = None
        try:
            if self._unwanted.is_set():
                return
            for item in self._items:
                if not self._put(item) or self._unwanted.is_set():
                    break
        except BaseException as caught:  # every error, also SystemExit, is raised where the items are asked for
            error = caught
        finally:
            if isinstance(self._items, Generator):
                self._items.close()
        self._put(_End(error))

    def _put(self, item: T | _End) -> bool:
        """Put the item into the queue; False if the items became unwanted first."""
        while not self._unwanted.is_set():
            with suppress(Full):
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
        return False
