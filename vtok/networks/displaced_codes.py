"""Codes that a chunk would have if it had moved: what the prior expects where things moved since the chunk before.

    codes --> mean of their eight frames --> sampled at displaced positions --> codes of eight such frames

Codes are those of the linear transform, so all of it is linear, and can be done in integers
(`vtok.entropy.displaced_codes`); this is the same in floating point, for training. A mean of eight aligned frames looks
like frame 2 of its chunk, and all eight frames of the next chunk look like frame 2 there.
"""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from vtok.networks.klt import BLOCK_VALUES, PATCH, BlockTransform
from vtok.video.motion import BLOCK, UNITS

BLOCK_LATENTS = BLOCK // PATCH  # on a side of a block of motion
_SAMPLES = (PATCH**2, PATCH**2 // 4, PATCH**2 // 4)  # of one frame of a block


def displaced_codes(
    transform: BlockTransform, codes: Tensor, vectors: Tensor, gain: Tensor, num_channels: int
) -> Tensor:
    """The codes of earlier chunks, displaced: in place where a vector is zero, elsewhere what is expected.

    Args:
        transform: The transform of the codes.
        codes: Centred codes of the chunks before, `[b, n, H, W]`.
        vectors: Where each block of 16 x 16 pixels came from, in quarters of a pixel, `[b, 2, rows, columns]`.
        gain: Codes per unit of a coefficient, `[b, n]`.
        num_channels: Number of first channels that are displaced; the others are zero where a block is.

    Returns:
        Codes like `codes`, integers. The gradient passes straight through the rounding.
    """
    with torch.no_grad():
        to_frame = reduce(_by_frames(transform.synthesis), "t s n -> s n", "mean")
        to_codes = reduce(_by_frames(transform.analysis.T), "t s n -> n s", "sum")[:num_channels]
    with torch.autocast(codes.device.type, enabled=False):
        gain = gain[:, :, None, None].detach().float()
        frame = torch.einsum("sn,bnhw->bshw", to_frame.float(), codes.float() / gain)
        moved = _to_blocks(*(_sample(plane, vectors) for plane in _to_planes(frame)))
        expected = torch.einsum("ns,bshw->bnhw", to_codes.float(), moved) * gain[:, :num_channels]
        expected = expected + (expected.round().clamp(-128, 127) - expected).detach()
    expected = F.pad(expected, (0, 0, 0, 0, 0, codes.shape[1] - num_channels))
    return torch.where(is_displaced(vectors, *codes.shape[2:]), expected, codes)


def is_displaced(vectors: Tensor, h: int, w: int) -> Tensor:
    """Whether each latent position has a vector, bool `[b, 1, h, w]`, from `vectors [b, 2, rows, columns]`."""
    blocks = (vectors != 0).any(1, keepdim=True)
    return blocks.repeat_interleave(BLOCK_LATENTS, 2).repeat_interleave(BLOCK_LATENTS, 3)[:, :, :h, :w]


def _by_frames(columns: Tensor) -> Tensor:
    """Block vectors, the columns `[768, n]`, as the samples of their eight frames, `[8, 96, n]`."""
    planes = torch.split(columns, [BLOCK_VALUES * size // sum(_SAMPLES) for size in _SAMPLES])
    return torch.cat([rearrange(plane, "(t s) n -> t s n", t=PATCH) for plane in planes], dim=1)


def _to_planes(frame: Tensor) -> tuple[Tensor, Tensor]:
    """One frame of each block, `[b, 96, H, W]`, as luma `[b, 1, 8 H, 8 W]` and chroma `[b, 2, 4 H, 4 W]`."""
    luma, chroma = torch.split(frame, [_SAMPLES[0], 2 * _SAMPLES[1]], dim=1)
    return (
        rearrange(luma, "b (h w) H W -> b 1 (H h) (W w)", h=PATCH),
        rearrange(chroma, "b (c h w) H W -> b c (H h) (W w)", c=2, h=PATCH // 2),
    )


def _to_blocks(luma: Tensor, chroma: Tensor) -> Tensor:
    """The inverse of `_to_planes`."""
    parts = (
        rearrange(luma, "b 1 (H h) (W w) -> b (h w) H W", h=PATCH, w=PATCH),
        rearrange(chroma, "b c (H h) (W w) -> b (c h w) H W", h=PATCH // 2, w=PATCH // 2),
    )
    return torch.cat(parts, dim=1)


def _sample(plane: Tensor, vectors: Tensor) -> Tensor:
    """`plane [b, c, h, w]` at positions displaced by one vector for each block; two channels are chroma."""
    h, w = plane.shape[-2:]
    scale = plane.shape[1]
    moves = vectors.float() / (UNITS * scale)
    side = BLOCK // scale
    moves = moves.repeat_interleave(side, 2).repeat_interleave(side, 3)[:, :, :h, :w]
    x = (moves[:, 0] + torch.arange(w, device=plane.device) + 0.5) * (2 / w) - 1
    y = (moves[:, 1] + torch.arange(h, device=plane.device)[:, None] + 0.5) * (2 / h) - 1
    return F.grid_sample(plane, torch.stack([x, y], dim=-1), padding_mode="border", align_corners=False)
