"""The motion of a batch of clips at its qualities."""

import torch
from torch import Tensor

from vtok.networks.latent_model import LatentModel


def motion_at(model: LatentModel, lagrangians: tuple[float, ...], fields: Tensor, quality: Tensor) -> Tensor:
    """Take the motion of each clip that was searched with the lagrangian nearest to that of the clip's quality.

    Args:
        model: The model that will code the clips.
        lagrangians: The lagrangians of the search.
        fields: Motion `[b, lagrangians, T, 8, 2, rows, columns]`.
        quality: Qualities `[b]`.

    Returns:
        Fields `[b, T, 8, 2, rows, columns]`.
    """
    searched = torch.tensor(lagrangians, device=quality.device).log()
    wanted = model.search_lagrangian(quality).log()
    nearest = (wanted[:, None] - searched).abs().argmin(1)
    return fields[torch.arange(len(fields), device=fields.device), nearest]
