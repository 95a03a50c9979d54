"""Align the frames of a chunk by their motion, and undo it.

Alignment is an invertible map on the eight frames of a chunk. It is the identity where nothing moves:

    aligned = inverse-Haar(motion-compensated Haar(frames))

What comes out looks like a still scene seen from frame 2, so whatever codes still scenes well codes it well. Both
transforms are chains of lifting steps, so each is undone exactly, but for the rounding of floating point:

    h = moved - W anchor;   anchor += W* h / 2;   moved = h         for each step of `vtok.video.motion.STEPS`

`W` samples the anchor at displaced positions, by bicubic interpolation. `W*` spreads the differences back to where
they were sampled, divided by how often a sample is used: the adjoint of bilinear sampling. Reversed vectors in its
place cost more than they bring. (Motion-compensated lifting: Secker and Taubman 2003,
https://doi.org/10.1109/TIP.2003.819433.)
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from vtok.networks.planes import Planes
from vtok.video.motion import BLOCK, STEPS, UNITS

# Steps whose frames differ are taken together: the positions in STEPS of each level, in the order of the analysis.
LEVELS = ((3, 4, 5, 6), (1, 2), (0,))
MAX_SAMPLES_TOGETHER = 1 << 21  # of a plane; larger planes are taken step by step or in parts, in less memory
UPDATE = 0.5  # share of a step's difference that the anchor takes over; without it, alignment costs bits


def estimate_bits(fields: Tensor) -> Tensor:
    """Estimate the bits of the vectors of fields `[b, k, 2, rows, columns]`: `[b]`."""
    vectors = fields.float()
    left = (vectors - F.pad(vectors, (1, 0))[..., :-1]).abs().sum(2)
    above = (vectors - F.pad(vectors, (0, 0, 1, 0))[..., :-1, :]).abs().sum(2)
    distance = torch.minimum(left, above)
    return 4 * torch.log2(1 + distance).sum((1, 2, 3))


def align(planes: Planes, vectors: Tensor, *, overwrite: bool = False) -> Planes:
    """Align chunks by their motion.

    Args:
        planes: Chunks of eight frames, luma `[b, 8, h, w]`.
        vectors: Fields of the alignment in quarters of a pixel, `[b, 7, 2, rows, columns]`, see
            `vtok.video.motion.ChunkMotion`.
        overwrite: Whether `planes` may be overwritten; this needs less memory, without gradients.
    """
    copy = _is_in_place() and not overwrite
    return _planes(_still(_analyse(frames, vectors)) for frames in _planes_of(planes, copy=copy))


def restore(planes: Planes, vectors: Tensor) -> Planes:
    """Undo `align`: the chunks that it gives for `planes`, up to the rounding of floating point.

    Without gradients, `planes` are overwritten.
    """
    return _planes(_synthesise(_still(frames, inverse=False), vectors) for frames in _planes_of(planes, copy=False))


def _is_in_place() -> bool:
    """Whether frames are changed in place: chunks of large ones have hundreds of megabytes, but gradients need both."""
    return not torch.is_grad_enabled()


def _planes_of(planes: Planes, *, copy: bool) -> Iterable[Tensor]:
    """Luma `[b, t, 1, h, w]`, then both chroma planes together `[b, t, 2, h, w]`."""
    yield planes.y.unsqueeze(2).to(torch.float32, copy=copy)
    yield torch.stack([planes.u, planes.v], dim=2).float()


def _planes(parts: Iterable[Tensor]) -> Planes:
    """The inverse of `_planes_of`."""
    luma, chroma = parts
    return Planes(luma[:, :, 0], chroma[:, :, 0], chroma[:, :, 1])


def _still(frames: Tensor, *, inverse: bool = True) -> Tensor:
    """The Haar transform of still frames `[b, 8, c, h, w]`, or its inverse."""
    matrix = _haar(frames.device)[1 if inverse else 0]
    with torch.autocast(frames.device.type, enabled=False):
        if not _is_in_place():
            return (matrix @ frames.flatten(2)).view_as(frames)
        for rows in torch.split(frames, max(1, MAX_SAMPLES_TOGETHER // frames[:, :, :, 0].numel()), dim=3):
            rows.copy_((matrix @ rows.flatten(2)).view_as(rows))
    return frames


@cache
def _haar(device: torch.device) -> tuple[Tensor, Tensor]:
    """The lifting steps without motion as a matrix `[8, 8]`, and its inverse."""
    with torch.inference_mode(False):  # an inference tensor could not be used in training later
        rows = list(torch.eye(8, dtype=torch.float64, device="cpu"))
        for anchor, moved in (STEPS[k] for level in LEVELS for k in level):
            rows[moved] = rows[moved] - rows[anchor]
            rows[anchor] = rows[anchor] + UPDATE * rows[moved]
        matrix = torch.stack(rows)
        return matrix.float().to(device), torch.linalg.inv(matrix).float().to(device)


def _analyse(frames: Tensor, vectors: Tensor) -> Tensor:
    """The motion-compensated Haar transform of `frames [b, 8, c, h, w]`."""
    x = list(frames.unbind(1))
    for level in _levels(frames):
        grid = _grid(vectors[:, level].flatten(0, 1), frames)
        anchors, moved = (torch.stack([x[STEPS[k][i]] for k in level], dim=1).flatten(0, 1) for i in (0, 1))
        high = moved - _sample(anchors, grid)
        low = anchors + UPDATE * _spread(high, grid)
        _put(x, level, low, high)
    return frames if _is_in_place() else torch.stack(x, dim=1)


def _synthesise(bands: Tensor, vectors: Tensor) -> Tensor:
    """The inverse of `_analyse`."""
    x = list(bands.unbind(1))
    for level in reversed(_levels(bands)):
        grid = _grid(vectors[:, level].flatten(0, 1), bands)
        low, high = (torch.stack([x[STEPS[k][i]] for k in level], dim=1).flatten(0, 1) for i in (0, 1))
        anchors = low - UPDATE * _spread(high, grid)
        _put(x, level, anchors, high + _sample(anchors, grid))
    return bands if _is_in_place() else torch.stack(x, dim=1)


def _levels(frames: Tensor) -> tuple[tuple[int, ...], ...]:
    """The positions in STEPS of the steps that are taken together, in the order of the analysis."""
    is_large = frames.shape[-2] * frames.shape[-1] > MAX_SAMPLES_TOGETHER
    return tuple((k,) for level in LEVELS for k in level) if is_large else LEVELS


def _put(x: list[Tensor], level: tuple[int, ...], anchors: Tensor, moved: Tensor) -> None:
    """Put the frames of a level's steps, `[b * steps, c, h, w]`, to their places."""
    for frames, i in ((anchors, 0), (moved, 1)):
        for k, frame in zip(level, rearrange(frames, "(b k) c h w -> k b c h w", k=len(level)), strict=True):
            if _is_in_place():
                x[STEPS[k][i]].copy_(frame)
            else:
                x[STEPS[k][i]] = frame


