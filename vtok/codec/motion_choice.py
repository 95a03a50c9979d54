"""Decides whether a chunk is aligned by its motion before it is coded.

It decides as training does (`vtok.networks.objective.choose_motion`), for one chunk: what cannot matter is skipped.
"""

from typing import NamedTuple

import numpy as np
import torch

from vtok.networks.latent_model import LatentModel
from vtok.networks.motion import align, estimate_bits
from vtok.networks.objective import ALIGNMENT_FACTOR
from vtok.networks.planes import Planes
from vtok.video.motion import Vectors


class ChosenForm(NamedTuple):
    """What is coded of a chunk."""

    chunk: Planes  # aligned or not, luma [1, 8, 8 H, 8 W]
    alignment: Vectors  # [7, 2, rows, columns]; zero if it is not aligned


def choose_alignment(model: LatentModel, chunk: Planes, alignment: Vectors, quality: torch.Tensor) -> ChosenForm:
    """Choose by estimated cost.

    Args:
        model: The model that will code the chunk.
        chunk: The chunk, luma `[1, 8, 8 H, 8 W]`.
        alignment: The vectors found for it, `[7, 2, rows, columns]`.
        quality: Qualities `[1]`.
    """
    if not alignment.any():
        return ChosenForm(chunk, alignment)
    vectors = torch.from_numpy(alignment)[None].to(chunk.y.device)
    aligned = align(chunk, vectors)
    bits = model.lagrangian(quality) * estimate_bits(vectors)
    cost, aligned_cost = (model.estimate_cost(x, quality).sum((1, 2)) for x in (chunk, aligned))
    if aligned_cost + bits < ALIGNMENT_FACTOR * cost:
        return ChosenForm(aligned, alignment)
    return ChosenForm(chunk, np.zeros_like(alignment))
