"""The terms that the layers of the float prior add up, in integer steps, and the weights of its magnitudes."""

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from vtok.entropy.exact_sums import Terms
from vtok.entropy.motion_maps import MAP_STEPS
from vtok.errors import WeightsError
from vtok.networks.layers import NearConv2d
from vtok.networks.prior import Prior
from vtok.networks.prior_group import NUM_GATES, GroupNetwork

COMPAND_STEPS = 16  # per unit of the companded code
STEPS = 21  # per unit of an activation
GATE_STEPS = 64  # per unit of a gate or the correction
FACTOR_STEPS = 128  # per octave of the scale
MAX_ACTIVATION = 6 * STEPS
# Largest values of the sums that the magnitudes' weights multiply: the constant 1, change and size in the 3x3 window,
# size at the position, and change and size of the four neighbours. In a single pass: 1, and change and size at the
# position. Codes are -128 to 127, so sizes are up to 128 and changes up to 255.
LARGEST_MAGNITUDES = {
    "magnitude_weights": (1, 9 * 255, 9 * 128, 128, 4 * 255, 4 * 128),
    "single_pass_magnitude_weights": (1, 255, 128),
}
# The float prior has means where the exact one has sums.
MAGNITUDE_TERMS = {"magnitude_weights": (1, 9, 9, 1, 4, 4), "single_pass_magnitude_weights": (1, 1, 1)}


def prior_layers(prior: Prior, largest_companded: int) -> list[Terms]:
    """The terms of all layers in order: two layers of the context, then three of each group."""
    from_companded = STEPS / COMPAND_STEPS
    starts = torch.cat(
        [torch.zeros(1, len(prior.from_start.weight)).double(), half_precision(prior.from_start.weight)[..., 0, 0].T]
    )
    inputs = prior.from_previous, prior.from_before, prior.from_start, prior.from_motion
    bias = torch.stack([half_precision(layer.bias) for layer in inputs]).sum(0)
    context = Terms(
        "context",
        (
            _windows(prior.from_previous) * from_companded,
            half_precision(prior.from_before.weight) * from_companded,
            half_precision(prior.from_motion.weight) * STEPS / MAP_STEPS,
        ),
        (largest_companded, largest_companded, MAP_STEPS),
        (_steps(bias), half_precision(prior.context_quality.rows) * STEPS, starts.cumsum(0) * STEPS),
    )
    hidden = prior.context_hidden
    layers = [
        context,
        Terms("context_hidden", (_windows(hidden),), (MAX_ACTIVATION,), (_steps(half_precision(hidden.bias)),)),
    ]
    for i, network in enumerate(prior.group_networks):
        assert isinstance(network, GroupNetwork)
        layers += _group_layers(network, f"group {i}", largest_companded)
    return layers


def _group_layers(network: GroupNetwork, name: str, largest_companded: int) -> Iterator[Terms]:
    from_companded = STEPS / COMPAND_STEPS
    weights, bias = [half_precision(network.from_context.weight)], half_precision(network.from_context.bias)
    second_pass = []
    if network.from_own is not None:
        weights.append(half_precision(network.from_own.weight) * from_companded)
        second_pass = [((half_precision(network.from_own.bias) + half_precision(network.second_pass)) * STEPS)[None]]
    if network.from_lower is not None:
        weights.append(_windows(network.from_lower) * from_companded)
        bias = bias + half_precision(network.from_lower.bias)
    yield Terms(
        f"{name} enter",
        tuple(weights),
        (MAX_ACTIVATION, *(largest_companded for _ in weights[1:])),
        (_steps(bias), half_precision(network.quality.rows) * STEPS, *second_pass),
    )
    hidden = network.hidden
    yield Terms(
        f"{name} hidden", (half_precision(hidden.weight),), (MAX_ACTIVATION,), (_steps(half_precision(hidden.bias)),)
    )
    # Temporal gate, correction, factor, spatial gate: the first pass needs only the first three.
    order, steps = ([0, 2, 3, 1], [GATE_STEPS, GATE_STEPS, FACTOR_STEPS, GATE_STEPS])
    if network.num_gates < NUM_GATES:
        order, steps = [0, 1, 2], steps[:3]
    scale = torch.tensor(steps, dtype=torch.float64)[:, None]
    dim = network.out.weight.shape[1]
    weight = half_precision(network.out.weight).view(len(steps), -1, dim)[order] * scale[..., None] / STEPS
    bias = half_precision(network.out.bias).view(len(steps), -1)[order] * scale + 0.5
    yield Terms(f"{name} out", (weight.view(-1, dim, 1, 1),), (MAX_ACTIVATION,), (bias.view(1, -1),))


def _windows(layer: NearConv2d) -> Tensor:
    """Weights `[out, 9 * num_near + num_far]`, with inputs in the order of `WindowProduct`."""
    windows = half_precision(layer.weight).permute(0, 2, 3, 1).flatten(1)
    return windows if layer.far is None else torch.cat([windows, half_precision(layer.far.weight)[..., 0, 0]], dim=1)


def half_precision(parameter: Tensor | None) -> Tensor:
    """A parameter rounded to half precision, in which it is released, as float64; rounding again changes nothing."""
    assert parameter is not None
    return parameter.detach().half().double()


def _steps(bias: Tensor) -> Tensor:
    """A bias in steps of the activation, `[1, out]`, plus a half, so that rounding down rounds to the nearest."""
    return (bias * STEPS + 0.5)[None]


def quantize_magnitudes(prior: Prior) -> dict[str, Tensor]:
    """The magnitudes' weights, int32, in units of `2^-magnitude_exponent`, and `magnitude_exponent`."""
    weights = {
        name: F.softplus(parameter.detach().double()) / torch.tensor(terms)
        for name, terms in MAGNITUDE_TERMS.items()
        if (parameter := getattr(prior, name)) is not None
    }
    worst = max(_worst_case(name, of_kind).max() for name, of_kind in weights.items())
    exponent = int(23 - torch.log2(worst).ceil())
    rounded = {name: torch.round(x * 2.0**exponent).clamp_min(1).to(torch.int32) for name, x in weights.items()}
    return rounded | {"magnitude_exponent": torch.tensor([exponent], dtype=torch.int8)}


def magnitude_weights(prior: Prior, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The magnitudes' weights that `prior` needs, checked to have exact sums.

    Raises:
        KeyError: A tensor is missing.
        WeightsError: A tensor has the wrong shape or type, or a worst-case sum of more than 24 bits.
    """
    found = {}
    for name in LARGEST_MAGNITUDES:
        parameter = getattr(prior, name)
        if parameter is None:
            continue
        weights, shape = tensors[name], tuple(parameter.shape)
        if weights.shape != shape or weights.dtype != torch.int32:
            given = f"{tuple(weights.shape)} {weights.dtype}"
            raise WeightsError(f"exact prior: {name} are {given}; expected {shape} int32")
        worst = _worst_case(name, weights.double())
        if weights.min() < 0 or weights[..., 0].min() < 1 or worst.max() >= 2**24:
            raise WeightsError(f"exact prior: {name} from {weights.min()} with a worst case of {worst.max():.0f}")
        found[name] = weights
    return found


def _worst_case(name: str, weights: Tensor) -> Tensor:
    return (weights * torch.tensor(LARGEST_MAGNITUDES[name])).sum(-1)
