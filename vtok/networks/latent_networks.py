"""The networks of the pretrained model: small dense convolutions on the latent grid, without norms.

They see one chunk of eight frames, `[b, c, H, W]`, and what predicts it. There is no normalisation, so tiling and
resolution change no result. Every network is a residual whose last layer starts at zero: before training, the model is
the linear transform it is built around.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vtok.networks.klt import (
    CELL_VALUES,
    PREDICTION_VALUES,
    BlockTransform,
    repeat_over_frames,
    spread_over_cells,
)
from vtok.networks.layers import QualityTable, conv, convolve, zero_conv


class LatentBlock(nn.Module):
    """`x + conv(1)(silu(conv(3, 3)(silu(x)) + quality))`."""

    def __init__(self, dim: int, num_qualities: int) -> None:
        super().__init__()
        self.spatial = conv(dim, dim, 3)
        self.quality = QualityTable(num_qualities, dim)
        self.temporal = zero_conv(dim, dim, 1)  # so called in released weights

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        """Features `[b, dim, H, W]` to features of the same shape, at `quality [b]`."""
        h = self.spatial(F.silu(x))
        h = F.silu(h + self.quality(quality)[:, :, None, None].to(h.dtype))
        out: Tensor = x + self.temporal(h)
        return out


class AnalysisNetwork(nn.Module):
    """Adds the encoder's residual to the coefficients of a block; it sees them normalised by their scale."""

    def __init__(self, num_channels: int, dim: int, num_blocks: int, num_qualities: int) -> None:
        super().__init__()
        self.enter = conv(num_channels, dim, 1)
        self.from_prediction = zero_conv(PREDICTION_VALUES, dim, 1)
        self.blocks = nn.ModuleList(LatentBlock(dim, num_qualities) for _ in range(num_blocks))
        self.leave = zero_conv(dim, num_channels, 1)

    def forward(self, transform: BlockTransform, blocks: Tensor, quality: Tensor, prediction: Tensor) -> Tensor:
        """What a prediction leaves of blocks, `[b, 768, H, W]`, and it, `[b, 96, H, W]`, to latents `[b, n, H, W]`."""
        coefficients = transform.analyse(blocks)
        scale = transform.scale[:, None, None]
        x = self.enter(coefficients / scale) + self.from_prediction(prediction)
        for block in self.blocks:
            x = block(x, quality)
        latents: Tensor = coefficients + self.leave(x) * scale
        return latents


class SynthesisNetwork(nn.Module):
    """Latents to block vectors: a residual network, the synthesis matrix, and a refinement on the half-size grid.

    The refinement sees cells of 4 x 4 pixels and all 8 frames, across the borders of the 8 x 8 blocks, and so removes
    block edges.
    """

    def __init__(
        self, num_channels: int, dim: int, num_blocks: int, refine_dim: int, guide_dim: int, num_qualities: int
    ) -> None:
        super().__init__()
        self.enter = conv(num_channels, dim, 1)
        self.from_prediction = zero_conv(PREDICTION_VALUES, dim, 1)
        self.blocks = nn.ModuleList(LatentBlock(dim, num_qualities) for _ in range(num_blocks))
        self.leave = zero_conv(dim, num_channels, 1)
        self.guide = conv(dim, 4 * guide_dim, 1)
        self.refine_enter = conv(CELL_VALUES + guide_dim, refine_dim, 3)
        self.refine_quality = QualityTable(num_qualities, refine_dim)
        self.refine_hidden = conv(refine_dim, refine_dim, 3)
        self.refine_leave = zero_conv(refine_dim, CELL_VALUES, 3)

    def forward(self, transform: BlockTransform, latents: Tensor, quality: Tensor, prediction: Tensor) -> Tensor:
        """Latents `[b, n, H, W]` and the prediction `[b, 96, H, W]` to cells `[b, 192, 2H, 2W]`.

        The prediction is added before the refinement, which so sees whole pictures.
        """
        scale = transform.scale[:, None, None]
        x = self.enter(latents / scale) + self.from_prediction(prediction)
        for block in self.blocks:
            x = block(x, quality)
        cells = transform.synthesise(latents + self.leave(x) * scale)
        cells = cells.float() + repeat_over_frames(prediction)
        r = self.refine_enter(torch.cat([cells, self._guide(x)], dim=1))
        r = F.silu(r + self.refine_quality(quality)[:, :, None, None].to(r.dtype))
        r = F.silu(r + self.refine_hidden(r))
        refined: Tensor = cells + self.refine_leave(r)
        return refined

    def _guide(self, x: Tensor) -> Tensor:
        """The refinement's input from the latent grid, `[b, guide_dim, 2H, 2W]`."""
        weight, bias = (rearrange(p, "(c i j) ... -> (i j c) ...", i=2, j=2) for p in self.guide.parameters())
        return spread_over_cells(convolve(x, weight, bias))
