"""The learned prior in exact arithmetic: it gives the same numbers on every machine, so any machine can decode.

It is the float prior (`vtok.networks.prior`) with everything rounded to integers:

    codes, companded     8 bits; 16 log2(1 + |code|), from a frozen table of 256
    activations          0 to 126: ReLU6 in steps of 1/21
    weights              8 bits, in units of a power of two per output channel and tensor, the finest that keeps every
                         sum below 2^24 units (`vtok.entropy.exact_sums`)
    biases               32 bits, in the finest of an output channel's units
    gates, correction    multiples of 1/64; log2 of the scale's factor of 1/128
    magnitudes' weights  integers; their sum is the scale, and its float32 bits are a piecewise linear log2
    displaced codes      `vtok.entropy.displaced_codes`

No calibration is needed, as no range is guessed. The integers are computed from the released weights, in half
precision, when these are loaded. Only the exponents of the units, the magnitudes' weights, the gains and the tables are
stored beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from vtok.entropy.channel_flags import ZERO_CODE
from vtok.entropy.checkerboard import NEIGHBOURS
from vtok.entropy.displaced_codes import DisplacedCodes, DisplacementMatrices, quantize_gains
from vtok.entropy.exact_sums import IntegerTerms, split_exponents
from vtok.entropy.integer_products import Product, WindowProduct
from vtok.entropy.prior_layers import COMPAND_STEPS, magnitude_weights, prior_layers, quantize_magnitudes
from vtok.entropy.tables import PriorTables, tables_to_tensors
from vtok.errors import WeightsError
from vtok.networks.latent_model import LatentModel
from vtok.networks.prior_group import GroupNetwork


class Layer(NamedTuple):
    """Integers of one layer with one input: `(weight x input + bias) >> exponent`.

    Attributes:
        weight: int8 `[in, out]`.
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
        end: One past the last channel.
        from_context: Weights of the context in the first layer, `[context_dim, dim]`.
        from_lower: Weights of the `start` channels of the groups before, in the first layer; None for the first group.
        from_own: Weights of the four neighbours that the first pass coded, `[4, size, dim]`, in the first layer; None
            for a group with one pass.
        biases: int32 `[2, dim]`: biases of the first layer in the first pass and in the second.
        exponent: int32 `[dim]`: exponents of the first layer.
        hidden: The second layer.
        out: The third layer. Outputs are `[4, size]`: temporal gate, correction, factor, spatial gate. A group with one
            pass has `[3, size]`, without the spatial gate.
    """

    start: int
    end: int
    from_context: Product
    from_lower: WindowProduct | None
    from_own: Product | None
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
        from_previous: Weights of the first `num_previous` channels of the previous latent frame.
        num_previous: Number of channels of the previous latent frame that the context sees.
        from_before: Weights of the first C2 channels of the latent frame before that, `[C2, context_dim]`.
        from_motion: Weights of the maps of the motion, `[3, context_dim]`.
        context_biases: int32 `[3, context_dim]`: biases without a previous latent frame, with one, and with both.
        context_exponent: int32 `[context_dim]`: exponents of the context's first layer.
        context_hidden: The second layer of the context, without its bias.
        hidden_bias: int32 `[context_dim]`: bias of the context's second layer.
        hidden_exponent: int32 `[context_dim]`: exponents of the context's second layer.
        groups: The groups' weights.
    """

    from_previous: WindowProduct
    num_previous: int
    from_before: Product
    from_motion: Product
    context_biases: Tensor
    context_exponent: Tensor
    context_hidden: WindowProduct
    hidden_bias: Tensor
    hidden_exponent: Tensor
    groups: tuple[GroupWeights, ...]

    @property
    def num_seen(self) -> int:
        """Number of first channels that networks see, of another latent frame or of the groups before."""
        return max(self.num_previous, len(self.from_before.weight), self.groups[-1].start)


