"""Products of matrices of 8-bit integers with sums of less than 24 bits (`exact_sums`): exact, on any processor.

Where the processor multiplies bytes and sums in 32 bits (VNNI or AMX), PyTorch's product of int8 matrices is about four
times as fast as float32. Elsewhere the int8 product may be slow, or saturate sums at 16 bits, so float32 is used, which
gives the same integers.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from vtok.entropy.checkerboard import Checkerboard, rows_side_by_side, with_zeros
from vtok.networks.arithmetic import has_int8_dot_products
from vtok.networks.layers import convolve


class Product(NamedTuple):
    """The integer product of one of a layer's inputs: `weight x input x factor`.

    Attributes:
        weight: int8 `[in, out]`, or `[taps, in, out]` for several places.
        factor: int32 `[out]`, powers of two.
    """

    weight: Tensor
    factor: Tensor

    def restricted(self, channels: Tensor) -> "Product":
        """The product of some input channels only, int64."""
        return self._replace(weight=self.weight.index_select(-2, channels))

    def plus(self, sums: Tensor, rows: Tensor) -> Tensor:
        """Int32 `sums`, one row or `[P, out]`, plus the product of int8 `rows [P, in]` or `[P, taps * in]`."""
        return torch.addcmul(sums, multiply(rows, self.weight.reshape(-1, self.weight.shape[-1])), self.factor)


class WindowProduct(NamedTuple):
    """The integer product of 3x3 windows of the first input channels, and of the others at the position only.

    Attributes:
        weight: int8 `[9 * num_near + num_far, out]`: the window place by place, then the other channels.
        factor: int32 `[out]`, powers of two.
        num_near: Number of input channels that have windows.
    """

    weight: Tensor
    factor: Tensor
    num_near: int

    def restricted(self, channels: Tensor) -> "WindowProduct":
        """The product of some input channels only, int64, ascending."""
        near, far = (channels[side] for side in (channels < self.num_near, channels >= self.num_near))
        windows = torch.arange(9)[:, None] * self.num_near + near
        rows = torch.cat([windows.flatten(), far + 8 * self.num_near])
        return WindowProduct(self.weight.index_select(0, rows), self.factor, len(near))


class Convolution:
    """The products at windows of int8 `rows [P, in]`, zeros around the edge, computed one part at a time.

    Args:
        rows: Positions in the order of passes.
        product: The weights.
        positions: The place of each row.
    """

    def __init__(self, rows: Tensor, product: WindowProduct, positions: Checkerboard) -> None:
        self._product, self._positions = product, positions
        near, self._far = rows[:, : product.num_near], rows[:, product.num_near :]
        self._padded = with_zeros(near)
        # In float32 a convolution is faster than a matrix product, but it takes the whole latent frame at once.
        self._all: Tensor | None = None
        if rows.shape[1] and not int8_products_are_exact():
            windows, others = product.weight.tensor_split([9 * product.num_near])
            self._all = multiply(self._far, others)
            if product.num_near:
                self._all += _convolve_float(near, windows.view(9, product.num_near, -1), positions)

    def plus(self, sums: Tensor, part: slice) -> Tensor:
        """Int32 `sums`, one row or `[positions, out]`, plus the products at some positions, `[positions, out]`."""
        if self._all is not None:
            return torch.addcmul(sums, self._all[part], self._product.factor)
        windows = rows_side_by_side(self._padded, self._positions.windows[part])
        rows = torch.cat([windows, self._far[part]], dim=1) if self._far.shape[1] else windows
        return torch.addcmul(sums, multiply(rows, self._product.weight), self._product.factor)


def multiply(rows: Tensor, weight: Tensor) -> Tensor:
    """`rows [P, in]` times `weight [in, out]`, both int8: int32 `[P, out]`."""
    if not rows.shape[1]:
        return torch.zeros(len(rows), weight.shape[1], dtype=torch.int32)
    if int8_products_are_exact():
        return torch._int_mm(rows, weight)
    image = rows.float().view(1, len(rows), 1, -1).permute(0, 3, 1, 2)
    return _convolve_image(image, weight.t()[:, :, None, None].float())


def _convolve_float(rows: Tensor, weight: Tensor, positions: Checkerboard) -> Tensor:
    """A convolution of int8 `rows [P, in]` with `weight [9, in, out]`, int32 `[P, out]`."""
    image = positions.to_map(rows).float().view(1, *positions.size, -1).permute(0, 3, 1, 2)
    kernel = weight.float().permute(2, 1, 0).reshape(weight.shape[2], weight.shape[1], 3, 3)
    return positions.from_map(_convolve_image(image, kernel))


def _convolve_image(image: Tensor, weight: Tensor) -> Tensor:
    """`image [1, in, H, W]` with `weight [out, in, k, k]` for odd k, both float32, zeros around: `[H * W, out]`."""
    with torch.no_grad():
        image = convolve(image, weight)
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1]).to(torch.int32)


@cache
def int8_products_are_exact() -> bool:
    """Whether int8 products are fast here, and exact in a test of the largest sums, where saturating arithmetic fails.

    PyTorch's function is private, so it may also be gone.
    """
    if not (has_int8_dot_products() and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return False
    generator = torch.Generator().manual_seed(1)
    for num_rows, num_in, num_out in ((1, 16, 16), (67, 144, 48), (256, 1440, 160)):
        rows = torch.randint(-128, 128, (num_rows, num_in), generator=generator, dtype=torch.int8)
        weight = torch.randint(-127, 128, (num_in, num_out), generator=generator, dtype=torch.int8)
        rows[::3], rows[1::3], weight[:, ::3], weight[:, 1::3] = 127, -128, 127, -127
        try:
            product = torch._int_mm(rows, weight)
        except (AttributeError, RuntimeError):
            return False
        if not torch.equal(product.double(), rows.double() @ weight.double()):
            return False
    return True


def entropy_coding_threads() -> int:
    """Number of threads for entropy coding while networks are at work."""
    return 1 if int8_products_are_exact() else torch.get_num_threads()
