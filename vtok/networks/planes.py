"""Video as three planes: luma and half-size chroma (YCbCr 4:2:0), the colour space that nearly all video is stored in.

The pretrained model works on these planes, not on RGB. This saves the lossy conversion to RGB and back, halves the
values of a frame, and spreads error over luma and chroma as viewers and PSNR-YUV see it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Full-range BT.601 as in JPEG (JFIF 1.02): rows are Y, Cb, Cr, for R, G, B in [0, 1]. Chroma is in [-0.5, 0.5].
_RGB_TO_YCBCR = torch.tensor(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ],
    dtype=torch.float64,
    device="cpu",
)


class Planes(NamedTuple):
    """Float planes: luma `y [b, t, h, w]`, chroma `u` and `v` `[b, t, ceil(h/2), ceil(w/2)]`.

    Black is -1 and white is 1 in luma. The nominal range of chroma is also [-1, 1], and 0 is grey.
    """

    y: Tensor
    u: Tensor
    v: Tensor

    @classmethod
    def from_uint8(cls, y: Tensor, u: Tensor, v: Tensor, *, full_range: bool) -> "Planes":
        """Planes from 8-bit samples with ITU-R BT.601 levels: luma 16 to 235, chroma 16 to 240, unless `full_range`."""
        black, luma_span, chroma_span = _levels(full_range)
        # In place after the first step: chunks of large frames have hundreds of megabytes.
        luma, *chroma = (plane.to(torch.float32, copy=True) for plane in (y, u, v))
        luma.sub_(black).mul_(2 / luma_span).sub_(1)
        return cls(luma, *(plane.sub_(128).mul_(2 / chroma_span) for plane in chroma))

    def to_uint8(self, *, full_range: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The nearest 8-bit samples, with the levels of `from_uint8`; its exact inverse."""
        black, luma_span, chroma_span = _levels(full_range)
        luma = (self.y.float() + 1).mul_(luma_span / 2).add_(black).round_().clamp_(0, 255).to(torch.uint8)
        u, v = (
            (plane.float() * (chroma_span / 2)).add_(128).round_().clamp_(0, 255).to(torch.uint8)
            for plane in (self.u, self.v)
        )
        return luma, u, v

    @classmethod
    def from_rgb(cls, video: Tensor) -> "Planes":
        """Planes of an RGB video `[b, 3, t, h, w]` in [-1, 1]; chroma is the mean of each 2x2 pixels."""
        matrix = _RGB_TO_YCBCR.to(video)
        ycbcr = torch.einsum("kc,bcthw->bkthw", matrix, video)
        # A row of chroma weights sums to zero, so the offset of [-1, 1] against [0, 1] affects luma only, whose weights
        # sum to one. Chroma in [-0.5, 0.5] per unit of RGB is in [-1, 1] here.
        y, chroma = ycbcr[:, 0], ycbcr[:, 1:]
        b, _, t, h, w = chroma.shape
        padded = F.pad(chroma.reshape(b * 2, t, h, w), (0, w % 2, 0, h % 2), mode="replicate")
        u, v = F.avg_pool2d(padded, 2).reshape(b, 2, t, -(-h // 2), -(-w // 2)).unbind(1)
        return cls(y, u, v)

    def to_rgb(self) -> Tensor:
        """RGB `[b, 3, t, h, w]`, nominally in [-1, 1] and not clipped; chroma is repeated over each 2x2 pixels."""
        h, w = self.y.shape[-2:]
        u, v = (p.repeat_interleave(2, -2).repeat_interleave(2, -1)[..., :h, :w] for p in (self.u, self.v))
        ycbcr = torch.stack([self.y, u, v], dim=1)
        return torch.einsum("kc,bcthw->bkthw", torch.linalg.inv(_RGB_TO_YCBCR).to(ycbcr), ycbcr)

    def flip_horizontally(self) -> "Planes":
        """The mirrored video."""
        return Planes(*(plane.flip(-1) for plane in self))

    def crop(self, h: int, w: int) -> "Planes":
        """The top left `h` x `w` pixels."""
        ch, cw = -(-h // 2), -(-w // 2)
        return Planes(self.y[..., :h, :w], self.u[..., :ch, :cw], self.v[..., :ch, :cw])

    def block_rows(self, start: int, stop: int) -> "Planes":
        """Rows `start` to `stop` (exclusive) of blocks of 8 x 8 pixels."""
        return Planes(self.y[..., 8 * start : 8 * stop, :], *(p[..., 4 * start : 4 * stop, :] for p in self[1:]))

    def frames(self, start: int, stop: int) -> "Planes":
        """Frames `start` to `stop` (exclusive)."""
        return Planes(*(plane[:, start:stop] for plane in self))


def _levels(full_range: bool) -> tuple[float, float, float]:
    """The 8-bit value of black, the span of luma and the span of chroma."""
    return (0.0, 255.0, 255.0) if full_range else (16.0, 219.0, 224.0)
