"""The exponential moving average of the weights, which is what is validated and released."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """A moving average of a model's parameters and buffers.

    Attributes:
        tensors: The average, with the names of the model's `state_dict()`, on the model's device.

    Args:
        model: The model; the average starts as its weights.
        decay: Share of the average that a step keeps, 0 to 1, once the run is longer than about 1 / (1 - decay) steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the weights after step number `step`, counted from 1."""
        # The average follows closely at first, so that the start of a short run does not hold it back.
        decay = min(self._decay, (1 + step) / (10 + step))
        average, current = _floating(self.tensors), _floating(model.state_dict())
        get_ema_multi_avg_fn(decay)(average, current, step)  # type: ignore[no-untyped-call]

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from the average of a checkpoint, on whatever device its tensors are."""
        self.tensors = {name: tensors[name].to(old.device) for name, old in self.tensors.items()}


def _floating(tensors: dict[str, Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors.values() if tensor.is_floating_point()]
