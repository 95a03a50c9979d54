"""The networks of the pretrained model: small dense convolutions on the latent grid, causal in time, without norms.

They work on latent frames folded into the batch, `[b * T, c, H, W]`. Time enters in one place per block: a kernel of
two latent frames, whose older tap is the block's state. So a video of any length runs in constant memory and without
seams. There is no normalisation, so tiling, streaming and resolution change no result. Every network is a residual
whose last layer starts at zero: before training, the model is the linear transform it is built around.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vtok.networks.klt import (
    CELL_VALUES,
    PATCH,
    PREDICTION_VALUES,
    BlockTransform,
    frame_of_cells,
    repeat_over_frames,
    spread_over_cells,
)
from vtok.networks.layers import QualityTable, conv, convolve, zero_conv

# For each block, the features of the last latent frame that the next one needs, [b, dim, H, W]; for a blend, the last
# frame of its cells.
State = list[Tensor]


class LatentBlock(nn.Module):
    """`x + conv(t)(silu(conv(1, 3, 3)(silu(x)) + quality))`, causal in time with a kernel of two."""

    def __init__(self, dim: int, num_qualities: int, *, carries_state: bool = True) -> None:
        super().__init__()
        self.spatial = conv(dim, dim, 3)
        self.quality = QualityTable(num_qualities, dim)
        self.temporal = zero_conv(2 * dim if carries_state else dim, dim, 1)
        self._carries_state = carries_state

    def forward(self, x: Tensor, quality: Tensor, last: Tensor | None) -> tuple[Tensor, Tensor]:
        """Apply the block to one or more latent frames.

        Args:
            x: Features `[b * T, dim, H, W]`.
            quality: Qualities `[b]`.
            last: State after the latent frame before, `[b, dim, H, W]`; None at the start of a video.

        Returns:
            Output of the shape of `x`, and the new state.
        """
        b = len(quality)
        h = self.spatial(F.silu(x))
        t = len(x) // b
        h = F.silu(h + self.quality(quality).repeat_interleave(t, 0)[:, :, None, None].to(h.dtype))
        if not self._carries_state:
            return x + self.temporal(h), h[:0]
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
    """Adds the encoder's residual to the coefficients of a block; it sees them normalised by their scale."""

    def __init__(
        self, num_channels: int, dim: int, num_blocks: int, num_qualities: int, *, is_predictive: bool = False
    ) -> None:
        super().__init__()
        self.enter = conv(num_channels, dim, 1)
        self.from_prediction = zero_conv(PREDICTION_VALUES, dim, 1) if is_predictive else None
        self.blocks = nn.ModuleList(
            LatentBlock(dim, num_qualities, carries_state=not is_predictive) for _ in range(num_blocks)
        )
        self.leave = zero_conv(dim, num_channels, 1)

    def forward(
        self,
        transform: BlockTransform,
        blocks: Tensor,
        quality: Tensor,
        state: State | None,
        prediction: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Blocks `[b * T, 768, H, W]`, and `[b * T, 96, H, W]` of their prediction, to latents `[b * T, n, H, W]`.

        The blocks are what the prediction leaves of the frames. Also returns the new state.
        """
        coefficients = transform.analyse(blocks)
        scale = transform.scale[:, None, None]
        x = self.enter(coefficients / scale)
        if self.from_prediction is not None and prediction is not None:
            x = x + self.from_prediction(prediction)
        x, state = run_blocks(self.blocks, x, quality, state)
        return coefficients + self.leave(x) * scale, state


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
        *,
        is_predictive: bool = False,
    ) -> None:
        super().__init__()
        self.enter = conv(num_channels, dim, 1)
        self.from_prediction = zero_conv(PREDICTION_VALUES, dim, 1) if is_predictive else None
        self.blocks = nn.ModuleList(
            LatentBlock(dim, num_qualities, carries_state=not is_predictive) for _ in range(num_blocks)
        )
        self.leave = zero_conv(dim, num_channels, 1)
        self.guide = conv(dim, 4 * guide_dim, 1)
        self.refine_enter = conv(CELL_VALUES + guide_dim, refine_dim, 3)
        self.refine_quality = QualityTable(num_qualities, refine_dim)
        self.refine_hidden = conv(refine_dim, refine_dim, 3)
        self.refine_leave = zero_conv(refine_dim, CELL_VALUES, 3)
        self.blend = ChunkBlend(refine_dim, blend_dim, num_qualities) if blend_dim else None

    def forward(
        self,
        transform: BlockTransform,
        latents: Tensor,
        quality: Tensor,
        state: State | None,
        prediction: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Latents `[b * T, n, H, W]`, and `[b * T, 96, H, W]` of the prediction, to cells `[b * T, 192, 2H, 2W]`.

        The prediction is added before the refinement, which so sees whole pictures. Also returns the new state.
        """
        scale = transform.scale[:, None, None]
        x = self.enter(latents / scale)
        if self.from_prediction is not None and prediction is not None:
            x = x + self.from_prediction(prediction)
        x, new_state = run_blocks(self.blocks, x, quality, state)
        cells = transform.synthesise(latents + self.leave(x) * scale)
        if prediction is not None:
            cells = cells.float() + repeat_over_frames(prediction)
        r = self.refine_enter(torch.cat([cells, self._guide(x)], dim=1))
        t = len(latents) // len(quality)
        r = F.silu(r + self.refine_quality(quality).repeat_interleave(t, 0)[:, :, None, None].to(r.dtype))
        r = F.silu(r + self.refine_hidden(r))
        cells = cells.float() + self.refine_leave(r)
        if self.blend is not None:
            cells, last = self.blend(cells, r, quality, None if state is None else state[-1])
            new_state.append(last)
        return cells, new_state

    def _guide(self, x: Tensor) -> Tensor:
        """The refinement's input from the latent grid, `[b * T, guide_dim, 2H, 2W]`."""
        weight, bias = (rearrange(p, "(c i j) ... -> (i j c) ...", i=2, j=2) for p in self.guide.parameters())
        return spread_over_cells(convolve(x, weight, bias))


class ChunkBlend(nn.Module):
    """Moves the first frames of a chunk towards the last frame of the chunk before, where that makes time smoother.

    Chunks are coded one by one. So even where nothing moves, quantization removes from one chunk what it leaves in the
    next, and every eighth frame jumps. The jump of a sample, times a gate, is added to the first frame and, fading, to
    the frames after it. There are two ways to fade, each with a gate. (A network can choose gates; it cannot copy
    samples.)

        frame 0 .. 7 += strength x jump x (gate_1 x (1, 1/2, 1/4 .. 1/64, 0) + gate_2 x (1, 6/7, 5/7 .. 1/7, 0))

    The last frame stays unchanged, so that chunks need not wait for each other in training.

    Args:
        dim_in: Width of the features that the gates depend on, in addition to the jump.
        dim: Width of the hidden layer.
        num_qualities: Number of qualities; each has a strength (see `tools/weights/blend_strength.py`).
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

    def forward(self, cells: Tensor, features: Tensor, quality: Tensor, last: Tensor | None) -> tuple[Tensor, Tensor]:
        """Blend the chunks of `b` videos.

        Args:
            cells: Cells `[b * T, 192, 2H, 2W]`, float32.
            features: Features `[b * T, dim_in, 2H, 2W]`.
            quality: Qualities `[b]`.
            last: Last frame of the chunk before, `[b, 24, 2H, 2W]`; None at the start of a video, where there is no
                jump.

        Returns:
            The blended cells, and the last frame.
        """
        first, end = frame_of_cells(cells, 0), frame_of_cells(cells, PATCH - 1)
        b = len(quality)
        ends = rearrange(end, "(b t) c h w -> b t c h w", b=b)
        before = rearrange(first, "(b t) c h w -> b t c h w", b=b)[:, 0] if last is None else last
        if ends.shape[1] > 1:
            before = torch.cat([before[:, None], ends[:, :-1]], dim=1).flatten(0, 1)
        jump = before - first
        seen = F.hardtanh(jump * _JUMP_SCALE, -_JUMP_LIMIT, _JUMP_LIMIT)
        x = self.from_jump(torch.cat([seen, seen.abs()], dim=1)) + self.from_features(features)
        strength = self.log_strength(quality).exp().repeat_interleave(len(cells) // b, 0)[:, :, None, None]
        moved = self.leave(F.silu(x)) * torch.cat([jump, jump], dim=1) * strength
        return cells + convolve(moved, self.fade), ends[:, -1]


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
