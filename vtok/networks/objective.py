"""The training objective: distortion plus lambda times rate, over all qualities at once.

    distortion = distortion_weight * (MSE_Y / 2 + MSE_U / 4 + MSE_V / 4)     samples in [-1, 1]
    rate       = bits per pixel under the prior
    cost       = distortion + lambda(quality) * rate
    jumps      = jump_weight * distortion of (first frames of chunks - last frames of those before)
    loss       = mean over clips of  (cost + jumps) / (cost without gradient + balance_floor * sqrt(lambda))

Mean squared error ignores whether consecutive frames have similar errors, but viewers notice: jumps make a video pulse.
The last line makes a percent of a cheap clip worth about as much as a percent of an expensive one, as in BD-rate, which
averages percentages over clips and qualities. The floor keeps black frames from dominating.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vtok.networks.klt import PATCH, pad_to_blocks
from vtok.networks.latent_model import LatentModel
from vtok.networks.motion import VideoMotion, align, displace, mask, restore
from vtok.networks.planes import Planes
from vtok.networks.prior import Distribution

PLANE_WEIGHTS = (0.5, 0.25, 0.25)  # of Y, U and V in the distortion


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveConfig:
    """The weights of the objective's terms.

    Attributes:
        distortion_weight: Weight of the mean squared error, of samples in [-1, 1].
        jump_weight: Weight of the change of errors from the last frame of a chunk to the first of the next.
        balance_floor: Term added to a clip's cost before its loss is divided by it, in units of `sqrt(lambda)`.
    """

    distortion_weight: float = 100.0
    jump_weight: float = 0.1
    balance_floor: float = 0.3


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of a model on a batch, per clip `[b]`."""

    loss: Tensor
    cost: Tensor
    bits_per_pixel: Tensor
    squared_error: Tensor  # [3, b], mean per plane
    quality: Tensor


class Coded(NamedTuple):
    """Videos coded by a model, with straight-through rounding."""

    latents: Tensor  # [b, n, T, H, W]
    codes: Tensor  # centred, [b, n, T, H, W]
    decoded: Planes  # of the size of the videos


def code(model: LatentModel, planes: Planes, quality: Tensor) -> Coded:
    """Code `planes`, luma `[b, t, h, w]` of any size, at `quality [b]`."""
    t, h, w = planes.y.shape[1:]
    latents, _ = model.encode(pad_to_blocks(planes), quality)
    codes = model.quantizer(latents)
    decoded, _ = model.decode(codes, quality)
    return Coded(latents, codes, decoded.crop(h, w).frames(0, t))


