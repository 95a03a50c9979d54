"""Sums that are exact in float32, in any order and on any machine.

Inputs are integers. Weights and constants of one output channel are integer multiples of one power of two, its unit
`2^-exponent`. As long as the worst case `sum(|weight|) * largest input + |constants|` stays below 2^24 units, every
product and every partial sum is a multiple of the unit with at most 24 bits, so float32 holds it exactly: the order of
the terms, fused multiply-adds, the number of threads and the blocking of a convolution cannot change the result.

Inputs and weights have at most 8 significant bits, as many as bfloat16. So nothing changes either where the factors of
float32 products are rounded to TF32 or bfloat16, as settings of PyTorch and of its libraries allow: they still sum in
float32.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vtok.errors import WeightsError
from vtok.precision import has_fast_bfloat16

EXACT_LIMIT = 2.0**24  # float32 holds all integers up to this
MAX_EXPONENT = 60

_lock = threading.Lock()
_before: list[str] = []  # for each `fast_factors` that is under way, what the setting was before the first of them


@dataclass(frozen=True, eq=False)
class Accumulator:
    """The terms that are added into one output, per output channel.

    Attributes:
        name: For messages.
        weights: float64 `[out, in, ...]` each.
        largest: Of each weight tensor, the largest absolute value of its integer inputs.
        constants: float64 `[rows, out]` each: of each tensor one row is added, or a mean of rows.
    """

    name: str
    weights: tuple[Tensor, ...]
    largest: tuple[int, ...]
    constants: tuple[Tensor, ...]

    def worst_case(self) -> Tensor:
        """Bound of every partial sum's absolute value, float64 `[out]`."""
        products = [w.abs().flatten(1).sum(1) * most for w, most in zip(self.weights, self.largest, strict=True)]
        rows = [c.abs().amax(0) for c in self.constants]
        return torch.stack([*products, *rows]).sum(0)

    def finest_exponents(self) -> Tensor:
        """For each output channel the finest unit that keeps the bound, int8 `[out]`.

        Raises:
            WeightsError: A weight is not finite.
        """
        worst = self.worst_case()
        if not worst.isfinite().all():
            raise WeightsError(f"prior layer {self.name} has weights that are not finite in half precision")
        guess = torch.floor(24 - torch.log2(worst.clamp_min(2.0**-30))) + 1
        exponents = guess.clamp(-MAX_EXPONENT, MAX_EXPONENT).to(torch.int8)
        while (too_fine := self.rounded(exponents).worst_case() * powers_of_two(exponents) >= EXACT_LIMIT).any():
            exponents = exponents - too_fine.to(torch.int8)
        return exponents

    def rounded(self, exponents: Tensor) -> "Accumulator":
        """The same with weights of 8 significant bits and all terms multiples of the units `2^-exponents`, `[out]`."""
        weights = tuple(
            round_to_units(round_to_8_bits(w).transpose(0, -1), exponents).transpose(0, -1) for w in self.weights
        )
        constants = tuple(round_to_units(c, exponents) for c in self.constants)
        return Accumulator(self.name, weights, self.largest, constants)

    def exact(self, exponents: Tensor) -> "Accumulator":
        """The same as `rounded`, checked: what comes out may be summed in float32.

        Raises:
            WeightsError: Some output channel's worst case is not below 2^24 units.
        """
        rounded = self.rounded(exponents)
        units = rounded.worst_case() * powers_of_two(exponents)
        if not (units < EXACT_LIMIT).all():
            raise WeightsError(
                f"prior layer {self.name}: a worst-case sum of {units.max():.0f} units; "
                f"expected less than {EXACT_LIMIT:.0f}. Quantize the prior of these weights again"
            )
        return rounded


def round_to_8_bits(values: Tensor) -> Tensor:
    """Float64 values rounded to 8 significant bits."""
    return values.to(torch.bfloat16).double()


def powers_of_two(exponents: Tensor) -> Tensor:
    """Exactly `2^exponents` in float64; a general power function need not be exact."""
    return torch.from_numpy(np.ldexp(1.0, exponents.numpy().astype(np.int32)))


def round_to_units(values: Tensor, exponents: Tensor) -> Tensor:
    """Float64 `values [..., out]` rounded to multiples of `2^-exponents`, half to even."""
    powers = powers_of_two(exponents)
    return torch.round(values * powers) / powers


def split_exponents(exponents: Tensor, accumulators: Sequence[Accumulator]) -> list[Tensor]:
    """Exponents of all output channels in one vector, per accumulator.

    Raises:
        WeightsError: The vector's length is not the number of output channels.
    """
    sizes = [len(a.weights[0]) for a in accumulators]
    if exponents.shape != (sum(sizes),) or exponents.dtype != torch.int8:
        raise WeightsError(
            f"prior exponents have shape {tuple(exponents.shape)} and type {exponents.dtype}; "
            f"expected ({sum(sizes)},) and torch.int8"
        )
    return list(torch.split(exponents, sizes))


def convolve(image: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`image [1, in, H, W]` with `weight [out, in, k, k]` for odd k, zeros around the edge, plus `bias [out]`.

    Where PyTorch has oneDNN, that is called by name. Left to choose, PyTorch multiplies matrices for a kernel of 1x1,
    which takes twice the time on processors that the linear algebra library does not know.
    """
    padding = [weight.shape[-1] // 2] * 2
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return torch.mkldnn_convolution(image, weight, bias, padding, (1, 1), (1, 1), 1)
    return F.conv2d(image, weight, bias, padding=padding)


@contextmanager
def fast_factors() -> Iterator[None]:
    """Let convolutions round their factors to bfloat16, which changes no exact sum, where the processor gains by it.

    The setting is the process's, so convolutions of other threads are rounded too meanwhile; those of this package
    compute in bfloat16 anyway where that is fast. Of uses at the same time the last to end restores the setting.
    """
    settings = getattr(torch.backends.mkldnn, "conv", None)  # not in older versions of PyTorch
    if settings is None or not has_fast_bfloat16():
        yield
        return
    with _lock:
        _before.append(_before[0] if _before else settings.fp32_precision)
        settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        with _lock:
            precision = _before.pop()
            if not _before:
                settings.fp32_precision = precision


def to_image(rows: Tensor, height: int, width: int) -> Tensor:
    """Rows `[height * width, c]` as `[1, c, height, width]`, channels last, without a copy."""
    return rows.view(1, height, width, -1).permute(0, 3, 1, 2)


def to_rows(image: Tensor) -> Tensor:
    """The inverse of `to_image`."""
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])


def multiply(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`rows [P, in]` times `weight [out, in]`, plus `bias [out]`: `[P, out]`."""
    return to_rows(convolve(to_image(rows, len(rows), 1), weight[:, :, None, None], bias))
