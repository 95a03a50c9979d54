"""Layers that several networks share."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_IS_EMPTY: ContextVar[bool] = ContextVar("is_empty", default=False)
_IS_FROZEN: ContextVar[bool] = ContextVar("is_frozen", default=False)


@contextmanager
def empty_layers() -> Iterator[None]:
    """Inside, new layers get memory for their weights but no values, so nothing draws random numbers.

    Use it for networks whose weights are loaded next. PyTorch's own way, the device "meta", imports its compiler, which
    takes more than a second.
    """
    token = _IS_EMPTY.set(True)
    try:
        yield
    finally:
        _IS_EMPTY.reset(token)


@contextmanager
def frozen_layers() -> Iterator[None]:
    """Inside, convolutions have gradients for their inputs only, and compute as they do outside of training."""
    token = _IS_FROZEN.set(True)
    try:
        yield
    finally:
        _IS_FROZEN.reset(token)


def random_basis(rows: int, columns: int) -> Tensor:
    """A random matrix with orthonormal columns, `[rows, columns]`; see `empty_layers`."""
    if _IS_EMPTY.get():
        return torch.empty(rows, columns)
    basis: Tensor = torch.linalg.qr(torch.randn(rows, columns))[0]
    return basis


class QualityTable(nn.Module):
    """One row of parameters per quality, interpolated linearly in between.

    Args:
        num_qualities: Number of rows; quality 1 is the first.
        dim: Number of values per row.
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


def conv(dim_in: int, dim_out: int, kernel_size: int, *, bias: bool = True) -> "Conv2d":
    """A 2-D convolution that keeps the size, with zeros around the edge."""
    return Conv2d(dim_in, dim_out, kernel_size, padding=kernel_size // 2, bias=bias)


class Conv2d(nn.Conv2d):
    """A convolution of stride 1 that uses one kernel for all inputs outside training; see `convolve`."""

    def reset_parameters(self) -> None:
        """Draw initial weights; see `empty_layers`."""
        if not _IS_EMPTY.get():
            super().reset_parameters()

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return convolve(x, weight, bias)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve `x [b, in, H, W]` with `weight [out, in, k, k]`, k odd, zeros around: `[b, out, H, W]`.

    On a processor, in float32 and outside training, oneDNN is called by name. PyTorch would call it only for large
    inputs or several threads, and multiply matrices otherwise, which sums in another order. Then a result would depend
    on the height of a strip and on the number of threads.
    """
    if torch.is_grad_enabled() and _IS_FROZEN.get():
        if torch.is_autocast_enabled(x.device.type):
            x, weight = (tensor.to(torch.get_autocast_dtype(x.device.type)) for tensor in (x, weight))
            bias = None if bias is None else bias.to(x)
        convolved: Tensor = _FrozenConvolution.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return convolved
    padding = [weight.shape[-1] // 2] * 2
    by_name = (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )
    if by_name:
        return torch.mkldnn_convolution(x, weight, bias, padding, (1, 1), (1, 1), 1)
    return F.conv2d(x, weight, bias, padding=padding)


@torch.no_grad()
def _convolve_as_they_are(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return convolve(x, weight, bias)


class _FrozenConvolution(torch.autograd.Function):
    """`convolve` with a gradient for its input: a convolution too, with the weight transposed and turned."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _convolve_as_they_are(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        turned = weight.transpose(0, 1).flip(2, 3)
        return _convolve_as_they_are(gradient, turned, None), None, None


def zero_conv(dim_in: int, dim_out: int, kernel_size: int) -> nn.Conv2d:
    """A `conv` whose parameters start as zero, so that a residual branch that ends in it starts as zero."""
    layer = conv(dim_in, dim_out, kernel_size)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class NearConv2d(Conv2d):
    """A 3x3 convolution that sees the first input channels around a position, and the others at the position only.

    Args:
        dim_in: Number of input channels.
        dim_out: Number of output channels.
        num_near: Number of input channels seen around a position. If that is all of them, this is a plain convolution.
    """

    def __init__(self, dim_in: int, dim_out: int, num_near: int) -> None:
        self.num_near = min(num_near, dim_in)
        super().__init__(self.num_near, dim_out, 3, padding=1)
        self.far = conv(dim_in - self.num_near, dim_out, 1, bias=False) if dim_in > self.num_near else None

    def forward(self, x: Tensor) -> Tensor:
        """`[b, dim_in, H, W]` to `[b, dim_out, H, W]`."""
        near = super().forward(x[:, : self.num_near])
        return near if self.far is None else near + self.far(x[:, self.num_near :])
