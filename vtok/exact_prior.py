"""The learned prior in exact arithmetic: the same numbers on every machine, so that what it coded can be decoded.

It is the float prior (`vtok.prior`) with everything rounded to multiples of powers of two:

    codes, companded     integers, 16 log2(1 + |code|), from a frozen table of 256
    activations          integers 0 to 192: ReLU6 in steps of 1/32
    weights, biases      multiples of one power of two per output channel, the finest that keeps every sum exact in
                         float32 (`vtok.dyadic`); weights of 8 significant bits
    gates, correction    multiples of 1/64; log2 of the scale's factor of 1/128
    magnitudes' weights  integers; their sum is the scale, and its float32 bits are a piecewise linear log2

No calibration is needed: the bound of 2^24 leaves weights more than 8 bits, and no range is guessed. The rounded
weights are computed from the released ones, in half precision, when these are loaded; stored beside them are only the
exponents of the units, the magnitudes' weights and the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vtok.dyadic import Accumulator, round_to_units, split_exponents
from vtok.errors import WeightsError
from vtok.layers import QualityTable
from vtok.prior import NUM_MAGNITUDES, GroupNetwork, Prior
from vtok.prior_tables import PriorTables, tables_to_tensors

ZERO_CODE = 128
COMPAND_STEPS = 16  # per unit of the companded code
STEPS = 32  # per unit of an activation
GATE_STEPS = 64  # per unit of a gate or the correction
FACTOR_STEPS = 128  # per octave of the scale
MAX_ACTIVATION = 6 * STEPS
CHECKERBOARD_TAPS = ((0, 1), (1, 0), (1, 2), (2, 1))  # up, left, right, down: where the first pass is, from the second
# Largest values of the sums that the magnitudes' weights multiply: 1, change and size around it, size there, and of the
# four neighbours change and size. Codes are -128 to 127, so sizes are up to 128 and changes up to 255.
LARGEST_MAGNITUDES = (1, 9 * 255, 9 * 128, 128, 4 * 255, 4 * 128)
MAGNITUDE_TERMS = (1, 9, 9, 1, 4, 4)  # the float prior has means where the exact one has sums


@dataclass(frozen=True, eq=False)
class GroupWeights:
    """Weights of one group's network, float32, exact.

    Attributes:
        start: First channel.
        end: Behind the last channel.
        from_context: `[dim, context_dim]`, with `bias [dim]` of both passes.
        from_lower: `[dim, start, 3, 3]`, or None for the first group.
        from_own: `[dim, 4, size]`: from the neighbours that the first pass coded, with `second_pass [dim]`.
        hidden: `[dim, dim]`.
        out: `[4, size, dim]`: temporal gate, correction, factor, spatial gate.
    """

    start: int
    end: int
    from_context: Tensor
    bias: Tensor
    from_lower: Tensor | None
    from_own: Tensor
    second_pass: Tensor
    hidden: Tensor
    hidden_bias: Tensor
    out: Tensor
    out_bias: Tensor

    def restricted(self, lower: Tensor, own: Tensor) -> "GroupWeights":
        """Those of some channels only: `lower` of the groups before, `own` counted from `start`; int64."""
        return replace(
            self,
            from_lower=None if self.from_lower is None else self.from_lower.index_select(1, lower),
            from_own=self.from_own.index_select(2, own),
            out=self.out.index_select(1, own),
            out_bias=self.out_bias.index_select(1, own),
        )


@dataclass(frozen=True, eq=False)
class PriorWeights:
    """All weights at one quality, float32, exact.

    Attributes:
        from_previous: `[context_dim, C1, 3, 3]`.
        from_before: `[context_dim, C2]`.
        context_bias: `[3, context_dim]`: without a previous latent frame, with one, with both.
        context_hidden: `[context_dim, context_dim, 3, 3]`.
        groups: The groups' weights.
    """

    from_previous: Tensor
    from_before: Tensor
    context_bias: Tensor
    context_hidden: Tensor
    context_hidden_bias: Tensor
    groups: tuple[GroupWeights, ...]


class ExactPrior:
    """The exact prior of one set of weights; make it with `quantize` or `from_tensors`.

    Attributes:
        tables: Frequency tables and which of them to use.
        num_channels: n.
        companded: float32 `[256]`: what the networks see of a stored code, integers.
        magnitude_weights: float32 `[2, n, 6]`, integers: of the scale in units of `2^-magnitude_exponent`, per pass.
        magnitude_exponent: See above.
    """

    def __init__(self, prior: Prior, tensors: Mapping[str, Tensor]) -> None:
        """Round the weights of `prior` and check every worst-case sum; arguments as for `from_tensors`."""
        try:
            self._exponents = tensors["exponents"]
            frequencies, lookup = tensors["frequencies"].numpy(), tensors["lookup"].numpy()
            self._companded, self._magnitudes = tensors["companded"], tensors["magnitude_weights"]
            self.magnitude_exponent = int(tensors["magnitude_exponent"])
        except KeyError as error:
            raise WeightsError(f"exact prior: tensor {error} is missing") from error
        self.tables = PriorTables.from_arrays(frequencies.astype(np.uint32), lookup)
        self.num_channels = prior.groups[-1]
        self._groups = prior.groups
        _check_companded(self._companded)
        _check_magnitudes(self._magnitudes, self.num_channels)
        self.companded = self._companded.float()
        self.magnitude_weights = self._magnitudes.float()
        accumulators = _accumulators(prior, int(self._companded.abs().max()))
        exponents = split_exponents(self._exponents, accumulators)
        self._unit_exponents = exponents
        self._accumulators = [a.exact(e) for a, e in zip(accumulators, exponents, strict=True)]

    @classmethod
    def quantize(cls, prior: Prior) -> Self:
        """Choose units and fit tables for the weights of `prior`, once, when they are released.

        Raises:
            WeightsError: They cannot be quantized.
        """
        # log2 and softplus may differ in their last bit between machines, so their roundings are stored.
        sizes = (torch.arange(256, dtype=torch.float64) - ZERO_CODE).abs()
        signs = (torch.arange(256) - ZERO_CODE).sign()
        companded = (torch.round(COMPAND_STEPS * torch.log2(1 + sizes)) * signs).to(torch.int8)
        accumulators = _accumulators(prior, int(companded.abs().max()))
        weights = F.softplus(prior.magnitude_weights.detach().double()) / torch.tensor(MAGNITUDE_TERMS)
        exponent = int(23 - torch.log2((weights * torch.tensor(LARGEST_MAGNITUDES)).sum(-1).max()).ceil())
        tensors = {
            "exponents": torch.cat([a.finest_exponents() for a in accumulators]),
            "companded": companded,
            "magnitude_weights": torch.round(weights * 2.0**exponent).clamp_min(1).to(torch.int32),
            "magnitude_exponent": torch.tensor([exponent], dtype=torch.int8),
            **tables_to_tensors(PriorTables.from_prior(prior)),
        }
        return cls(prior, tensors)

    @classmethod
    def from_tensors(cls, prior: Prior, tensors: Mapping[str, Tensor]) -> Self:
        """The exact prior that `tensors` describes.

        Args:
            prior: The float prior with the weights of the same file.
            tensors: What `tensors()` gave.

        Raises:
            WeightsError: A tensor is missing or has another shape, or a worst-case sum is not exact in float32.
        """
        return cls(prior, tensors)

    def tensors(self) -> dict[str, Tensor]:
        """What has to be stored beside the weights of the float prior."""
        return {
            "exponents": self._exponents,
            "companded": self._companded,
            "magnitude_weights": self._magnitudes,
            "magnitude_exponent": torch.tensor([self.magnitude_exponent], dtype=torch.int8),
            **tables_to_tensors(self.tables),
        }

    def of_quality(self, quality: float) -> PriorWeights:
        """The weights at `quality`, between trained qualities interpolated in steps of 1/256, exactly."""
        layers = iter(zip(self._accumulators, self._unit_exponents, strict=True))
        context, exponents = next(layers)
        from_previous, from_before = (_float(w) for w in context.weights)
        bias, rows, starts = context.constants
        context_bias = _float(bias + starts + _interpolate(rows, quality, exponents))
        hidden, _ = next(layers)
        groups = []
        for start, end in zip((0, *self._groups[:-1]), self._groups, strict=True):
            enter, exponents = next(layers)
            row = _interpolate(enter.constants[1], quality, exponents)
            groups.append(_group_weights(start, end, enter, row, next(layers)[0], next(layers)[0]))
        return PriorWeights(
            from_previous,
            from_before[:, :, 0, 0],
            context_bias,
            _float(hidden.weights[0]),
            _float(hidden.constants[0])[0],
            tuple(groups),
        )


def _group_weights(
    start: int, end: int, enter: Accumulator, quality_row: Tensor, hidden: Accumulator, out: Accumulator
) -> GroupWeights:
    from_context, from_own, *from_lower = (_float(w) for w in enter.weights)
    bias, _, second_pass = enter.constants
    return GroupWeights(
        start=start,
        end=end,
        from_context=from_context[:, :, 0, 0],
        bias=_float(bias + quality_row)[0],
        from_lower=from_lower[0] if from_lower else None,
        from_own=torch.stack([from_own[:, :, i, j] for i, j in CHECKERBOARD_TAPS], dim=1),
        second_pass=_float(second_pass)[0],
        hidden=_float(hidden.weights[0])[:, :, 0, 0],
        hidden_bias=_float(hidden.constants[0])[0],
        out=_float(out.weights[0]).reshape(4, end - start, -1),
        out_bias=_float(out.constants[0])[0].view(4, -1),
    )


def _accumulators(prior: Prior, largest_companded: int) -> list[Accumulator]:
    """All layers in order: two of the context, three of each group; see `Accumulator` and `GroupWeights`."""
    from_companded = STEPS / COMPAND_STEPS
    starts = torch.cat(
        [torch.zeros(1, len(prior.from_start.weight)).double(), _half(prior.from_start.weight)[..., 0, 0].T]
    )
    bias = _half(prior.from_previous.bias) + _half(prior.from_before.bias) + _half(prior.from_start.bias)
    layers = [
        Accumulator(
            "context",
            tuple(_half(layer.weight) * from_companded for layer in (prior.from_previous, prior.from_before)),
            (largest_companded, largest_companded),
            (_steps(bias), _quality_rows(prior.context_quality), starts.cumsum(0) * STEPS),
        ),
        Accumulator(
            "context_hidden",
            (_half(prior.context_hidden.weight),),
            (MAX_ACTIVATION,),
            (_steps(_half(prior.context_hidden.bias)),),
        ),
    ]
    for i, network in enumerate(prior.group_networks):
        assert isinstance(network, GroupNetwork)
        layers += _group_accumulators(network, f"group {i}", largest_companded)
    return layers


def _group_accumulators(network: GroupNetwork, name: str, largest_companded: int) -> list[Accumulator]:
    from_companded = STEPS / COMPAND_STEPS
    inputs = [network.from_own] if network.from_lower is None else [network.from_own, network.from_lower]
    bias = _half(network.from_context.bias)
    if network.from_lower is not None:
        bias = bias + _half(network.from_lower.bias)
    second_pass = (_half(network.from_own.bias) + _half(network.second_pass)) * STEPS
    enter = Accumulator(
        f"{name} enter",
        (_half(network.from_context.weight), *(_half(layer.weight) * from_companded for layer in inputs)),
        (MAX_ACTIVATION, *(largest_companded for _ in inputs)),
        (_steps(bias), _quality_rows(network.quality), second_pass[None]),
    )
    hidden = Accumulator(
        f"{name} hidden", (_half(network.hidden.weight),), (MAX_ACTIVATION,), (_steps(_half(network.hidden.bias)),)
    )
    # Temporal gate, correction, factor, spatial gate: the first pass needs only the first three.
    order = [0, 2, 3, 1]
    scale = torch.tensor([GATE_STEPS, GATE_STEPS, FACTOR_STEPS, GATE_STEPS], dtype=torch.float64)[:, None]
    dim = network.out.weight.shape[1]
    weight = _half(network.out.weight).view(4, -1, dim)[order] * scale[..., None] / STEPS
    bias = _half(network.out.bias).view(4, -1)[order] * scale + 0.5
    out = Accumulator(f"{name} out", (weight.view(-1, dim),), (MAX_ACTIVATION,), (bias.view(1, -1),))
    return [enter, hidden, out]


def _half(parameter: Tensor | None) -> Tensor:
    """A parameter in the precision in which it is released, as float64: rounding to it again changes nothing."""
    assert parameter is not None
    return parameter.detach().half().double()


def _steps(bias: Tensor) -> Tensor:
    """A bias in steps of the activation, with the half that makes rounding down rounding to the nearest, `[1, out]`."""
    return (bias * STEPS + 0.5)[None]


def _quality_rows(table: QualityTable) -> Tensor:
    return _half(table.rows) * STEPS


def _interpolate(rows: Tensor, quality: float, exponents: Tensor) -> Tensor:
    """The row of `quality`, from the two beside it, rounded to the units; few enough bits to be exact in float64."""
    position = min(max(round((quality - 1) * 256), 0), 256 * (len(rows) - 1))
    low, share = position // 256, position % 256
    high = min(low + 1, len(rows) - 1)
    row = (rows[low] * (256 - share) + rows[high] * share) / 256
    return round_to_units(row, exponents)


def _float(values: Tensor) -> Tensor:
    return values.float().contiguous()


def _check_companded(companded: Tensor) -> None:
    if companded.shape != (256,) or companded.dtype != torch.int8 or int(companded[ZERO_CODE]) != 0:
        raise WeightsError(
            f"exact prior: companding table {tuple(companded.shape)} {companded.dtype}; expected 256 int8"
        )


def _check_magnitudes(weights: Tensor, num_channels: int) -> None:
    shape = (2, num_channels, NUM_MAGNITUDES)
    if weights.shape != shape or weights.dtype != torch.int32:
        raise WeightsError(
            f"exact prior: magnitude weights {tuple(weights.shape)} {weights.dtype}; expected {shape} int32"
        )
    worst = (weights.double() * torch.tensor(LARGEST_MAGNITUDES)).sum(-1)
    if weights[..., 0].min() < 1 or weights.min() < 0 or worst.max() >= 2**24:
        raise WeightsError(
            f"exact prior: magnitude weights from {weights.min()} with a worst case of {worst.max():.0f}"
        )
