"""Which of the stages that overlap has how many of PyTorch's threads; PyTorch counts them for each thread by itself.

Threads that wait for others spin, so a stage that does not need several takes the processors from the others. The
passes of entropy coding are small and many; where they are products in float32 they are not small.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def use_threads(count: int) -> None:
    """Compute with `count` threads from now on, in the calling thread.

    A thread that asks PyTorch for something for the first time takes over the number that was set last, in whichever
    thread that was. So it asks first, and sets its own number then.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """Inside, what the calling thread computes has `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
