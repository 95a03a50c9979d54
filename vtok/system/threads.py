"""Numbers of PyTorch threads for overlapping stages; PyTorch keeps a separate number for each calling thread.

Threads that wait for others spin, so a stage with more than it needs takes the processors from other stages. Entropy
coding has many small passes, except where they are float32 products: those are not small.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def use_threads(count: int) -> None:
    """Compute with `count` threads from now on, in the calling thread.

    On its first call to PyTorch, a thread takes over the number that any thread set last. So this function makes a call
    first, and then sets the number.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """A context in which the calling thread computes with `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
