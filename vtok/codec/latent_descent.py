"""Gradient descent on the latents of a chunk, towards codes that cost least: what effort "high" takes its time for.

    cost = distortion of the decoded chunk + lambda x bits of the codes under the prior

The encoder's networks give a good start in one go. From there each step goes down the gradient of the cost, which goes
back through synthesis and prior. (Optimising latents of a trained codec: Campos et al. 2019,
https://arxiv.org/abs/1906.01219; with annealed rounding: Yang et al. 2020, https://arxiv.org/abs/2006.04240.)

Codes are integers, so two things are eased. Networks see latents that are rounded softly, ever more sharply from step
to step (the soft rounding of Agustsson and Theis 2020, https://arxiv.org/abs/2006.09952). And between two codes, the
bits of a code are taken to lie on a line through what both really cost: the true length is nearly flat around zero,
and its gradient there would say nothing of what the next code costs.
"""

import math

import torch
from torch import Tensor

from vtok.networks.arithmetic import Arithmetic
from vtok.networks.latent_model import DISTORTION_WEIGHT, LatentModel
from vtok.networks.layers import frozen_layers
from vtok.networks.planes import Planes
from vtok.networks.prior import PriorPast

NUM_STEPS = 6
STEP = 0.3  # share of the way to where the gradient would be zero if codes did not depend on each other
SHARPNESS = (4.0, 16.0)  # of the soft rounding, in the first and in the last step
_PLANE_WEIGHTS = (1.0, 2.0, 2.0)  # of squared errors of a sample in Y, U and V; so planes count as in the objective


def descend(
    model: LatentModel, latents: Tensor, chunk: Planes, past: PriorPast, quality: Tensor, arithmetic: Arithmetic
) -> Tensor:
    """Return codes of an aligned chunk that cost less than its rounded latents.

    Args:
        model: The model that decodes the codes.
        latents: Where to start, in units of one code step, `[1, n, H, W]`.
        chunk: The chunk that the decoder should come to, luma `[1, 8, 8 H, 8 W]`.
        past: What the prior sees of the chunks before.
        quality: Quality `[1]`.
        arithmetic: Number format of the networks.

    Returns:
        Centred codes, `[1, n, H, W]`.
    """
    lagrangian = float(model.lagrangian(quality))
    # The transform is nearly orthonormal, so a step of a code adds about this much to the gradient of its distortion.
    curvature = DISTORTION_WEIGHT / model.gain(quality)[:, :, 0].square() + lagrangian
    first, last = SHARPNESS
    for i in range(NUM_STEPS):
        sharpness = first * (last / first) ** (i / (NUM_STEPS - 1))
        gradient = _gradient(model, latents, sharpness, chunk, past, quality, lagrangian, arithmetic)
        latents = latents - STEP * gradient / curvature
    codes: Tensor = model.quantizer(latents)
    return codes


def _gradient(
    model: LatentModel,
    latents: Tensor,
    sharpness: float,
    chunk: Planes,
    past: PriorPast,
    quality: Tensor,
    lagrangian: float,
    arithmetic: Arithmetic,
) -> Tensor:
    """The gradient of the cost, in the units of the objective's cost times the pixels of the chunk."""
    low, high = model.quantizer.min_code, model.quantizer.max_code
    with torch.enable_grad(), frozen_layers():
        codes = soft_round(latents, sharpness).clamp(low, high).requires_grad_()
        with arithmetic.autocast():
            decoded, _ = model.decode_chunk(codes.unsqueeze(2), quality)
        (of_distortion,) = torch.autograd.grad(_distortion(decoded, chunk), codes)
        with arithmetic.autocast():
            distribution = model.prior.of_frames(codes, past, quality)
        # What a code says about others; its own bits follow.
        (of_context,) = torch.autograd.grad(model.prior.bits(codes.detach(), distribution).sum(), codes)
    lower = latents.floor()
    slope = model.prior.bits(lower + 1, distribution) - model.prior.bits(lower, distribution)
    return (of_distortion + lagrangian * (of_context + slope)).detach()


def cost(
    model: LatentModel,
    codes: Tensor,
    chunk: Planes,
    past: PriorPast,
    quality: Tensor,
    arithmetic: Arithmetic,
    rows: slice,
) -> float:
    """Return the cost of some rows of centred codes `[1, n, H, W]`; the other arguments are those of `descend`."""
    with torch.no_grad():
        with arithmetic.autocast():
            decoded, _ = model.decode_chunk(codes.unsqueeze(2), quality)
            distribution = model.prior.of_frames(codes, past, quality)
        bits = model.prior.bits(codes, distribution)[:, :, rows].sum()
        wanted = (planes.block_rows(rows.start, rows.stop) for planes in (decoded, chunk))
        return float(_distortion(*wanted) + model.lagrangian(quality) * bits)


def _distortion(decoded: Planes, chunk: Planes) -> Tensor:
    """The distortion of the objective, times the pixels of the chunk."""
    planes = zip(decoded, chunk, _PLANE_WEIGHTS, strict=True)
    return 0.5 * DISTORTION_WEIGHT * torch.stack([w * (a - b).square().sum() for a, b, w in planes]).sum()


def soft_round(x: Tensor, sharpness: float) -> Tensor:
    """Rounding to integers that is a smooth curve; it comes near to steps as sharpness grows."""
    middle = x.floor() + 0.5
    return middle + torch.tanh(sharpness * (x - middle)) / (2 * math.tanh(sharpness / 2))