def _grid(vectors: Tensor, frames: Tensor) -> Tensor:
    """Positions to sample for every pixel, in the units of `grid_sample`.

    Args:
        vectors: Fields in quarters of a pixel of luma, `[b, 2, rows, columns]`.
        frames: Planes that will be sampled, `[b, t, c, h, w]`; two channels are chroma of half the size.
    """
    h, w = frames.shape[-2:]
    scale = frames.shape[2]
    with torch.autocast(vectors.device.type, enabled=False):
        blocks = vectors.float() / (UNITS * scale)
        moves = F.interpolate(blocks, scale_factor=BLOCK // scale, mode="bilinear", align_corners=False)[..., :h, :w]
        rows = torch.arange(h, device=vectors.device, dtype=torch.float32)
        columns = torch.arange(w, device=vectors.device, dtype=torch.float32)
        x = (moves[:, 0] + columns + 0.5) * (2 / w) - 1
        y = (moves[:, 1] + rows[:, None] + 0.5) * (2 / h) - 1
        return torch.stack([x, y], dim=-1)


def _sample(frames: Tensor, grid: Tensor) -> Tensor:
    """W: `frames [b, c, h, w]` at the positions `grid [b, h, w, 2]`; beyond the frame, its edge goes on."""
    with torch.autocast(frames.device.type, enabled=False):
        return F.grid_sample(frames, grid, mode="bicubic", padding_mode="border", align_corners=False)


def _spread(differences: Tensor, grid: Tensor) -> Tensor:
    """W*: `differences [b, c, h, w]` added where they were sampled, divided by the number of uses if that is over 1."""
    with torch.autocast(differences.device.type, enabled=False):
        uses = _add_where_sampled(torch.ones_like(differences[:, :1]), grid)
        spread: Tensor = _AddWhereSampled.apply(differences, grid)  # type: ignore[no-untyped-call]
        return spread / uses.clamp_min(1)


def _add_where_sampled(values: Tensor, grid: Tensor) -> Tensor:
    """The adjoint of bilinear sampling: the gradient of `grid_sample` for its input."""
    return torch.ops.aten.grid_sampler_2d_backward(values, values, grid, 0, 1, False, [True, False])[0]  # type: ignore[no-any-return]


class _AddWhereSampled(torch.autograd.Function):
    """`_add_where_sampled`, differentiable for the values: the adjoint of an adjoint is the sampling."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        return _add_where_sampled(values.contiguous(), grid)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        sampled = F.grid_sample(gradient, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return sampled, None
