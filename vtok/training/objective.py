"""What training minimises: distortion plus lambda times rate, over all qualities at once.

    distortion = distortion_weight * (MSE_Y / 2 + MSE_U / 4 + MSE_V / 4)     samples in [-1, 1]
    rate       = bits per pixel under the prior
    cost       = distortion + lambda(quality) * rate
    jumps      = jump_weight * distortion of (first frames of chunks - last frames of those before)
    loss       = mean over clips of  (cost + jumps) / (cost without gradient + balance_floor * sqrt(lambda))

Mean squared error does not care whether the errors of consecutive frames are alike, but whoever looks does: jumps are
what makes a video pulse. The last line makes a percent of a cheap clip worth about as much as a percent of an expensive
one, as in BD-rate, which averages percentages over clips and qualities; the floor keeps black frames from taking over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from vtok.networks.klt import PATCH
from vtok.networks.latent_model import LatentModel
from vtok.networks.planes import Planes
from vtok.networks.prior import Distribution
from vtok.training.config import ObjectiveConfig

PLANE_WEIGHTS = (0.5, 0.25, 0.25)  # of Y, U and V in the distortion


@dataclass(frozen=True, slots=True)
class Outcome:
    """Per clip `[b]`: what a model does to a batch."""

    loss: Tensor
    cost: Tensor
    bits_per_pixel: Tensor
    squared_error: Tensor  # [3, b], mean per plane
    quality: Tensor


def evaluate(
    model: LatentModel,
    planes: Planes,
    quality: Tensor,
    config: ObjectiveConfig,
    *,
    noise_seeds: Sequence[int] = (),
) -> Outcome:
    """Code `planes` at `quality` with straight-through rounding and say what it costs.

    Args:
        model: What codes them.
        planes: Luma `[b, t, h, w]`.
        quality: `[b]`.
        config: What counts how much.
        noise_seeds: For training, a seed for each clip; so noise does not depend on what else is in the batch.
    """
    latents, _ = model.encode(planes, quality)
    codes = model.quantizer(latents)
    decoded, _ = model.decode(codes, quality)
    bits = code_length(model, latents, codes, model.prior(codes, quality), noise_seeds).sum((1, 2, 3, 4))
    bits_per_pixel = bits / planes.y[0].numel()
    differences = [a - b for a, b in zip(planes, decoded, strict=True)]
    errors = torch.stack([(x**2).mean((1, 2, 3)) for x in differences])
    jumps = torch.stack([_jumps(x) for x in differences])
    weights = config.distortion_weight * _plane_weights(errors.device)[:, None]
    lam = model.lagrangian(quality)
    cost = (weights * errors).sum(0) + lam * bits_per_pixel
    loss = (cost + config.jump_weight * (weights * jumps).sum(0)) / (cost.detach() + config.balance_floor * lam.sqrt())
    return Outcome(loss, cost, bits_per_pixel, errors, quality)


@cache
def _plane_weights(device: torch.device) -> Tensor:
    """`PLANE_WEIGHTS` on a device, copied there once: a step of training that copies has to wait for a GPU."""
    return torch.tensor(PLANE_WEIGHTS, device=device)


def _jumps(errors: Tensor) -> Tensor:
    """Mean squared change of `errors [b, t, h, w]` from a chunk to the next; 0 if there is one chunk only."""
    changes = errors[:, PATCH::PATCH] - errors[:, PATCH - 1 : -1 : PATCH]
    return changes.square().mean((1, 2, 3)) if changes.numel() else errors.new_zeros(len(errors))


def code_length(
    model: LatentModel, latents: Tensor, codes: Tensor, distribution: Distribution, noise_seeds: Sequence[int]
) -> Tensor:
    """Bits of every code, with one gradient for the prior and another for the encoder.

    The prior learns from the codes as they are. For the encoder that would be blind where it matters: at a code of zero
    the code length is at its minimum and flat, so nothing speaks against the distortion's wish to grow small latents
    until they round to one (at low qualities the rate of unimportant channels doubled within an hour). So the encoder's
    gradient is that of the length at the latent plus uniform noise, whose mean is the true difference between
    neighbouring codes (after Balle et al. 2017, https://arxiv.org/abs/1611.01704).
    """
    length = model.prior.bits(codes.detach(), distribution)
    if not latents.requires_grad:
        return length
    low, high = model.quantizer.min_code, model.quantizer.max_code
    noise = torch.stack([_noise(latents.shape[1:], seed, latents.device) for seed in noise_seeds])
    noisy = latents.clamp(low, high) + noise - 0.5
    frozen = Distribution(distribution.location.detach(), distribution.log2_scale.detach())
    noisy_length = model.prior.bits(noisy, frozen)
    return length + (noisy_length - noisy_length.detach())


def _noise(shape: torch.Size, seed: int, device: torch.device) -> Tensor:
    """Uniform in [0, 1); of one seed a GPU draws other numbers than a processor, but the same each time."""
    return torch.rand(shape, generator=torch.Generator(device).manual_seed(seed), device=device)


class Objective(nn.Module):
    """`evaluate` for a model, as a module whose gradients several processes can average."""

    def __init__(self, model: LatentModel, config: ObjectiveConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, planes: Planes, quality: Tensor, noise_seeds: Sequence[int]) -> Outcome:
        """See `evaluate`."""
        return evaluate(self.model, planes, quality, self.config, noise_seeds=noise_seeds)
