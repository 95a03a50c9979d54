"""Measures rate and quality of a model on the clips of a validation cache."""

from dataclasses import dataclass

import torch

from vtok.networks.arithmetic import Arithmetic
from vtok.networks.latent_model import LatentModel
from vtok.networks.objective import Objective, ObjectiveConfig, Outcome
from vtok.training.clip_cache import ClipCache
from vtok.training.motion import motion_at

BATCH_SIZE = 8


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Means over clips at one quality: ideal bits per pixel under the prior, PSNR-YUV (6:1:1) in dB, and log cost."""

    quality: int
    bits_per_pixel: float
    psnr_yuv: float
    log_cost: float


@torch.no_grad()
def validate(
    model: LatentModel,
    cache: ClipCache,
    qualities: tuple[int, ...],
    objective: ObjectiveConfig,
    arithmetic: Arithmetic,
) -> list[OperatingPoint]:
    """Return one operating point per quality, over all clips of `cache`, trimmed to whole chunks of eight frames."""
    points, evaluate = [], Objective(model.to(arithmetic.device), objective)
    for quality in qualities:
        rates, psnrs, costs = [], [], []
        for start in range(0, len(cache), BATCH_SIZE):
            planes = cache.planes(start, start + BATCH_SIZE)
            batch_quality = torch.full((len(planes.y),), float(quality), device=planes.y.device)
            fields = cache.fields(start, start + BATCH_SIZE)
            planes = planes.frames(0, 8 * fields.shape[2])
            fields = motion_at(model, cache.motion_lagrangians, fields, batch_quality)
            with arithmetic.autocast():
                outcome: Outcome = evaluate(planes, batch_quality, fields)
            psnr = 10 * torch.log10(4 / outcome.squared_error.clamp_min(1e-8))  # the range [-1, 1] is 2 wide
            rates.append(outcome.bits_per_pixel)
            psnrs.append((6 * psnr[0] + psnr[1] + psnr[2]) / 8)
            costs.append(outcome.cost.log())
        rate, psnr_yuv, log_cost = (torch.cat(x).mean().item() for x in (rates, psnrs, costs))
        points.append(OperatingPoint(quality, rate, psnr_yuv, log_cost))
    return points
