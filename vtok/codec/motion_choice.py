"""Decides how a chunk is coded: whether it is aligned by its motion, and which of its blocks are predicted.

It decides as training does (`vtok.networks.objective.choose_motion`), for one chunk: what cannot matter is skipped.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vtok.networks.latent_model import LatentModel
from vtok.networks.motion import align, estimate_bits
from vtok.networks.objective import ALIGNMENT_FACTOR, PREDICTION_FACTOR, costs_of_blocks
from vtok.networks.planes import Planes
from vtok.video.motion import ChunkMotion, Mask, Vectors


class ChosenForm(NamedTuple):
    """What is coded of a chunk."""

    chunk: Planes  # aligned or not, luma [1, 8, 8 H, 8 W]
    motion: ChunkMotion


def choose_motion(
    model: LatentModel, chunk: Planes, moved: Planes | None, fields: Vectors, quality: Tensor
) -> ChosenForm:
    """Choose by estimated cost.

    Args:
        model: The model that will code the chunk.
        chunk: The chunk, luma `[1, 8, 8 H, 8 W]`.
        moved: The frame that predicts each frame of the aligned chunk, luma `[1, 1, 8 H, 8 W]`; None if none does.
        fields: The vectors found for it, `[8, 2, rows, columns]`.
        quality: Qualities `[1]`.
    """
    alignment = fields[:-1]
    if moved is None and not alignment.any():
        return ChosenForm(chunk, ChunkMotion(np.zeros_like(fields), np.zeros(fields.shape[2:], np.bool_)))
    cost, is_predicted = _cost(model, chunk, moved, quality)
    chosen, vectors = chunk, np.zeros_like(fields)
    if alignment.any():
        on_device = torch.from_numpy(alignment)[None].to(chunk.y.device)
        aligned = align(chunk, on_device)
        aligned_cost, aligned_is_predicted = _cost(model, aligned, moved, quality)
        if aligned_cost + model.lagrangian(quality) * estimate_bits(on_device) < ALIGNMENT_FACTOR * cost:
            chosen, is_predicted, vectors = aligned, aligned_is_predicted, fields.copy()
    # A field that displaces nothing is not coded.
    vectors[-1] = fields[-1] * is_predicted.any()
    return ChosenForm(chosen, ChunkMotion(vectors, is_predicted))


def _cost(model: LatentModel, chunk: Planes, moved: Planes | None, quality: Tensor) -> tuple[Tensor, Mask]:
    """The cost of a chunk, `[1]`, if the blocks that are cheaper predicted are, and which these are."""
    cost = costs_of_blocks(model.estimate_cost(chunk, quality))
    if moved is None:
        return cost.sum((1, 2)), np.zeros(tuple(cost.shape[1:]), np.bool_)
    predicted_cost = costs_of_blocks(model.estimate_cost(chunk, quality, moved))
    is_predicted = predicted_cost < PREDICTION_FACTOR * cost
    return torch.where(is_predicted, predicted_cost, cost).sum((1, 2)), is_predicted[0].cpu().numpy()
