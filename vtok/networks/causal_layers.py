"""Layers of the convolutional tokenizer (after MAGVIT-v2): 3-D convolutions that never see the future.

`pad_mode` says how height and width are padded. Time is always padded by repeating the first frame: reflecting or
wrapping it would bring later frames into the past.
"""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

PAD_MODES = ("constant", "reflect", "replicate", "circular")
KernelSize = tuple[int, int, int]


class CausalConv3d(nn.Module):
    """A 3-D convolution over `[b, c, t, h, w]` that keeps the size; output frame t sees frames up to t.

    Args:
        dim_in: Number of input channels.
        dim_out: Number of output channels.
        kernel_size: Frames, rows and columns; rows and columns are odd.
        pad_mode: One of `PAD_MODES`, for height and width. An axis too short to be reflected or wrapped is replicated.
    """

    def __init__(self, dim_in: int, dim_out: int, kernel_size: KernelSize, pad_mode: str) -> None:
        super().__init__()
        self.kernel_size, self.pad_mode = kernel_size, pad_mode
        self.conv = nn.Conv3d(dim_in, dim_out, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """`[b, dim_in, t, h, w]` to `[b, dim_out, t, h, w]`."""
        time, rows, columns = (k // 2 for k in self.kernel_size)
        time = self.kernel_size[0] - 1
        if time:
            x = F.pad(x, (0, 0, 0, 0, time, 0), mode="replicate")
        x = self._pad_space(x, (columns, columns, 0, 0, 0, 0), columns, x.shape[-1])
        x = self._pad_space(x, (0, 0, rows, rows, 0, 0), rows, x.shape[-2])
        out: Tensor = self.conv(x)
        return out

    def _pad_space(self, x: Tensor, padding: tuple[int, ...], amount: int, size: int) -> Tensor:
        if not amount:
            return x
        reach = {"reflect": size - 1, "circular": size}.get(self.pad_mode, amount)
        return F.pad(x, padding, mode=self.pad_mode if amount <= reach else "replicate")


class CausalResidual(nn.Module):
    """`x + conv(1)(silu(conv(k)(silu(x))))`, after a 1x1x1 convolution if the dimension changes."""

    def __init__(self, dim_in: int, dim: int, kernel_size: KernelSize, pad_mode: str) -> None:
        super().__init__()
        self.enter = nn.Conv3d(dim_in, dim, 1) if dim_in != dim else nn.Identity()
        self.conv = CausalConv3d(dim, dim, kernel_size, pad_mode)
        self.leave = nn.Conv3d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[b, dim_in, t, h, w]` to `[b, dim, t, h, w]`."""
        x = self.enter(x)
        out: Tensor = x + self.leave(F.silu(self.conv(F.silu(x))))
        return out


class Fold(nn.Module):
    """Shrinks time or space: neighbouring positions become channels, then a 1x1x1 convolution follows.

    Frames 2T and 2T + 1 make latent frame T. So it is causal: a latent frame waits only for its own frames.
    """

    def __init__(self, dim_in: int, dim_out: int, *, time: int, space: int) -> None:
        super().__init__()
        self.factors = {"i": time, "j": space, "k": space}
        self.conv = nn.Conv3d(dim_in * time * space**2, dim_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[b, dim_in, t, h, w]`, with divisible sizes, to `[b, dim_out, t / time, h / space, w / space]`."""
        folded = rearrange(x, "b c (t i) (h j) (w k) -> b (c i j k) t h w", **self.factors)
        out: Tensor = self.conv(folded)
        return out


class Unfold(nn.Module):
    """The mirror image of `Fold`: a 1x1x1 convolution, then channels become neighbouring positions."""

    def __init__(self, dim_in: int, dim_out: int, *, time: int, space: int) -> None:
        super().__init__()
        self.factors = {"i": time, "j": space, "k": space}
        self.conv = nn.Conv3d(dim_in, dim_out * time * space**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[b, dim_in, t, h, w]` to `[b, dim_out, t * time, h * space, w * space]`."""
        channels: Tensor = self.conv(x)
        return rearrange(channels, "b (c i j k) t h w -> b c (t i) (h j) (w k)", **self.factors)
