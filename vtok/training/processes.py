"""The processes of a training run: this one alone, or those that `torchrun` started, on one machine or several.

All draw the same random numbers for the whole batch and take their share of it. So a run sees the same clips at the
same qualities with the same noise for any number of processes. PyTorch's DistributedDataParallel averages gradients
over gloo. The processes agree on everything that depends on a clock or a signal. Only the first one validates, logs and
saves.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from vtok.errors import ConfigError
from vtok.networks.arithmetic import Arithmetic, choose_arithmetic

_PATIENCE = timedelta(days=1)  # limit of waiting for a process that cuts clips or validates


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among all those of a run.

    Attributes:
        rank: Number of this process, from 0.
        count: Number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that validates, logs and saves."""
        return self.rank == 0

    def share(self, batch_size: int) -> range:
        """The numbers of the clips of a batch that this process takes.

        Raises:
            ConfigError: The batch cannot be divided evenly, as a mean of means requires.
        """
        if batch_size % self.count:
            raise ConfigError(f"data.batch_size is {batch_size}; expected a multiple of the {self.count} processes")
        size = batch_size // self.count
        return range(self.rank * size, (self.rank + 1) * size)

    def parallel(self, module: nn.Module) -> nn.Module:
        """Give `module` the parameters of the first process, and make its gradients means over all processes."""
        return module if self.count == 1 else DistributedDataParallel(module, broadcast_buffers=False)

    def largest(self, *values: float) -> list[float]:
        """The largest of each value over all processes."""
        return self._reduced(torch.tensor(values, dtype=torch.float64), dist.ReduceOp.MAX).tolist()

    def mean(self, values: Tensor) -> Tensor:
        """The mean of each value over all processes."""
        return self._reduced(values.clone(), dist.ReduceOp.SUM) / self.count

    def _reduced(self, values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.count > 1:
            dist.all_reduce(values, op=operation)
        return values


def num_processes() -> int:
    """The number of processes that `torchrun` started, this one included; 1 if it started none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def arithmetic_of(device: str, num_processes: int) -> Arithmetic:
    """The arithmetic of each of a run's processes on `device`. Several processes use CPUs, where gloo averages.

    Raises:
        ConfigError: There is no such device, or it cannot be shared.
    """
    if num_processes > 1 and device == "cuda":
        raise ConfigError(
            f"device is 'cuda' for {num_processes} processes; expected auto or cpu. Use one process on a GPU"
        )
    return choose_arithmetic("cpu" if num_processes > 1 and device == "auto" else device)


def is_first_process() -> bool:
    """Whether this process will be the first of those that `torchrun` started; True for a single process."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the other processes that `torchrun` started, if it started this one."""
    count = num_processes()
    if count == 1:
        yield Processes()
        return
    dist.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()
