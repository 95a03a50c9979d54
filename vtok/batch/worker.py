"""A worker of any engine: how its process begins, and the error that tells of its end."""

from vtok.system.memory import keep_freed_memory


class WorkerLostError(Exception):
    """A worker ended before its task did."""


def prepare_worker(num_threads: int) -> None:
    """Let the tasks of this process use so many threads of PyTorch, and memory as the program does."""
    import torch

    keep_freed_memory()
    torch.set_num_threads(num_threads)