def code_predicted(model: LatentModel, planes: Planes, motion: VideoMotion, quality: Tensor) -> Coded:
    """Code whole blocks of `planes`, luma `[b, 8 T, 8 H, 8 W]`, as a decoder will see them: each chunk is predicted from
    the last decoded frame before it, rounded to 8 bits.
    """
    fields = motion.fields.float()
    reference, latents, codes, decoded = None, [], [], []
    for number in range(planes.y.shape[1] // PATCH):
        chunk = planes.frames(number * PATCH, (number + 1) * PATCH)
        alignment = fields[:, number, :-1]
        with torch.no_grad():
            aligned = align(chunk, alignment)
        if reference is None:
            prediction = Planes(*(torch.zeros_like(plane[:, :1]) for plane in chunk))
        else:
            prediction = mask(displace(reference, fields[:, number, -1]), motion.is_predicted[:, number])
        latents.append(model.encode_chunk(aligned, prediction, quality))
        codes.append(model.quantizer(latents[-1]))
        decoded.append(restore(model.decode_chunk(codes[-1], prediction, quality), alignment))
        reference = _as_put_out(decoded[-1].frames(PATCH - 1, PATCH))
    video = Planes(*(torch.cat(parts, dim=1) for parts in zip(*decoded, strict=True)))
    return Coded(torch.cat(latents, dim=2), torch.cat(codes, dim=2), video)


def _as_put_out(planes: Planes) -> Planes:
    """`planes` rounded to 8 bits of limited range; the gradient passes straight through, except beyond 0 and 255."""
    with torch.no_grad():
        rounded = Planes.from_uint8(*planes.to_uint8(full_range=False), full_range=False)
    low, high = (Planes.from_uint8(*torch.tensor([[x] * 3]).T, full_range=False) for x in (0, 255))
    clamped = (p.clamp(float(a), float(b)) for p, a, b in zip(planes, low, high, strict=True))
    return Planes(*(p + (r - p).detach() for p, r in zip(clamped, rounded, strict=True)))


def evaluate(
    model: LatentModel,
    coded: Coded,
    target: Planes,
    quality: Tensor,
    config: ObjectiveConfig,
    *,
    motion: VideoMotion | None = None,
    noise_seeds: Sequence[int] = (),
) -> Outcome:
    """Compute the cost and the loss of coded videos.

    Args:
        model: The model that coded them.
        coded: The coded videos.
        target: The originals to compare with, luma `[b, t, h, w]`.
        quality: Quality of each clip, `[b]`.
        config: Weights of the objective's terms.
        motion: The motion of the videos, for a predictive model.
        noise_seeds: A seed for each clip, so that noise does not depend on the rest of a batch; needed with gradients.
    """
    bits = code_length(model, coded.latents, coded.codes, model.prior(coded.codes, quality, motion), noise_seeds)
    bits_per_pixel = bits.sum((1, 2, 3, 4)) / target.y[0].numel()
    differences = [a - b for a, b in zip(target, coded.decoded, strict=True)]
    errors = torch.stack([(x**2).mean((1, 2, 3)) for x in differences])
    jumps = torch.stack([_jumps(x) for x in differences])
    weights = config.distortion_weight * _plane_weights(errors.device)[:, None]
    lam = model.lagrangian(quality)
    cost = (weights * errors).sum(0) + lam * bits_per_pixel
    loss = (cost + config.jump_weight * (weights * jumps).sum(0)) / balance(cost, lam, config)
    return Outcome(loss, cost, bits_per_pixel, errors, quality)


@cache
def _plane_weights(device: torch.device) -> Tensor:
    """Return `PLANE_WEIGHTS` on a device, copied once: a training step that copies has to wait for the GPU."""
    return torch.tensor(PLANE_WEIGHTS, device=device)


def balance(cost: Tensor, lam: Tensor, config: ObjectiveConfig) -> Tensor:
    """Return the divisor of each clip's loss, `[b]`, from the clip's cost and lambda."""
    return cost.detach() + config.balance_floor * lam.sqrt()


def _jumps(errors: Tensor) -> Tensor:
    """Return the mean squared change of `errors [b, t, h, w]` from a chunk to the next; 0 for a single chunk."""
    changes = errors[:, PATCH::PATCH] - errors[:, PATCH - 1 : -1 : PATCH]
    return changes.square().mean((1, 2, 3)) if changes.numel() else errors.new_zeros(len(errors))


def code_length(
    model: LatentModel, latents: Tensor, codes: Tensor, distribution: Distribution, noise_seeds: Sequence[int]
) -> Tensor:
    """Return the bits of every code, with one gradient for the prior and another for the encoder.

    The prior learns from the rounded codes. The encoder cannot: at a code of zero the code length is at its minimum and
    flat, so no gradient stops the distortion from growing small latents until they round to one (at low qualities the
    rate of unimportant channels doubled within an hour). The encoder's gradient is therefore that of the length at the
    latent plus uniform noise; its mean is the true difference between neighbouring codes (after Balle et al. 2017,
    https://arxiv.org/abs/1611.01704).
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
    """Draw uniform noise in [0, 1); a seed always gives the same numbers, but others on a GPU than on a processor."""
    return torch.rand(shape, generator=torch.Generator(device).manual_seed(seed), device=device)


class Objective(nn.Module):
    """The objective of a model, as a module, so that several processes can average its gradients."""

    def __init__(self, model: LatentModel, config: ObjectiveConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(
        self, planes: Planes, quality: Tensor, noise_seeds: Sequence[int] = (), motion: VideoMotion | None = None
    ) -> Outcome:
        """Code `planes` and compare the result with them; `evaluate` explains the other arguments."""
        coded = code(self.model, planes, quality) if motion is None else code_predicted(self.model, planes, motion, quality)
        return evaluate(self.model, coded, planes, quality, self.config, motion=motion, noise_seeds=noise_seeds)
