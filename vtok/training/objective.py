"""What training minimises: distortion plus lambda times rate, over all qualities at once.

    distortion = distortion_weight * (MSE_Y / 2 + MSE_U / 4 + MSE_V / 4)     samples in [-1, 1]
    rate       = bits per pixel under the prior
    cost       = distortion + lambda(quality) * rate
    loss       = mean over clips of  cost / (cost without gradient + balance_floor * sqrt(lambda))

The last line makes a percent of a cheap clip worth about as much as a percent of an expensive one, as in BD-rate, which
averages percentages over clips and qualities; the floor keeps black frames from taking over.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtok.latent_model import LatentModel
from vtok.planes import Planes
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


def evaluate(model: LatentModel, planes: Planes, quality: Tensor, config: ObjectiveConfig) -> Outcome:
    """Code `planes` at `quality` with straight-through rounding and say what it costs."""
    latents, _ = model.encode(planes, quality)
    codes = model.quantizer(latents)
    decoded, _ = model.decode(codes, quality)
    bits = model.prior.bits(codes, model.prior(codes, quality)).sum((1, 2, 3, 4))
    bits_per_pixel = bits / planes.y[0].numel()
    errors = torch.stack([((a - b) ** 2).mean((1, 2, 3)) for a, b in zip(planes, decoded, strict=True)])
    weights = errors.new_tensor(PLANE_WEIGHTS)[:, None]
    lam = model.lagrangian(quality)
    cost = config.distortion_weight * (weights * errors).sum(0) + lam * bits_per_pixel
    loss = cost / (cost.detach() + config.balance_floor * lam.sqrt())
    return Outcome(loss, cost, bits_per_pixel, errors, quality)
