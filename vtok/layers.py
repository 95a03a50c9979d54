"""Layers that more than one network is built from."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class QualityTable(nn.Module):
    """One row of parameters per quality, interpolated linearly in between.

    Args:
        num_qualities: Rows; quality 1 is the first.
        dim: Values per row.
    """

    def __init__(self, num_qualities: int, dim: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(num_qualities, dim))

    def forward(self, quality: Tensor) -> Tensor:
        """Rows `[b, dim]` for `quality [b]`, each in [1, num_qualities]."""
        position = (quality - 1).clamp(0, len(self.rows) - 1)
        low = position.floor().long()
        high = (low + 1).clamp_max(len(self.rows) - 1)
        return torch.lerp(self.rows[low], self.rows[high], (position - low).unsqueeze(-1))


def conv(dim_in: int, dim_out: int, kernel_size: int, *, bias: bool = True) -> nn.Conv2d:
    """A 2-D convolution that keeps the size, zeros around the edge."""
    if kernel_size == 1:
        return PointwiseConv2d(dim_in, dim_out, 1, bias=bias)
    return nn.Conv2d(dim_in, dim_out, kernel_size, padding=kernel_size // 2, bias=bias)


class PointwiseConv2d(nn.Conv2d):
    """A convolution with a kernel of 1x1; see `convolve_pointwise`."""

    def forward(self, x: Tensor) -> Tensor:
        """`[b, dim_in, H, W]` to `[b, dim_out, H, W]`."""
        return convolve_pointwise(x, self.weight, self.bias)


def convolve_pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.conv2d` with a kernel of 1x1, outside training with the same result whatever the number of threads.

    In float32 PyTorch leaves it to oneDNN if it has several threads, and multiplies matrices if it has one, which sums
    in another order. So oneDNN is called by name.
    """
    by_name = (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )
    if by_name:
        return torch.mkldnn_convolution(x, weight, bias, (0, 0), (1, 1), (1, 1), 1)
    return F.conv2d(x, weight, bias)


def zero_conv(dim_in: int, dim_out: int, kernel_size: int) -> nn.Conv2d:
    """The same, starting as zero: a residual branch that ends in it starts as nothing."""
    layer = conv(dim_in, dim_out, kernel_size)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class NearConv2d(nn.Conv2d):
    """A 3x3 convolution that sees the first input channels around a position, and the others at the position only.

    Args:
        dim_in: Input channels.
        dim_out: Output channels.
        num_near: Input channels that it sees around a position; if that is all of them, it is a plain convolution.
    """

    def __init__(self, dim_in: int, dim_out: int, num_near: int) -> None:
        self.num_near = min(num_near, dim_in)
        super().__init__(self.num_near, dim_out, 3, padding=1)
        self.far = conv(dim_in - self.num_near, dim_out, 1, bias=False) if dim_in > self.num_near else None

    def forward(self, x: Tensor) -> Tensor:
        """`[b, dim_in, H, W]` to `[b, dim_out, H, W]`."""
        near = super().forward(x[:, : self.num_near])
        return near if self.far is None else near + self.far(x[:, self.num_near :])