class ExactPrior:
    """The exact prior of one set of weights; make it with `quantize` or `from_tensors`.

    Attributes:
        tables: Frequency tables, and the lookup that chooses among them.
        num_channels: n, the number of channels.
        groups: Ends of the channel groups.
        companded: int8 `[256]`: a stored code as the networks see it.
        first_single_pass: Groups from this channel on are coded in one pass.
        magnitude_weights: float32 `[2, first_single_pass, 6]`, integers: weights of the magnitudes in the scale, per
            pass, in units of `2^-magnitude_exponent`.
        single_pass_magnitude_weights: float32 `[n - first_single_pass, 3]`, integers: weights of the magnitudes in the
            scale of groups with one pass, in units of `2^-magnitude_exponent`.
        magnitude_exponent: Exponent of the unit of the magnitudes' weights.
    """

    def __init__(self, model: LatentModel, tensors: Mapping[str, Tensor]) -> None:
        """Round the weights of `model` and check every worst-case sum; `from_tensors` explains the arguments."""
        prior = model.prior
        try:
            self._exponents = tensors["exponents"]
            frequencies, lookup = tensors["frequencies"].numpy(), tensors["lookup"].numpy()
            self.companded = tensors["companded"]
            self._magnitudes = magnitude_weights(prior, tensors)
            self.magnitude_exponent = int(tensors["magnitude_exponent"])
            gains = tensors["gains"]
        except KeyError as error:
            raise WeightsError(f"exact prior: tensor {error} is missing") from error
        self.tables = PriorTables.from_arrays(frequencies.astype(np.uint32), lookup)
        self.num_channels = prior.groups[-1]
        self.groups, self.first_single_pass = prior.groups, prior.first_single_pass
        _check_companded(self.companded)
        self.magnitude_weights, self.single_pass_magnitude_weights = (
            self._magnitudes.get(name, torch.empty(0)).float()
            for name in ("magnitude_weights", "single_pass_magnitude_weights")
        )
        layers = prior_layers(prior, int(self.companded.int().abs().max()))
        exponents = split_exponents(self._exponents, layers)
        self._layers = [layer.in_units(e) for layer, e in zip(layers, exponents, strict=True)]
        self._num_near = [
            prior.from_previous.num_near,
            prior.context_hidden.num_near,
            *(_lower_near(network) for network in prior.group_networks),
        ]
        self._num_previous = prior.context_channels[0]
        self._displacement = DisplacementMatrices(model.transform, gains, self._num_previous)

    @classmethod
    def quantize(cls, model: LatentModel) -> Self:
        """Choose units and fit tables for the weights of `model`, once, when the weights are released.

        Raises:
            WeightsError: The weights cannot be quantized.
        """
        prior = model.prior
        # log2, softplus and exp may differ in their last bit between machines, so their rounded values are stored.
        sizes = (torch.arange(256, dtype=torch.float64) - ZERO_CODE).abs()
        signs = (torch.arange(256) - ZERO_CODE).sign()
        companded = (torch.round(COMPAND_STEPS * torch.log2(1 + sizes)) * signs).to(torch.int8)
        layers = prior_layers(prior, int(companded.abs().max()))
        tensors = {
            "exponents": torch.cat([layer.finest_exponents() for layer in layers]),
            "companded": companded,
            **quantize_magnitudes(prior),
            "gains": quantize_gains(model.log_gain),
            **tables_to_tensors(PriorTables.from_prior(prior)),
        }
        return cls(model, tensors)

    @classmethod
    def from_tensors(cls, model: LatentModel, tensors: Mapping[str, Tensor]) -> Self:
        """The exact prior that `tensors` describes.

        Args:
            model: The model with the weights of the same file; its float prior, its block transform.
            tensors: The result of `tensors()`.

        Raises:
            WeightsError: A tensor is missing or has the wrong shape, or weights are not 8-bit integers in its units.
        """
        return cls(model, tensors)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors to store beside the weights of the float prior."""
        return {
            "exponents": self._exponents,
            "companded": self.companded,
            **self._magnitudes,
            "magnitude_exponent": torch.tensor([self.magnitude_exponent], dtype=torch.int8),
            "gains": self._displacement.gains,
            **tables_to_tensors(self.tables),
        }

    @property
    def num_qualities(self) -> int:
        """Number of trained qualities."""
        return len(self._displacement.gains)

    def displaced_codes(self, quality: float) -> DisplacedCodes:
        """What displaces codes at `quality`."""
        return self._displacement.of_quality(quality)

    def of_quality(self, quality: float) -> PriorWeights:
        """The weights at `quality`, interpolated between trained qualities in steps of 1/256."""
        context, hidden, *of_groups = self._layers
        bias, rows, starts = context.constants
        of_previous, of_hidden, *of_lower = self._num_near
        bounds = zip((0, *self.groups[:-1]), self.groups, of_lower, strict=True)
        return PriorWeights(
            from_previous=_window_product(context, 0, of_previous),
            num_previous=self._num_previous,
            from_before=_product(context, 1),
            from_motion=_product(context, 2),
            context_biases=bias + starts + _interpolate(rows, quality),
            context_exponent=context.exponents,
            context_hidden=_window_product(hidden, 0, of_hidden),
            hidden_bias=hidden.constants[0][0],
            hidden_exponent=hidden.exponents,
            groups=tuple(
                _group_weights(start, end, num_near, of_groups[3 * i : 3 * i + 3], quality)
                for i, (start, end, num_near) in enumerate(bounds)
            ),
        )


def _lower_near(network: nn.Module) -> int:
    """Number of channels of the groups before whose 3x3 windows a group's network sees."""
    assert isinstance(network, GroupNetwork)
    return 0 if network.from_lower is None else network.from_lower.num_near


def _group_weights(start: int, end: int, num_near: int, layers: list[IntegerTerms], quality: float) -> GroupWeights:
    enter, hidden, out = layers
    bias, rows, *second_pass = enter.constants
    first = bias + _interpolate(rows, quality)
    own = _product(enter, 1) if second_pass else None
    return GroupWeights(
        start=start,
        end=end,
        from_context=_product(enter, 0),
        from_lower=_window_product(enter, len(enter.weights) - 1, num_near) if start else None,
        from_own=own._replace(weight=own.weight[NEIGHBOURS]) if own else None,
        biases=torch.cat([first, *(first + x for x in second_pass)]),
        exponent=enter.exponents,
        hidden=_layer(hidden),
        out=_layer(out),
    )


def _layer(terms: IntegerTerms) -> Layer:
    return Layer(_product(terms, 0).weight, terms.constants[0][0], terms.exponents)


def _product(terms: IntegerTerms, index: int) -> Product:
    """One weight tensor in the layout it is multiplied in."""
    taps = terms.weights[index].permute(2, 3, 1, 0).flatten(0, 1)
    return Product((taps[0] if len(taps) == 1 else taps).contiguous(), terms.factors[index])


def _window_product(terms: IntegerTerms, index: int, num_near: int) -> WindowProduct:
    return WindowProduct(terms.weights[index].T.contiguous(), terms.factors[index], num_near)


def _interpolate(rows: Tensor, quality: float) -> Tensor:
    """The row at `quality`, interpolated from the two beside it, int32 `[out]`; rounded to whole units, halves up."""
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
