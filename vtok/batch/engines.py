"""Engines run the tasks of a batch: in processes of this machine, or on a cluster by `vtok.batch.ray_engine`.

An engine runs one function at a time on each of its workers. If a worker is lost, through lack of memory or with its
machine, the engine raises WorkerLostError, and the caller tries again. An error of the task itself is raised unchanged.
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
    """Runs functions on workers. Its methods can be called from any thread.

    Attributes:
        num_workers: Number of tasks that run at the same time.
    """

    num_workers: int

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run `function(*arguments)` on a free worker; return what it returns, or raise what it raises.

        The function, its arguments and its result are pickled.

        Raises:
            WorkerLostError: The worker ended before the function did.
            ConfigError: The engine is closed.
        """

    def close(self) -> None:
        """End all workers; tasks that are running end with WorkerLostError."""


def start_engine(name: str, *, num_workers: int | None, num_threads: int | None) -> Engine:
    """Start an engine.

    Args:
        name: One of `ENGINES`.
        num_workers: Number of tasks at the same time; None: one per processor of this machine, or all that fit on a
            cluster.
        num_threads: PyTorch's threads of each task; None: an equal share of this machine's processors, or one thread
            on a cluster.

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
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """Processes of this machine, each in a pool of its own, so that a lost one does not end the tasks of others.

    They are spawned: forking a process in which PyTorch has threads is not safe.
    """

    def __init__(self, num_workers: int, num_threads: int | None = None) -> None:
        self.num_workers = num_workers
        self._num_threads = num_threads or max(1, num_processors() // num_workers)
        self._is_closed = False
        self._lock = threading.Lock()
        self._workers: dict[ProcessPoolExecutor, int] = {}  # process ids
        # A place is a waiting worker, or None if the worker has yet to be started.
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
        except (BrokenProcessPool, SystemExit) as error:  # SystemExit comes from SIGTERM, which `close` also sends
            if worker is not None:
                with self._lock:
                    self._workers.pop(worker, None)
                worker.shutdown(wait=False)
                worker = None
            raise WorkerLostError from error
        finally:
            self._places.put(worker)

    def close(self) -> None:
        """See `Engine`. Workers remove their unfinished files."""
        with self._lock:
            self._is_closed = True
            workers, self._workers = self._workers, {}
        for process_id in workers.values():
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGTERM)
        for worker in workers:
            worker.shutdown(cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        """Start a worker; raise BrokenProcessPool if the engine is closed."""
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
    """Leave Ctrl-C to the main process; end by SIGTERM, sent by the main process or when that process is gone."""
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
    while True:  # the first signal ends the running task, if any; the next ends the process that waits for a task
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
