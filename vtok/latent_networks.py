"""The networks of the pretrained model: small dense convolutions on the latent grid, causal in time, without norms.

They work on latent frames folded into the batch, `[b * T, c, H, W]`. Time enters in one place per block, a kernel of
two latent frames whose older tap is the block's state, so a video of any length runs in constant memory and without
seams. There is no normalisation, so neither tiling nor streaming nor resolution changes a result. Every network is a
residual whose last layer starts at zero: at the start, the model is the linear transform it is built around.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vtok.klt import CELL_VALUES, BlockTransform, spread_over_cells
from vtok.layers import QualityTable, conv, zero_conv

State = list[Tensor]  # per block: what the next latent frame needs of the last one, [b, dim, H, W]


class LatentBlock(nn.Module):
    """`x + conv(t)(silu(conv(1, 3, 3)(silu(x)) + quality))`, causal in time with a kernel of two."""

    def __init__(self, dim: int, num_qualities: int) -> None:
        super().__init__()
        self.spatial = conv(dim, dim, 3)
        self.quality = QualityTable(num_qualities, dim)
        self.temporal = zero_conv(2 * dim, dim, 1)

    def forward(self, x: Tensor, quality: Tensor, last: Tensor | None) -> tuple[Tensor, Tensor]:
        """One or more latent frames.

        Args:
            x: `[b * T, dim, H, W]`.
            quality: `[b]`.
            last: State after the latent frame before, `[b, dim, H, W]`; None at the start of a video.

        Returns:
            Output of x's shape and the new state.
        """
        b = len(quality)
        h = self.spatial(F.silu(x))
        t = len(x) // b
        h = F.silu(h + self.quality(quality).repeat_interleave(t, 0)[:, :, None, None].to(h.dtype))
        frames = rearrange(h, "(b t) c h w -> b t c h w", b=b)
        delayed = torch.zeros_like(frames[:, 0]) if last is None else last.to(h.dtype)
        if t > 1:
            delayed = torch.cat([delayed[:, None], frames[:, :-1]], dim=1).flatten(0, 1)
        return x + self.temporal(torch.cat([delayed, h], dim=1)), frames[:, -1]


def run_blocks(blocks: nn.ModuleList, x: Tensor, quality: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Apply `blocks` in turn, carrying each one's state."""
    new_state: State = []
    for i, block in enumerate(blocks):
        x, last = block(x, quality, None if state is None else state[i])
        new_state.append(last)
    return x, new_state


class AnalysisNetwork(nn.Module):
    """What the encoder adds to the coefficients of a block; it sees them normalised by their scale."""

    def __init__(self, num_channels: int, dim: int, num_blocks: int, num_qualities: int) -> None:
        super().__init__()
        self.enter = conv(num_channels, dim, 1)
        self.blocks = nn.ModuleList(LatentBlock(dim, num_qualities) for _ in range(num_blocks))
        self.leave = zero_conv(dim, num_channels, 1)

    def forward(
        self, transform: BlockTransform, blocks: Tensor, quality: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        """Blocks `[b * T, 768, H, W]` to latents `[b * T, n, H, W]` and the new state."""
        coefficients = transform.analyse(blocks)
        scale = transform.scale[:, None, None]
        x, state = run_blocks(self.blocks, self.enter(coefficients / scale), quality, state)
        return coefficients + self.leave(x) * scale, state


class SynthesisNetwork(nn.Module):
    """Latents to block vectors: a residual network, the synthesis matrix, and a refinement on the half-size grid.

    The refinement sees cells of 4 x 4 pixels and all 8 frames, across the borders of the 8 x 8 blocks: it is what takes
    block edges away.
    """

    def __init__(
        self, num_channels: int, dim: int, num_blocks: int, refine_dim: int, guide_dim: int, num_qualities: int
    ) -> None:
        super().__init__()
        self.enter = conv(num_channels, dim, 1)
        self.blocks = nn.ModuleList(LatentBlock(dim, num_qualities) for _ in range(num_blocks))
        self.leave = zero_conv(dim, num_channels, 1)
        self.guide = conv(dim, 4 * guide_dim, 1)
        self.refine_enter = conv(CELL_VALUES + guide_dim, refine_dim, 3)
        self.refine_quality = QualityTable(num_qualities, refine_dim)
        self.refine_hidden = conv(refine_dim, refine_dim, 3)
        self.refine_leave = zero_conv(refine_dim, CELL_VALUES, 3)

    def forward(
        self, transform: BlockTransform, latents: Tensor, quality: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        """Latents `[b * T, n, H, W]` to cells `[b * T, 192, 2H, 2W]` and the new state."""
        scale = transform.scale[:, None, None]
        x, state = run_blocks(self.blocks, self.enter(latents / scale), quality, state)
        cells = transform.synthesise(latents + self.leave(x) * scale)
        r = self.refine_enter(torch.cat([cells, self._guide(x)], dim=1))
        t = len(latents) // len(quality)
        r = F.silu(r + self.refine_quality(quality).repeat_interleave(t, 0)[:, :, None, None].to(r.dtype))
        r = F.silu(r + self.refine_hidden(r))
        return cells.float() + self.refine_leave(r), state

    def _guide(self, x: Tensor) -> Tensor:
        """What the refinement gets from the latent grid, `[b * T, guide_dim, 2H, 2W]`."""
        weight, bias = (rearrange(p, "(c i j) ... -> (i j c) ...", i=2, j=2) for p in self.guide.parameters())
        return spread_over_cells(F.conv2d(x, weight, bias))
