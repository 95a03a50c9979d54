"""The learned prior in exact arithmetic: the same numbers on every machine, so that what it coded can be decoded.

It is the float prior (`vtok.prior`) with everything rounded to integers:

    codes, companded     8 bits; 16 log2(1 + |code|), from a frozen table of 256
    activations          0 to 126: ReLU6 in steps of 1/21
    weights              8 bits, in units of a power of two per output channel and tensor, the finest that keeps every
                         sum below 2^24 units (`vtok.dyadic`)
    biases               32 bits, in the finest of an output channel's units
    gates, correction    multiples of 1/64; log2 of the scale's factor of 1/128
    magnitudes' weights  integers; their sum is the scale, and its float32 bits are a piecewise linear log2

No calibration is needed: no range is guessed. The integers are computed from the released weights, in half precision,
when these are loaded; stored beside them are only the exponents of the units, the magnitudes' weights and the tables.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtok.channel_flags import ZERO_CODE
from vtok.checkerboard import NEIGHBOURS
from vtok.dyadic import IntegerTerms, Terms, split_exponents
from vtok.errors import WeightsError
from vtok.integer_products import Product
from vtok.prior import NUM_MAGNITUDES, GroupNetwork, Prior
from vtok.prior_tables import PriorTables, tables_to_tensors

COMPAND_STEPS = 16  # per unit of the companded code
STEPS = 21  # per unit of an activation
GATE_STEPS = 64  # per unit of a gate or the correction
FACTOR_STEPS = 128  # per octave of the scale
MAX_ACTIVATION = 6 * STEPS
# Largest values of the sums that the magnitudes' weights multiply: 1, change and size around it, size there, and of the
# four neighbours change and size. Codes are -128 to 127, so sizes are up to 128 and changes up to 255.
LARGEST_MAGNITUDES = (1, 9 * 255, 9 * 128, 128, 4 * 255, 4 * 128)
MAGNITUDE_TERMS = (1, 9, 9, 1, 4, 4)  # the float prior has means where the exact one has sums


class Layer(NamedTuple):
    """Integers of one layer with one input: `(weight x input + bias) >> exponent`.

    Attributes:
        weight: int8 `[in, out]`, or `[9, in, out]` for a 3x3 kernel.
        bias: int32 `[out]`.
        exponent: int32 `[out]`.
    """

    weight: Tensor
    bias: Tensor
    exponent: Tensor


@dataclass(frozen=True, eq=False)
class GroupWeights:
    """Weights of one group's network.

    Attributes:
        start: First channel.
        end: Behind the last channel.
        from_context: `[context_dim, dim]`.
        from_lower: From the channels of the groups before, `[9, start, dim]`; None for the first group.
        from_own: From the four neighbours that the first pass coded, `[4, size, dim]`.
        biases: int32 `[2, dim]`: of the first layer in the first pass, and in the second.
        exponent: int32 `[dim]`, of the first layer.
        hidden: The second layer.
        out: The third layer. Outputs are `[4, size]`: temporal gate, correction, factor, spatial gate.
    """

    start: int
    end: int
    from_context: Product
    from_lower: Product | None
    from_own: Product
    biases: Tensor
    exponent: Tensor
    hidden: Layer
    out: Layer

    def outputs(self, channels: Tensor, num_outputs: int) -> Layer:
        """The third layer for some channels, counted from `start`, and the first outputs, `[num_outputs, channels]`."""
        chosen = (torch.arange(num_outputs)[:, None] * (self.end - self.start) + channels).flatten()
        return Layer(self.out.weight.index_select(1, chosen), self.out.bias[chosen], self.out.exponent[chosen])


@dataclass(frozen=True, eq=False)
class PriorWeights:
    """All weights at one quality.

    Attributes:
        from_previous: `[9, C1, context_dim]`.
        from_before: `[C2, context_dim]`.
        context_biases: int32 `[3, context_dim]`: without a previous latent frame, with one, with both.
        context_exponent: int32 `[context_dim]`.
        context_hidden: The second layer of the context, `[9, context_dim, context_dim]`.
        groups: The groups' weights.
    """

    from_previous: Product
    from_before: Product
    context_biases: Tensor
    context_exponent: Tensor
    context_hidden: Layer
    groups: tuple[GroupWeights, ...]


class ExactPrior:
    """The exact prior of one set of weights; make it with `quantize` or `from_tensors`.

    Attributes:
        tables: Frequency tables and which of them to use.
        num_channels: n.
        groups: Ends of the channel groups.
        companded: int8 `[256]`: what the networks see of a stored code.
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
        self.groups = prior.groups
        _check_companded(self._companded)
        _check_magnitudes(self._magnitudes, self.num_channels)
        self.companded = self._companded
        self.magnitude_weights = self._magnitudes.float()
        layers = _layers(prior, int(self._companded.abs().max()))
        exponents = split_exponents(self._exponents, layers)
        self._layers = [layer.in_units(e) for layer, e in zip(layers, exponents, strict=True)]

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
        layers = _layers(prior, int(companded.abs().max()))
        weights = F.softplus(prior.magnitude_weights.detach().double()) / torch.tensor(MAGNITUDE_TERMS)
        exponent = int(23 - torch.log2((weights * torch.tensor(LARGEST_MAGNITUDES)).sum(-1).max()).ceil())
        tensors = {
            "exponents": torch.cat([layer.finest_exponents() for layer in layers]),
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
            WeightsError: A tensor is missing or has another shape, or weights are no integers of 8 bits in its units.
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
        """The weights at `quality`, between trained qualities interpolated in steps of 1/256."""
        context, hidden, *of_groups = self._layers
        bias, rows, starts = context.constants
        bounds = zip((0, *self.groups[:-1]), self.groups, strict=True)
        return PriorWeights(
            _product(context, 0),
            _product(context, 1),
            bias + starts + _interpolate(rows, quality),
            context.exponents,
            _layer(hidden),
            tuple(
                _group_weights(start, end, of_groups[3 * i : 3 * i + 3], quality)
                for i, (start, end) in enumerate(bounds)
            ),
        )


def _group_weights(start: int, end: int, layers: list[IntegerTerms], quality: float) -> GroupWeights:
    enter, hidden, out = layers
    bias, rows, second_pass = enter.constants
    first = bias + _interpolate(rows, quality)
    from_own = _product(enter, 1)
    return GroupWeights(
        start=start,
        end=end,
        from_context=_product(enter, 0),
        from_lower=_product(enter, 2) if start else None,
        from_own=from_own._replace(weight=from_own.weight[NEIGHBOURS]),
        biases=torch.cat([first, first + second_pass]),
        exponent=enter.exponents,
        hidden=_layer(hidden),
        out=_layer(out),
    )


def _layer(terms: IntegerTerms) -> Layer:
    return Layer(_product(terms, 0).weight, terms.constants[0][0], terms.exponents)


def _product(terms: IntegerTerms, index: int) -> Product:
    """One weight tensor as it is multiplied."""
    taps = terms.weights[index].permute(2, 3, 1, 0).flatten(0, 1)
    return Product((taps[0] if len(taps) == 1 else taps).contiguous(), terms.factors[index])


def _layers(prior: Prior, largest_companded: int) -> list[Terms]:
    """All layers in order: two of the context, three of each group."""
    from_companded = STEPS / COMPAND_STEPS
    starts = torch.cat(
        [torch.zeros(1, len(prior.from_start.weight)).double(), _half(prior.from_start.weight)[..., 0, 0].T]
    )
    bias = _half(prior.from_previous.bias) + _half(prior.from_before.bias) + _half(prior.from_start.bias)
    context = Terms(
        "context",
        tuple(_half(layer.weight) * from_companded for layer in (prior.from_previous, prior.from_before)),
        (largest_companded, largest_companded),
        (_steps(bias), _half(prior.context_quality.rows) * STEPS, starts.cumsum(0) * STEPS),
    )
    layers = [context, _hidden("context_hidden", prior.context_hidden)]
    for i, network in enumerate(prior.group_networks):
        assert isinstance(network, GroupNetwork)
        layers += _group_layers(network, f"group {i}", largest_companded)
    return layers


def _group_layers(network: GroupNetwork, name: str, largest_companded: int) -> Iterator[Terms]:
    from_companded = STEPS / COMPAND_STEPS
    inputs = [network.from_own] if network.from_lower is None else [network.from_own, network.from_lower]
    bias = _half(network.from_context.bias)
    if network.from_lower is not None:
        bias = bias + _half(network.from_lower.bias)
    second_pass = (_half(network.from_own.bias) + _half(network.second_pass)) * STEPS
    yield Terms(
        f"{name} enter",
        (_half(network.from_context.weight), *(_half(layer.weight) * from_companded for layer in inputs)),
        (MAX_ACTIVATION, *(largest_companded for _ in inputs)),
        (_steps(bias), _half(network.quality.rows) * STEPS, second_pass[None]),
    )
    yield _hidden(f"{name} hidden", network.hidden)
    # Temporal gate, correction, factor, spatial gate: the first pass needs only the first three.
    order = [0, 2, 3, 1]
    scale = torch.tensor([GATE_STEPS, GATE_STEPS, FACTOR_STEPS, GATE_STEPS], dtype=torch.float64)[:, None]
    dim = network.out.weight.shape[1]
    weight = _half(network.out.weight).view(4, -1, dim)[order] * scale[..., None] / STEPS
    bias = _half(network.out.bias).view(4, -1)[order] * scale + 0.5
    yield Terms(f"{name} out", (weight.view(-1, dim, 1, 1),), (MAX_ACTIVATION,), (bias.view(1, -1),))


def _hidden(name: str, layer: nn.Conv2d) -> Terms:
    """A layer from activations to activations."""
    return Terms(name, (_half(layer.weight),), (MAX_ACTIVATION,), (_steps(_half(layer.bias)),))


def _half(parameter: Tensor | None) -> Tensor:
    """A parameter in the precision in which it is released, as float64: rounding to it again changes nothing."""
    assert parameter is not None
    return parameter.detach().half().double()


def _steps(bias: Tensor) -> Tensor:
    """A bias in steps of the activation, with the half that makes rounding down rounding to the nearest, `[1, out]`."""
    return (bias * STEPS + 0.5)[None]


def _interpolate(rows: Tensor, quality: float) -> Tensor:
    """The row of `quality` from the two beside it, int32 `[out]`; rounded to whole units, halves up."""
    position = min(max(round((quality - 1) * 256), 0), 256 * (len(rows) - 1))
    low, share = position // 256, position % 256
    high = min(low + 1, len(rows) - 1)
    mean = (rows[low].long() * (256 - share) + rows[high].long() * share + 128) >> 8
    return mean.int()


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
