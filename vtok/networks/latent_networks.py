"""The networks of the pretrained model: small dense convolutions on the latent grid, without norms.

They see one chunk of eight frames, `[b, c, H, W]`. There is no normalisation, so tiling and resolution change no
result. Every network is a residual whose last layer starts at zero: before training, the model is the linear transform
it is built around.
"""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vtok.networks.klt import CELL_VALUES, PATCH, BlockTransform, frame_of_cells, spread_over_cells
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
        self.blocks = nn.ModuleList(LatentBlock(dim, num_qualities) for _ in range(num_blocks))
        self.leave = zero_conv(dim, num_channels, 1)

    def forward(self, transform: BlockTransform, blocks: Tensor, quality: Tensor) -> Tensor:
        """Blocks `[b, 768, H, W]` to latents `[b, n, H, W]`."""
        coefficients = transform.analyse(blocks)
        scale = transform.scale[:, None, None]
        x = self.enter(coefficients / scale)
        for block in self.blocks:
            x = block(x, quality)
        latents: Tensor = coefficients + self.leave(x) * scale
        return latents


class SynthesisNetwork(nn.Module):
    """Latents to block vectors: a residual network, the synthesis matrix, and a refinement on the half-size grid.

    The refinement sees cells of 4 x 4 pixels and all 8 frames, across the borders of the 8 x 8 blocks, and so removes
    block edges. `ChunkBlend`, if it has a width, does the same for the ends of chunks.
    """

    def __init__(
        self,
        num_channels: int,
        dim: int,
        num_blocks: int,
        refine_dim: int,
        guide_dim: int,
        blend_dim: int,
        num_qualities: int,
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
        self.blend = ChunkBlend(refine_dim, blend_dim, num_qualities) if blend_dim else None

    def forward(
        self, transform: BlockTransform, latents: Tensor, quality: Tensor, *, refinement_gradient: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Latents `[b, n, H, W]` to cells `[b, 192, 2H, 2W]`.

        Also returns the blend's hint, `[b, blend_dim, 2H, 2W]`, if there is a blend. Without the refinement's gradient,
        cells have the gradient that they would have without refinement: nearly the same, in less time.
        """
        scale = transform.scale[:, None, None]
        x = self.enter(latents / scale)
        for block in self.blocks:
            x = block(x, quality)
        cells = transform.synthesise(latents + self.leave(x) * scale).float()
        with nullcontext() if refinement_gradient else torch.no_grad():
            r = self.refine_enter(torch.cat([cells, self._guide(x)], dim=1))
            r = F.silu(r + self.refine_quality(quality)[:, :, None, None].to(r.dtype))
            r = F.silu(r + self.refine_hidden(r))
            refinement, hint = self.refine_leave(r), self.blend.from_features(r) if self.blend is not None else None
        return cells + refinement, hint

    def _guide(self, x: Tensor) -> Tensor:
        """The refinement's input from the latent grid, `[b, guide_dim, 2H, 2W]`."""
        weight, bias = (rearrange(p, "(c i j) ... -> (i j c) ...", i=2, j=2) for p in self.guide.parameters())
        return spread_over_cells(convolve(x, weight, bias))


class ChunkBlend(nn.Module):
    """Moves the first frames of a chunk towards the last frame of the chunk before, where that makes time smoother.

    Chunks are coded one by one. So even where nothing moves, quantization removes from one chunk what it leaves in the
    next, and every eighth frame jumps. The jump of a sample, times a gate, is added to the first frame and, fading, to
    the frames after it. There are two ways to fade, each with a gate. (A network can choose gates; it cannot copy
    samples.)

        frame 0 .. 7 += strength x jump x (gate_1 x (1, 1/2, 1/4 .. 1/64, 0) + gate_2 x (1, 6/7, 5/7 .. 1/7, 0))

    The last frame stays unchanged. Frames are those that are put out: alignment has been undone.

    Args:
        dim_in: Width of the features of the refinement that the gates depend on, in addition to the jump.
        dim: Width of the hidden layer.
        num_qualities: Number of qualities; each has a strength.
    """

    fade: Tensor

    def __init__(self, dim_in: int, dim: int, num_qualities: int) -> None:
        super().__init__()
        num_values = CELL_VALUES // PATCH
        self.from_jump = conv(2 * num_values, dim, 3)
        self.from_features = conv(dim_in, dim, 1)
        self.leave = zero_conv(dim, 2 * num_values, 1)
        self.log_strength = QualityTable(num_qualities, 1)
        self.register_buffer("fade", _fade_matrix()[:, :, None, None], persistent=False)

    def forward(self, jump: Tensor, hint: Tensor, quality: Tensor) -> Tensor:
        """What to add to chunks.

        Args:
            jump: Last frame of the chunk before less the first of the chunk, as cells `[b, 24, 2H, 2W]`, float32.
            hint: Output of `from_features`, `[b, dim, 2H, 2W]`.
            quality: Qualities `[b]`.

        Returns:
            Cells `[b, 192, 2H, 2W]`, float32.
        """
        seen = F.hardtanh(jump * _JUMP_SCALE, -_JUMP_LIMIT, _JUMP_LIMIT)
        x = self.from_jump(torch.cat([seen, seen.abs()], dim=1)) + hint
        strength = self.log_strength(quality).exp()[:, :, None, None]
        moved = self.leave(F.silu(x)) * torch.cat([jump, jump], dim=1) * strength
        return convolve(moved, self.fade).float()


_JUMP_SCALE, _JUMP_LIMIT = 16.0, 4.0  # the network sees a jump of 8 steps of 8-bit luma as 1, of 32 and more as 4


def _fade_matrix() -> Tensor:
    """The factors `[192, 48]` with which a frame's values, times either gate, are added to a cell's values."""
    with torch.device("cpu"):  # weights are loaded into networks without a device, and this is not among them
        time, number = torch.arange(PATCH, dtype=torch.float32), torch.arange(CELL_VALUES).view(1, -1, 1, 1)
        matrix = torch.zeros(CELL_VALUES, 2, CELL_VALUES // PATCH, dtype=torch.float32)
    fades = torch.stack([0.5**time, 1 - time / (PATCH - 1)])
    fades[:, -1] = 0
    for t in range(PATCH):
        values = frame_of_cells(number, t).flatten()
        matrix[values, :, torch.arange(len(values), device="cpu")] = fades[:, t]
    return matrix.flatten(1)
