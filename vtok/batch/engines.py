"""Where the tasks of a batch run: in processes of this machine, or on a cluster by `vtok.batch.ray_engine`.

An engine runs one function at a time on each of its workers. That a worker is lost, to a lack of memory or with its
machine, is for the caller to see and to try again (`WorkerLostError`); what a task itself raises comes back as it is.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import wait
from queue import SimpleQueue
from types import FrameType
from typing import Any, Protocol

from vtok.batch.worker import WorkerLostError, prepare_worker
from vtok.errors import ConfigError

ENGINES = ("local", "ray")


class Engine(Protocol):
    """Runs functions on workers; from any thread.

    Attributes:
        num_workers: How many tasks it runs at the same time.
    """

    num_workers: int

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function(*arguments)`, all of which can be pickled, returns or raises on a worker that is free.

        Raises:
            WorkerLostError: The worker ended meanwhile.
            ConfigError: The engine is closed.
        """

    def close(self) -> None:
        """End all workers, and with WorkerLostError what they are at."""


def start_engine(name: str, *, num_workers: int | None, num_threads: int | None) -> Engine:
    """Start an engine.

    Args:
        name: One of `ENGINES`.
        num_workers: Tasks at the same time; None: of this machine's processors one each, of a cluster all that fit.
        num_threads: PyTorch's threads of each; None: here the processors are divided between the workers, on a cluster
            one.

    Raises:
        ConfigError: There is no such engine, or Ray is not installed.
    """
    if name == "local":
        return LocalEngine(num_workers or num_processors(), num_threads)
    if name != "ray":
        raise ConfigError(f"engine is {name!r}; expected one of {', '.join(ENGINES)}")
    try:
        from vtok.batch.ray_engine import RayEngine
    except ImportError as error:
        raise ConfigError(f"engine is 'ray', which cannot be imported: {error}. Install vtok[ray]") from error
    return RayEngine(num_workers, num_threads or 1)


def num_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """Processes of this machine, each a pool of its own: so one that is lost takes no other's task with it.

    They are spawned: to fork a process in which PyTorch has threads is not safe.
    """

    def __init__(self, num_workers: int, num_threads: int | None = None) -> None:
        self.num_workers = num_workers
        self._num_threads = num_threads or max(1, num_processors() // num_workers)
        self._is_closed = False
        self._lock = threading.Lock()
        self._workers: dict[ProcessPoolExecutor, int] = {}  # process ids
        # A place is a worker that waits, or None where one has yet to be started.
        self._places: SimpleQueue[ProcessPoolExecutor | None] = SimpleQueue()
        for _ in range(num_workers):
            self._places.put(None)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """See `Engine`."""
        worker = self._places.get()
        try:
            if self._is_closed:
                raise ConfigError("the engine is closed; start another")
            if worker is None:
                worker = self._start()
            return worker.submit(function, *arguments).result()
        except (BrokenProcessPool, SystemExit) as error:  # the latter from SIGTERM, which `close` sends too
            if worker is not None:
                with self._lock:
                    self._workers.pop(worker, None)
                worker.shutdown(wait=False)
                worker = None
            raise WorkerLostError from error
        finally:
            self._places.put(worker)

    def close(self) -> None:
        """See `Engine`. A worker removes what it has half written."""
        with self._lock:
            self._is_closed = True
            workers, self._workers = self._workers, {}
        for process_id in workers.values():
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGTERM)
        for worker in workers:
            worker.shutdown(cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        """Start a worker, or BrokenProcessPool if the engine is closed."""
        context = multiprocessing.get_context("spawn")
        worker = ProcessPoolExecutor(1, context, initializer=_begin_worker, initargs=(self._num_threads,))
        process_id = None if self._is_closed else worker.submit(os.getpid).result()
        with self._lock:
            if process_id is not None and not self._is_closed:
                self._workers[worker] = process_id
                return worker
        worker.shutdown()
        raise BrokenProcessPool("the engine is closed")


def _begin_worker(num_threads: int) -> None:
    """Leave Ctrl-C to the main process, and end by SIGTERM, as it is sent from there or when that process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_worker)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare_worker(num_threads)


def _end_worker(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # so that temporary files are removed on the way out


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    while True:  # the first ends a task, if there is one, and the next the process that waits for another
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
