"""Convert blocks of 8 frames x 8 x 8 pixels to coefficients and back, by one matrix each: the start of training.

A block holds 512 luma and 2 x 128 chroma samples (4:2:0). The Karhunen-Loève transform (KLT: the eigenvectors of the
samples' second moments, in order of their eigenvalues) packs the energy of real video into fewer coefficients than any
other linear transform. So a tokenizer should start with the first `num_channels` of them.
"""

from functools import cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vtok.networks.layers import convolve, random_basis
from vtok.networks.planes import Planes

PATCH = 8  # frames, rows and columns of luma in a block
BLOCK_VALUES = PATCH**3 * 3 // 2
# A chroma sample stands for four pixels. The weight makes its squared error count twice that of a luma sample, so that
# luma and the two chroma planes have 1/2, 1/4 and 1/4 of the distortion.
CHROMA_WEIGHT = 2**0.5


def pad_to_blocks(planes: Planes) -> Planes:
    """Pad planes by replication at the end of each axis to whole blocks of 8 frames x 8 x 8 pixels."""
    t, h, w = planes.y.shape[1:]

    def pad(plane: Tensor, side: int, h_pixels: int, w_pixels: int) -> Tensor:
        pad_h, pad_w = (-(-n // PATCH) * side - m for n, m in ((h, h_pixels), (w, w_pixels)))
        if pad_h == pad_w == 0 == t % PATCH:
            return plane
        return F.pad(plane[:, None], (0, pad_w, 0, pad_h, 0, -t % PATCH), mode="replicate")[:, 0]

    chroma = (pad(p, PATCH // 2, p.shape[-2], p.shape[-1]) for p in (planes.u, planes.v))
    return Planes(pad(planes.y, PATCH, h, w), *chroma)


def planes_to_blocks(planes: Planes) -> Tensor:
    """Whole blocks of `planes [b, 8 T, 8 H, 8 W]` as vectors `[b * T, 768, H, W]`, chroma scaled by `CHROMA_WEIGHT`.

    Their memory layout is channels last, the fastest for dense convolutions.
    """

    def blocks(plane: Tensor, side: int) -> Tensor:
        return rearrange(plane, "b (T t) (H h) (W w) -> (b T) H W (t h w)", t=PATCH, h=side, w=side)

    y, u, v = blocks(planes.y, PATCH), blocks(planes.u, PATCH // 2), blocks(planes.v, PATCH // 2)
    return torch.cat([y, u * CHROMA_WEIGHT, v * CHROMA_WEIGHT], dim=-1).permute(0, 3, 1, 2)


def frame_to_blocks(frame: Planes) -> Tensor:
    """Whole blocks of single frames, luma `[b, 1, 8 H, 8 W]`, as vectors `[b, 96, H, W]`, scaled as block vectors."""

    def blocks(plane: Tensor, side: int) -> Tensor:
        return rearrange(plane, "b 1 (H h) (W w) -> b H W (h w)", h=side, w=side)

    y, u, v = blocks(frame.y, PATCH), blocks(frame.u, PATCH // 2), blocks(frame.v, PATCH // 2)
    return torch.cat([y, u * CHROMA_WEIGHT, v * CHROMA_WEIGHT], dim=-1).permute(0, 3, 1, 2)


def frame_to_cells(frame: Tensor) -> list[Tensor]:
    """The cells of a frame, `[b, 96, H, W]` of `frame_to_blocks`: luma `[b, 16, 2H, 2W]`, chroma `[b, 4, 2H, 2W]`."""
    parts = torch.split(frame, [PATCH**2, PATCH**2 // 4, PATCH**2 // 4], dim=1)
    return [
        rearrange(part, "b (i h j w) H W -> b (h w) (H i) (W j)", i=2, j=2, h=side)
        for part, side in zip(parts, (4, 2, 2), strict=True)
    ]


# A block consists of four half-size cells (4 x 4 pixels, all 8 frames). Their samples are the channels of a grid of
# twice the resolution.
CELL_VALUES = BLOCK_VALUES // 4


def blocks_to_cells(blocks: Tensor) -> Tensor:
    """Blocks `[b, 768, H, W]` as cells of half the height and width, `[b, 192, 2H, 2W]`."""
    parts = torch.split(blocks, [PATCH**3, PATCH**3 // 4, PATCH**3 // 4], dim=1)
    sides = (4, 2, 2)
    cells = [
        rearrange(part, "b (t i h j w) H W -> b (t h w) (H i) (W j)", t=PATCH, i=2, j=2, h=side)
        for part, side in zip(parts, sides, strict=True)
    ]
    return torch.cat(cells, dim=1)


def cells_to_planes(cells: Tensor, b: int) -> Planes:
    """The planes whose `planes_to_blocks` have the cells `[b * T, 192, 2H, 2W]`."""

    def plane(part: Tensor, side: int) -> Tensor:
        return rearrange(part, "(b T) (t h w) H W -> b (T t) (H h) (W w)", b=b, h=side, w=side)

    y, u, v = torch.split(cells, [PATCH * 16, PATCH * 4, PATCH * 4], dim=1)
    return Planes(plane(y, 4), plane(u / CHROMA_WEIGHT, 2), plane(v / CHROMA_WEIGHT, 2))


def frame_of_cells(cells: Tensor, frame: int) -> Tensor:
    """The samples of one of the eight frames in cells `[b, 192, 2H, 2W]`: luma, then chroma, `[b, 24, 2H, 2W]`."""
    planes, start = [], 0
    for size in (16, 4, 4):
        planes.append(cells[:, start + frame * size : start + (frame + 1) * size])
        start += PATCH * size
    return torch.cat(planes, dim=1)


def spread_over_cells(channels: Tensor) -> Tensor:
    """Channels `[b, 4 c, H, W]`, the four cells of a block one after the other, as `[b, c, 2H, 2W]`.

    The channels are last in memory, so this moves whole vectors and not single values.
    """
    spread = rearrange(channels.permute(0, 2, 3, 1), "b H W (i j c) -> b (H i) (W j) c", i=2, j=2)
    return spread.permute(0, 3, 1, 2)


@cache
def _cell_order(device: torch.device) -> Tensor:
    """Places in a block vector of the values of its four cells, one cell after the other, `[768]`."""
    with torch.inference_mode(False):  # an inference tensor could not be used in training later
        number = torch.arange(BLOCK_VALUES, device=device).view(1, -1, 1, 1)
        return blocks_to_cells(number)[0].permute(1, 2, 0).flatten()


class BlockTransform(nn.Module):
    """Analysis and synthesis matrices between block vectors and the first `num_channels` coefficients.

    Attributes:
        analysis: `[num_channels, 768]`.
        synthesis: `[768, num_channels]`.
        scale: `[num_channels]`, the standard deviation of each coefficient over the training set. Networks normalise
            their inputs by it.
    """

    analysis: nn.Parameter
    synthesis: nn.Parameter
    scale: Tensor

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        basis = random_basis(BLOCK_VALUES, num_channels)
        self.analysis = nn.Parameter(basis.T.contiguous())
        self.synthesis = nn.Parameter(basis.contiguous())
        self.register_buffer("scale", torch.ones(num_channels))

    @torch.no_grad()
    def set_klt(self, second_moments: Tensor) -> None:
        """Set the matrices to the KLT of block vectors with `second_moments [768, 768]`."""
        eigenvalues, eigenvectors = torch.linalg.eigh(second_moments.double())
        num_channels = len(self.scale)
        basis = eigenvectors.flip(1)[:, :num_channels]
        # An eigenvector's sign is arbitrary and differs between libraries: make its largest entry positive.
        basis = basis * basis.gather(0, basis.abs().argmax(0, keepdim=True)).sign()
        self.analysis.copy_(basis.T)
        self.synthesis.copy_(basis)
        self.scale.copy_(eigenvalues.flip(0)[:num_channels].clamp_min(1e-8).sqrt())

    def analyse(self, blocks: Tensor) -> Tensor:
        """Blocks `[b, 768, H, W]` to coefficients `[b, num_channels, H, W]`."""
        return convolve(blocks, self.analysis[:, :, None, None])

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Coefficients `[b, num_channels, H, W]` to cells `[b, 192, 2H, 2W]`."""
        return spread_over_cells(
            convolve(coefficients, self.synthesis[_cell_order(self.synthesis.device), :, None, None])
        )
