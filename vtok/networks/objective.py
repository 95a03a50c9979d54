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
from torch import Tensor, nn

from vtok.networks.klt import PATCH
from vtok.networks.latent_model import LatentModel
from vtok.networks.motion import VideoMotion, align, displace, estimate_bits, mask, restore
from vtok.networks.planes import Planes
from vtok.networks.prior import Distribution

# A block is predicted where that makes it this much cheaper: the codes of what is left help less to predict later ones.
PREDICTION_FACTOR = 0.8
ALIGNMENT_FACTOR = 0.97  # and a chunk is aligned where that makes it this much cheaper
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
    motion: VideoMotion | None = None  # that was chosen


def code_predicted(model: LatentModel, planes: Planes, motion: VideoMotion, quality: Tensor) -> Coded:
    """Code videos as a decoder will see them: each chunk is predicted from the last decoded frame before it.

    Args:
        model: The model.
        planes: Videos of whole blocks, luma `[b, 8 T, 8 H, 8 W]`.
        motion: The vectors of the chunks, and where they may be predicted; `choose_motion` decides.
        quality: Qualities `[b]`.
    """
    reference, latents, codes, decoded, chosen = None, [], [], [], []
    for number in range(planes.y.shape[1] // PATCH):
        chunk = planes.frames(number * PATCH, (number + 1) * PATCH)
        allowed = VideoMotion(motion.fields[:, number], motion.is_predicted[:, number])
        aligned, prediction, taken = choose_motion(model, chunk, reference, allowed, quality)
        starts = reference is None
        latents.append(model.encode_chunk(aligned, prediction, quality, starts_group=starts))
        codes.append(model.quantizer(latents[-1]))
        chunk = model.decode_chunk(codes[-1], prediction, quality, starts_group=starts)
        decoded.append(restore(chunk, taken.fields[:, :-1]))
        reference = _as_put_out(decoded[-1].frames(PATCH - 1, PATCH))
        chosen.append(taken)
    video = Planes(*(torch.cat(parts, dim=1) for parts in zip(*decoded, strict=True)))
    taken = VideoMotion(*(torch.stack(parts, dim=1) for parts in zip(*chosen, strict=True)))
    return Coded(torch.cat(latents, dim=2), torch.cat(codes, dim=2), video, taken)


def choose_motion(
    model: LatentModel, chunk: Planes, reference: Planes | None, motion: VideoMotion, quality: Tensor
) -> tuple[Planes, Planes, VideoMotion]:
    """Decide by estimated cost whether each chunk is aligned, and which of its blocks are predicted.

    Args:
        model: The model.
        chunk: A chunk of each video, luma `[b, 8, 8 H, 8 W]`.
        reference: The last decoded frames before, luma `[b, 1, 8 H, 8 W]`; None at the start.
        motion: Vectors `[b, 8, 2, rows, columns]`, and where blocks may be predicted, `[b, rows, columns]`.
        quality: Qualities `[b]`.

    Returns:
        The aligned chunk, the prediction of each of its frames (zero where there is none) and the motion that was
        chosen, with the shapes of `motion`.
    """
    fields = motion.fields.float()
    alignment = fields[:, :-1]
    moved = None if reference is None else displace(reference, fields[:, -1])
    with torch.no_grad():
        forms = []
        bits = estimate_bits(alignment), torch.zeros_like(quality)
        for aligned, vector_bits in zip((align(chunk, alignment), chunk), bits, strict=True):
            cost = costs_of_blocks(model.estimate_cost(aligned, quality))
            is_predicted = torch.zeros_like(motion.is_predicted)
            if moved is not None:
                left = Planes(*(a - b for a, b in zip(aligned, moved, strict=True)))
                predicted_cost = costs_of_blocks(model.estimate_cost(left, quality))
                is_predicted = motion.is_predicted & (predicted_cost < PREDICTION_FACTOR * cost)
                cost = torch.where(is_predicted, predicted_cost, cost)
            forms.append((cost.sum((1, 2)) + model.lagrangian(quality) * vector_bits, aligned, is_predicted))
        takes_alignment = forms[0][0] < ALIGNMENT_FACTOR * forms[1][0]

        def chosen(yes: Tensor, no: Tensor) -> Tensor:
            return torch.where(takes_alignment.view(-1, *[1] * (yes.dim() - 1)), yes, no)

        aligned = Planes(*(chosen(yes, no) for yes, no in zip(forms[0][1], forms[1][1], strict=True)))
        is_predicted = chosen(forms[0][2], forms[1][2])
        # A field that displaces nothing is not coded.
        uses_last = is_predicted.any((1, 2)).view(-1, 1, 1, 1, 1)
        fields = torch.cat([chosen(alignment, 0 * alignment), fields[:, -1:] * uses_last], dim=1)
    if moved is None:
        prediction = Planes(*(torch.zeros_like(plane[:, :1]) for plane in chunk))
    else:
        prediction = mask(moved, is_predicted)
    return aligned, prediction, VideoMotion(fields, is_predicted)


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

    def forward(self, planes: Planes, quality: Tensor, motion: VideoMotion, noise_seeds: Sequence[int] = ()) -> Outcome:
        """Code `planes` and compare the result with them; `evaluate` explains the other arguments."""
        coded = code_predicted(self.model, planes, motion, quality)
        return evaluate(self.model, coded, planes, quality, self.config, noise_seeds=noise_seeds)
