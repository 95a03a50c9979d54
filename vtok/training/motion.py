"""The motion of a batch of clips at its qualities."""

import torch
from torch import Tensor

from vtok.networks.latent_model import LatentModel
from vtok.networks.motion import VideoMotion


def motion_at(
    model: LatentModel, lagrangians: tuple[float, ...], fields: Tensor, quality: Tensor, may_predict: Tensor
) -> VideoMotion:
    """Take the motion of each clip that was searched with the lagrangian nearest to that of the clip's quality.

    Args:
        model: The model that will code the clips.
        lagrangians: The lagrangians of the search.
        fields: Motion `[b, lagrangians, T, 8, 2, rows, columns]`.
        quality: Qualities `[b]`.
        may_predict: Whether each chunk may be predicted, `[b, T]`; none is by a model that does not.
    """
    searched = torch.tensor(lagrangians, device=quality.device).log()
    wanted = model.search_lagrangian(quality).log()
    nearest = (wanted[:, None] - searched).abs().argmin(1)
    chosen = fields[torch.arange(len(fields), device=fields.device), nearest]
    rows, columns = chosen.shape[-2:]
    may_predict = may_predict & model.config.predicts
    return VideoMotion(chosen, may_predict[:, :, None, None].expand(-1, -1, rows, columns))
