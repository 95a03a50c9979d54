"""Muon for convolutions, Adam for everything else, with one learning-rate schedule for both."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.networks.latent_model import LatentModel
from vtok.training.config import OptimizerConfig

_OPTIMIZERS = ("muon", "adam")


class Muon(torch.optim.Optimizer):
    """Momentum with every update replaced by the nearest (semi-)orthogonal matrix.

    Keller Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; a convolution kernel counts as a matrix of
    output channels by everything else. Updates are scaled as in Liu et al. 2025 (https://arxiv.org/abs/2502.16982), to
    about the size of Adam's. (`torch.optim.Muon` takes matrices only.)
    """

    def __init__(self, params: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if not params:
                continue
            for param in params:
                if not self.state[param]:
                    self.state[param]["momentum"] = torch.zeros_like(param)
            momenta = [self.state[param]["momentum"] for param in params]
            torch._foreach_lerp_(momenta, [param.grad for param in params], 1 - group["momentum"])
            directions = torch._foreach_lerp([param.grad for param in params], momenta, group["momentum"])
            same_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for param, direction in zip(params, directions, strict=True):
                same_shape[param.shape].append((param, direction.flatten(1)))
            for kernels, matrices in (zip(*pairs, strict=True) for pairs in same_shape.values()):
                size = 0.2 * max(matrices[0].shape) ** 0.5
                # A GPU takes longer to start a product than to compute it, a processor does not.
                at_once = orthogonalize(torch.stack(matrices)) if kernels[0].is_cuda else map(orthogonalize, matrices)
                updates = [update.reshape(kernels[0].shape) for update in at_once]
                torch._foreach_sub_(kernels, updates, alpha=group["lr"] * size)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Approximate the nearest semi-orthogonal matrix by a quintic Newton-Schulz; singular values in about [0.7, 1.2].

    Args:
        matrix: `[..., rows, columns]`, each matrix by itself.
        steps: Number of iterations.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = (matrix.mT if tall else matrix).bfloat16()
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x.mT if tall else x).to(matrix.dtype)
    return result


def build_optimizers(model: LatentModel, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """The optimizers of a run; each group remembers its peak learning rate as `peak_lr`."""
    if config.name not in _OPTIMIZERS:
        raise ConfigError(f"optimizer.name is {config.name!r}; expected one of {', '.join(_OPTIMIZERS)}")
    transform = [model.transform.analysis, model.transform.synthesis]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    kernels = [cast(nn.Parameter, module.weight) for module in convolutions if config.name == "muon"]
    taken = {id(param) for param in transform + kernels}
    rest = [param for param in model.parameters() if id(param) not in taken]
    adam = torch.optim.Adam(
        [
            {"params": rest, "lr": config.learning_rate},
            {"params": transform, "lr": config.transform_learning_rate},
        ],
        betas=config.betas,
        fused=True,
    )
    optimizers: list[torch.optim.Optimizer] = [adam]
    if kernels:
        optimizers.append(Muon(kernels, lr=config.muon_learning_rate))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_learning_rate(
    optimizers: list[torch.optim.Optimizer], config: OptimizerConfig, *, step: int, progress: float
) -> float:
    """Linear warm-up by `step`, cosine by `progress` in [0, 1]; returns the factor on every peak rate."""
    final = config.final_learning_rate_ratio
    cosine = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    factor = min(1.0, (step + 1) / config.warmup_steps) * cosine
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
    return factor
