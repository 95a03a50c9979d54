"""The network of one group of channels in the prior (`vtok.networks.prior`)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtok.networks.layers import NearConv2d, QualityTable, conv, zero_conv

NUM_GATES = 4  # temporal gate, spatial gate, correction, log2 of the scale's factor
NUM_GATES_SINGLE_PASS = 3  # temporal gate, correction, log2 of the scale's factor


class GroupNetwork(nn.Module):
    """Gates, correction and scale factor of one group of channels.

    Args:
        start: First channel of the group.
        size: Number of channels of the group.
        context_dim: Width of the temporal context.
        dim: Width of the hidden layers.
        num_near: Number of channels of the groups before that the network sees around a position.
        single_pass: Whether the group is coded in one pass.
        num_qualities: Number of rows of the quality table.
    """

    def __init__(
        self,
        start: int,
        size: int,
        *,
        context_dim: int,
        dim: int,
        num_near: int,
        single_pass: bool,
        num_qualities: int,
    ) -> None:
        super().__init__()
        self.from_context = conv(context_dim, dim, 1)
        self.from_lower = NearConv2d(start, dim, num_near) if start else None
        self.from_own = None if single_pass else conv(size, dim, 3)
        self.second_pass = None if single_pass else nn.Parameter(torch.zeros(dim))
        self.quality = QualityTable(num_qualities, dim)
        self.hidden = conv(dim, dim, 1)
        self.num_gates = NUM_GATES_SINGLE_PASS if single_pass else NUM_GATES
        self.out = zero_conv(dim, self.num_gates * size, 1)

    def forward(self, context: Tensor, lower: Tensor, first_pass: Tensor, is_second: Tensor, quality: Tensor) -> Tensor:
        """Outputs `[b, num_gates, size, H, W]`.

        Args:
            context: Context from the previous latent frames, `[b, context_dim, H, W]`.
            lower: Companded codes of all groups before, `[b, start, H, W]`.
            first_pass: Companded own codes of the first pass, zero elsewhere, `[b, size, H, W]`; not used by a group
                with one pass.
            is_second: 1 at the positions of the second pass, `[H, W]`.
            quality: Qualities `[b]`.
        """
        x = self.from_context(context) + self.quality(quality)[:, :, None, None]
        if self.from_lower is not None:
            x = x + self.from_lower(lower)
        if self.from_own is not None and self.second_pass is not None:
            x = x + (self.from_own(first_pass) + self.second_pass[:, None, None]) * is_second
        x = F.relu6(self.hidden(F.relu6(x)))
        out: Tensor = self.out(x).unflatten(1, (self.num_gates, -1))
        return out
