"""Sums that are the same in int32 and in float32, in any order and on any machine.

Inputs are 8-bit integers. The weights of one output channel in one tensor are integers up to 127 times a power of two
`2^-exponent`, their unit. As long as the worst case `sum(|weight|) * largest input` stays below 2^24 units, every
partial sum has at most 24 bits, so float32 also holds it exactly. Then the kind of arithmetic, the order of the terms,
fused multiply-adds, the number of threads and the blocking of a product cannot change the result.

The terms of one output may come from several tensors. Their sums and the constants are added in int32, in the finest of
the tensors' units.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vtok.errors import WeightsError

EXACT_LIMIT = 2**24  # float32 holds all integers up to this
MAX_EXPONENT = 16
MAX_WEIGHT = 127


@dataclass(frozen=True, eq=False)
class IntegerTerms:
    """The terms of a layer in units: its result is `(sum of weights x inputs x factors, + constants) >> exponents`.

    Attributes:
        weights: int8 `[out, in, ...]` each.
        factors: int32 `[out]` for each weight tensor: its unit as a multiple of the finest unit, a power of two.
        constants: int32 `[rows, out]` each: one row of each tensor is added, or a mean of rows.
        exponents: int32 `[out]`: exponents of the finest units.
    """

    weights: tuple[Tensor, ...]
    factors: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    exponents: Tensor


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of one output, per output channel, before they are rounded to units.

    Attributes:
        name: Name of the layer, for messages.
        weights: float64 `[out, in, ...]` each.
        largest: For each weight tensor, the largest absolute value of its integer inputs.
        constants: float64 `[rows, out]` each: one row of each tensor is added, or a mean of rows.
    """

    name: str
    weights: tuple[Tensor, ...]
    largest: tuple[int, ...]
    constants: tuple[Tensor, ...]

    @property
    def num_exponents(self) -> int:
        """Number of exponents: one for each output channel of each weight tensor."""
        return len(self.weights) * len(self.weights[0])

    def finest_exponents(self) -> Tensor:
        """Exponents of the finest units that keep the bounds, int8 `[num_exponents]`.

        Raises:
            WeightsError: A weight is not finite or more than 127, or the constants are too large.
        """
        if not all(x.isfinite().all() for x in (*self.weights, *self.constants)):
            raise WeightsError(f"prior layer {self.name} has weights that are not finite in half precision")
        exponents = torch.full((len(self.weights), len(self.weights[0])), MAX_EXPONENT, dtype=torch.int8)
        while (too_fine := self._exceeds(exponents)).any():
            exponents -= too_fine.to(torch.int8)
            if exponents.min() < 0:
                raise WeightsError(f"prior layer {self.name} has weights that are too large for 8 bits")
        return exponents.flatten()

    def in_units(self, exponents: Tensor) -> IntegerTerms:
        """The terms as multiples of the units `2^-exponents`, int8 `[num_exponents]`; checked to have exact sums.

        Raises:
            WeightsError: A weight has more than 8 bits, or a worst-case sum has too many.
        """
        exponents = exponents.view(len(self.weights), -1)
        in_range = (exponents >= 0) & (exponents <= MAX_EXPONENT)
        if not in_range.all() or self._exceeds(exponents).any():
            raise WeightsError(
                f"prior layer {self.name}: weights are not 8-bit multiples of their units, or a worst-case sum has "
                f"more than 24 bits. Quantize the prior of these weights again"
            )
        finest = exponents.amax(0)
        return IntegerTerms(
            tuple(_in_units(w, e).to(torch.int8) for w, e in zip(self.weights, exponents, strict=True)),
            tuple(powers_of_two(finest - e).int() for e in exponents),
            tuple(torch.round(c * powers_of_two(finest)).int() for c in self.constants),
            finest.int(),
        )

    def _exceeds(self, exponents: Tensor) -> Tensor:
        """Whether each unit `[weight tensors, out]` exceeds a bound; the finest ones where only the total sum does."""
        finest = exponents.amax(0)
        total = sum((c.abs().amax(0) * powers_of_two(finest) + 1 for c in self.constants), torch.zeros(1))
        exceeded = []
        for weight, most, exponent in zip(self.weights, self.largest, exponents, strict=True):
            sizes = _in_units(weight, exponent).abs().flatten(1)
            worst = sizes.sum(1) * most
            exceeded.append((sizes.amax(1) > MAX_WEIGHT) | (worst >= EXACT_LIMIT))
            total = total + worst * powers_of_two(finest - exponent)
        return torch.stack(exceeded) | ((total >= 2**31) & (exponents == finest))


def powers_of_two(exponents: Tensor) -> Tensor:
    """`2^exponents` in float64, exactly; a general power function need not be exact."""
    return torch.from_numpy(np.ldexp(1.0, exponents.numpy().astype(np.int32)))


def split_exponents(exponents: Tensor, layers: Sequence[Terms]) -> list[Tensor]:
    """Split one vector of the exponents of all layers into one per layer.

    Raises:
        WeightsError: The vector has the wrong length or type.
    """
    sizes = [layer.num_exponents for layer in layers]
    if exponents.shape != (sum(sizes),) or exponents.dtype != torch.int8:
        raise WeightsError(
            f"prior exponents have shape {tuple(exponents.shape)} and type {exponents.dtype}; "
            f"expected ({sum(sizes)},) and torch.int8. Quantize the prior of these weights again"
        )
    return list(torch.split(exponents, sizes))


def _in_units(weight: Tensor, exponents: Tensor) -> Tensor:
    """Float64 `weight [out, in, ...]` in units `2^-exponents`, `[out]`, as integers rounded half to even."""
    return torch.round(weight.transpose(0, -1) * powers_of_two(exponents)).transpose(0, -1)
