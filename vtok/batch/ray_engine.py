"""Workers on a cluster of machines, by the Ray library; imported only if it is installed and requested.

The machines share a file system: a task gets names of files, and reads and writes them itself. As with any engine, the
caller submits lost tasks again.
"""

import os
from collections.abc import Callable
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any

import ray
from ray import exceptions

from vtok.batch.worker import WorkerLostError, prepare_worker
from vtok.errors import ConfigError

_LOST = (  # a process, its machine, or what it gave back
    exceptions.WorkerCrashedError,
    exceptions.OutOfMemoryError,
    exceptions.LocalRayletDiedError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.TaskCancelledError,  # by `close`
)


class RayEngine:
    """Workers on the cluster that this process is connected to, or the one that Ray finds, or else on this machine.

    Ray finds a cluster by RAY_ADDRESS or by a node of the cluster that runs on this machine.
    """

    def __init__(self, num_workers: int | None, num_threads: int) -> None:
        """Connect to the cluster.

        Raises:
            ConfigError: No machine of the cluster has as many processors as a task has threads.
        """
        self._running: set[Any] = set()
        self._lock = Lock()
        self._owns_connection = not ray.is_initialized()
        if self._owns_connection:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise a cluster started here reports its use
            ray.init(logging_level="warning", log_to_driver=False)
        processors = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        num_fitting = sum(number // num_threads for number in processors)
        if not num_fitting:
            self.close()
            raise ConfigError(f"threads is {num_threads}; the machines of the cluster have {processors} processors")
        self.num_workers = min(num_workers or num_fitting, num_fitting)
        self._task = ray.remote(_run).options(num_cpus=num_threads, max_retries=0)
        self._num_threads = num_threads
        self._free = BoundedSemaphore(self.num_workers)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """See `vtok.batch.engines.Engine`."""
        with self._free:
            reference = self._task.remote(self._num_threads, str(Path.cwd()), function, arguments)
            with self._lock:
                self._running.add(reference)
            try:
                return ray.get(reference)
            except exceptions.RayTaskError as error:
                raise error.cause from error
            except _LOST as error:
                raise WorkerLostError from error
            finally:
                with self._lock:
                    self._running.discard(reference)

    def close(self) -> None:
        """See `vtok.batch.engines.Engine`."""
        with self._lock:
            running = list(self._running)
        for reference in running:
            ray.cancel(reference)
        if self._owns_connection:
            ray.shutdown()


def _run(num_threads: int, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Run a task in the working folder of its caller, so that relative names mean the same files."""
    os.chdir(folder)
    prepare_worker(num_threads)
    return function(*arguments)
