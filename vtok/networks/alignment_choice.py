"""Decides which chunks are aligned by their motion: those that this makes cheaper to code."""

import torch
from torch import Tensor

from vtok.networks.latent_model import LatentModel
from vtok.networks.motion import align, estimate_bits, restore
from vtok.networks.planes import Planes

# A chunk is aligned where that makes it this much cheaper by estimate. What alignment loses in late channels is not in
# the estimate, and counts from about quality 6 on.
FACTOR_OF_LOW, FACTOR_OF_HIGH = 1.0, 0.97
LOW, HIGH = 5.0, 7.0


def choose_alignment(model: LatentModel, chunks: Planes, fields: Tensor, quality: Tensor) -> tuple[Planes, Tensor]:
    """Align those chunks that this makes cheaper, by estimated cost.

    A single chunk is overwritten if there are no gradients.

    Args:
        model: The model that will code the chunks.
        chunks: Chunks, luma `[b, 8, 8 H, 8 W]`.
        fields: The vectors found for them, `[b, 7, 2, rows, columns]`.
        quality: Qualities `[b]`.

    Returns:
        The chunks, aligned or not, and the vectors that align them, zero where they are not.
    """
    if not fields.any():
        return chunks, fields
    # Large chunks take hundreds of megabytes: one alone is aligned in place, and that is undone if it does not pay.
    is_single = len(quality) == 1 and not torch.is_grad_enabled()
    with torch.no_grad():
        cost = model.estimate_cost(chunks, quality).sum((1, 2))
        aligned = align(chunks, fields, overwrite=is_single)
        aligned_cost = model.estimate_cost(aligned, quality).sum((1, 2))
        aligned_cost = aligned_cost + model.lagrangian(quality) * estimate_bits(fields)
        is_better = aligned_cost < _factor(quality) * cost
    if is_better.all():
        return aligned, fields
    if not is_better.any():
        return restore(aligned, fields) if is_single else chunks, torch.zeros_like(fields)

    def chosen(yes: Tensor, no: Tensor) -> Tensor:
        return torch.where(is_better.view(-1, *[1] * (yes.dim() - 1)), yes, no)

    planes = Planes(*(chosen(yes, no) for yes, no in zip(aligned, chunks, strict=True)))
    return planes, chosen(fields, torch.zeros_like(fields))


def _factor(quality: Tensor) -> Tensor:
    share = ((quality - LOW) / (HIGH - LOW)).clamp(0, 1)
    return FACTOR_OF_LOW + (FACTOR_OF_HIGH - FACTOR_OF_LOW) * share
