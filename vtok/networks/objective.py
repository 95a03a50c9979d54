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
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vtok.networks.alignment_choice import choose_alignment
from vtok.networks.displaced_codes import displaced_codes, is_displaced
from vtok.networks.klt import PATCH
from vtok.networks.latent_model import LatentModel
from vtok.networks.motion import restore
from vtok.networks.motion_maps import motion_maps
from vtok.networks.planes import Planes
from vtok.networks.prior import Distribution, PriorMotion, delay

# A block is displaced against the chunk before where that makes its first channels this much cheaper, after a vector.
DISPLACEMENT_FACTOR = 1.05
BITS_OF_VECTOR = 3.0
CHANNELS_TO_COMPARE = 32
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
    motion: PriorMotion | None = None


def code(model: LatentModel, planes: Planes, fields: Tensor, quality: Tensor) -> Coded:
    """Code videos as a decoder will see them.

    Args:
        model: The model.
        planes: Videos of whole blocks, luma `[b, 8 T, 8 H, 8 W]`.
        fields: The vectors found for their chunks, `[b, T, 8, 2, rows, columns]`; those are used that pay.
        quality: Qualities `[b]`.
    """
    b, num_chunks = fields.shape[:2]
    chunks = Planes(*(rearrange(plane, "b (T t) h w -> (b T) t h w", t=PATCH) for plane in planes))
    of_chunks = quality.repeat_interleave(num_chunks)
    aligned, alignment = choose_alignment(model, chunks, fields[:, :, :-1].flatten(0, 1), of_chunks)
    latents = rearrange(model.encode_chunk(aligned, of_chunks), "(b T) n 1 H W -> b n T H W", b=b)
    codes = model.quantizer(latents)
    decoded, hint = model.decode_chunk(rearrange(codes, "b n T H W -> (b T) n 1 H W"), of_chunks)
    decoded = restore(decoded, alignment)
    if hint is not None:
        decoded = _blend(model, decoded, hint, of_chunks, num_chunks)
    video = Planes(*(rearrange(plane, "(b T) t h w -> b (T t) h w", b=b) for plane in decoded))
    motion = see_motion(
        model, codes, torch.cat([rearrange(alignment, "(b T) ... -> b T ...", b=b), fields[:, :, -1:]], dim=2), quality
    )
    return Coded(latents, codes, video, motion)


def _blend(model: LatentModel, chunks: Planes, hint: Tensor, quality: Tensor, num_chunks: int) -> Planes:
    """Let each chunk but the first of each video go on smoothly from the last frame before it, as that is put out."""
    last = _as_put_out(chunks.frames(PATCH - 1, PATCH))
    before = Planes(*(plane.roll(1, 0) for plane in last))
    change = model.blend(chunks.frames(0, 1), before, hint, quality)
    is_later = (torch.arange(len(quality), device=quality.device) % num_chunks > 0).float().view(-1, 1, 1, 1)
    return Planes(*(a + is_later * b for a, b in zip(chunks, change, strict=True)))


def see_motion(model: LatentModel, codes: Tensor, fields: Tensor, quality: Tensor) -> PriorMotion:
    """What the prior sees of the motion of chunks: displaced where that makes their codes cheaper, by a guess.

    Args:
        model: The model of the codes.
        codes: Centred codes `[b, n, T, H, W]`.
        fields: The vectors of the chunks, `[b, T, 8, 2, rows, columns]`.
        quality: Qualities `[b]`.
    """
    b, _, num_chunks, h, w = codes.shape
    gain = model.gain(quality).flatten(1).repeat_interleave(num_chunks, 0)
    previous, own = (rearrange(x, "b n T H W -> (b T) n H W") for x in (delay(codes, 1), codes))
    vectors = fields[:, :, -1].flatten(0, 1)
    displaced = displaced_codes(model.transform, previous, vectors, gain, model.prior.context_channels[0])
    with torch.no_grad():
        expected, in_place, alone = (guess_bits(own - x) for x in (displaced, previous, 0))
        saved = torch.minimum(in_place, alone) - DISPLACEMENT_FACTOR * expected
        starts = torch.arange(b * num_chunks, device=codes.device) % num_chunks == 0
        is_better = (saved > BITS_OF_VECTOR) & ~starts.view(-1, 1, 1)
        vectors = vectors * is_better[:, None]
    previous = torch.where(is_displaced(vectors, h, w), displaced, previous)
    fields = torch.cat([fields[:, :, :-1], rearrange(vectors, "(b T) ... -> b T 1 ...", b=b)], dim=2)
    return PriorMotion(rearrange(previous, "(b T) n H W -> b n T H W", b=b), motion_maps(fields, h, w))


def guess_bits(differences: Tensor) -> Tensor:
    """About how many bits codes cost that differ by `differences [b, n, H, W]` from what is expected, per block.

    Returns:
        Bits `[b, rows, columns]`, of the first channels.
    """
    size = differences[:, :CHANNELS_TO_COMPARE].abs()
    return costs_of_blocks(((size > 0) + 2 * torch.log2(1 + size)).sum(1))


def costs_of_blocks(cost: Tensor) -> Tensor:
    """Sums over the blocks of motion, `[b, rows, columns]`, of costs on the latent grid, `[b, H, W]`."""
    padded = F.pad(cost, (0, cost.shape[2] % 2, 0, cost.shape[1] % 2))
    return 4 * F.avg_pool2d(padded[:, None], 2)[:, 0]


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
    noise_seeds: Sequence[int] = (),
) -> Outcome:
    """Compute the cost and the loss of coded videos.

    Args:
        model: The model that coded them.
        coded: The coded videos.
        target: The originals to compare with, luma `[b, t, h, w]`.
        quality: Quality of each clip, `[b]`.
        config: Weights of the objective's terms.
        noise_seeds: A seed for each clip, so that noise does not depend on the rest of a batch; needed with gradients.
    """
    distribution = model.prior(coded.codes, quality, coded.motion)
    bits = code_length(model, coded.latents, coded.codes, distribution, noise_seeds)
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

    def forward(self, planes: Planes, quality: Tensor, fields: Tensor, noise_seeds: Sequence[int] = ()) -> Outcome:
        """Code `planes`, whose motion is `fields`, and compare the result with them; see `code` and `evaluate`."""
        coded = code(self.model, planes, fields, quality)
        return evaluate(self.model, coded, planes, quality, self.config, noise_seeds=noise_seeds)
