"""The prior: the probability of each code, given the codes that a decoder already knows.

The prior gives every code a location and a scale of a symmetric distribution over integers. It looks at:

* the two previous latent frames at and around the position, displaced by the motion, and the motion (`motion_maps.py`);
* all channel groups before the code's own, in a 3x3 neighbourhood (groups go from the most to the least important);
* the code's own group in two passes over a checkerboard: in the second pass, the four neighbours of the first.

It sees many channels at the position only. The last groups, whose codes say little about each other, have a single
pass. Within a pass all codes are independent given the context.

                 location = g_t * previous  +  g_s * (neighbours - g_t * neighbours' previous)  +  correction
                            '- copy: still scenes    '- what changed around it                      '- networks

A network alone cannot copy: hundreds of exact values do not pass through its hidden layer. So the gates `g` come from
the network, and the copied values do not. In the same way the scale is a learned multiple of a weighted mean of nearby
magnitudes (as in the variance models of lossless image coders), and the network only corrects it.

All activations are clipped ReLUs, inputs are functions of integers, and there is no normalisation. So everything here
can be computed exactly in integers after weights and activations have been quantized.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vtok.networks.layers import NearConv2d, QualityTable, conv, zero_conv
from vtok.networks.motion_maps import NUM_MOTION_MAPS
from vtok.networks.prior_group import NUM_GATES, NUM_GATES_SINGLE_PASS, GroupNetwork

NUM_MAGNITUDES = 6
NUM_MAGNITUDES_SINGLE_PASS = 3
LOG2_SCALE_RANGE = (-4.0, 7.0)
MIN_PROBABILITY = 2.0**-16


class Distribution(NamedTuple):
    """`location` of each code, in steps of one code, and `log2_scale` of the logistic's width; shaped like codes."""

    location: Tensor
    log2_scale: Tensor


class PriorMotion(NamedTuple):
    """What the prior sees of the motion.

    Attributes:
        previous: For each latent frame, the codes of the one before, displaced (`vtok.networks.displaced_codes`), `[b,
            n, T, H, W]`; zero for the first.
        maps: The maps of `vtok.networks.motion_maps`, `[b * T, 3, H, W]`.
    """

    previous: Tensor
    maps: Tensor


class PriorPast(NamedTuple):
    """What the prior sees besides latent frames themselves, `[b, n, H, W]`.

    Attributes:
        previous: Codes of the latent frames before, in place; zero if there are none, `[b, n, H, W]`.
        before: Codes of those before these, likewise.
        started: Two maps `[b, 2, H, W]`: whether there is a previous latent frame, and whether there is one before it.
        displaced: Codes of the latent frames before, displaced; None if nothing moves.
        maps: The maps of `vtok.networks.motion_maps`, `[b, 3, H, W]`; None if nothing moves.
    """

    previous: Tensor
    before: Tensor
    started: Tensor
    displaced: Tensor | None
    maps: Tensor | None


def compand(codes: Tensor) -> Tensor:
    """Signed log2(1 + |code|). Networks see codes like this, so that a large one does not drown the others."""
    return codes.sign() * torch.log2(1 + codes.abs())


class Prior(nn.Module):
    """The learned prior over codes `[b, n, T, H, W]`, in floating point (see the module docstring).

    Args:
        num_channels: n, the number of channels, which are in order of importance.
        groups: Ends of the channel groups; the last is `num_channels`.
        context_channels: Numbers of channels of the previous latent frame, and of the one before it, that feed the
            temporal context.
        context_dim: Width of the temporal context.
        group_dim: Width of each group's hidden layers.
        single_pass_dim: Width of the hidden layers of groups that are coded in one pass.
        near_channels: Number of channels of the previous latent frame, and of the groups before, that networks see
            around a position; they see the other channels at the position only.
        near_context: Number of channels of the temporal context's first layer that its second layer sees around a
            position.
        num_single_pass: Number of last groups that are coded in one pass.
        num_qualities: Number of rows of the quality tables.
    """

    def __init__(
        self,
        *,
        num_channels: int,
        groups: tuple[int, ...] = (16, 64, 128, 256, 384),
        context_channels: tuple[int, int] = (256, 128),
        context_dim: int = 160,
        group_dim: int = 128,
        single_pass_dim: int = 128,
        near_channels: int = 384,
        near_context: int = 160,
        num_single_pass: int = 0,
        num_qualities: int = 9,
    ) -> None:
        super().__init__()
        self.groups = (*tuple(end for end in groups if end < num_channels), num_channels)
        self.context_channels = (min(context_channels[0], num_channels), min(context_channels[1], num_channels))
        self.from_previous = NearConv2d(self.context_channels[0], context_dim, near_channels)
        self.from_before = conv(self.context_channels[1], context_dim, 1)
        self.from_start = conv(2, context_dim, 1)
        self.from_motion = zero_conv(NUM_MOTION_MAPS, context_dim, 1)
        self.context_quality = QualityTable(num_qualities, context_dim)
        self.context_hidden = NearConv2d(context_dim, context_dim, near_context)
        starts = (0, *self.groups[:-1])
        num_two_pass = max(0, len(self.groups) - num_single_pass)
        self.first_single_pass = self.groups[num_two_pass - 1] if num_two_pass else 0
        self.group_networks = nn.ModuleList(
            GroupNetwork(
                start,
                end - start,
                context_dim=context_dim,
                dim=single_pass_dim if start >= self.first_single_pass else group_dim,
                num_near=near_channels,
                single_pass=start >= self.first_single_pass,
                num_qualities=num_qualities,
            )
            for start, end in zip(starts, self.groups, strict=True)
        )
        # The softplus of these parameters gives the weights of the magnitudes in the scale, per pass. All start small,
        # and the constant's larger than the others.
        weights = torch.full((2, self.first_single_pass, NUM_MAGNITUDES), -3.0)
        weights[..., 0] = -1.0
        self.magnitude_weights = nn.Parameter(weights) if weights.numel() else None
        weights = torch.full((num_channels - self.first_single_pass, NUM_MAGNITUDES_SINGLE_PASS), -3.0)
        weights[:, 0] = -1.0
        self.single_pass_magnitude_weights = nn.Parameter(weights) if weights.numel() else None
        # The distribution's tail is a second, wider component. Its weight (a logit) and its log2 width ratio are
        # polynomials of the log2 scale, constant term first.
        self.tail_weight = nn.Parameter(torch.tensor([-2.0, 0.0, 0.0]))
        self.tail_ratio = nn.Parameter(torch.tensor([1.5, 0.0]))

    def forward(self, codes: Tensor, quality: Tensor, motion: PriorMotion | None = None) -> Distribution:
        """Location and scale of every code, from the codes that its decoder knows at that point.

        Args:
            codes: Centred codes (0 is zero), `[b, n, T, H, W]`, integers in a float tensor.
            quality: Qualities `[b]`.
            motion: The motion of the chunks; None if nothing moves.
        """
        b, _n, t = codes.shape[:3]
        previous, before = (delay(codes, steps) for steps in (1, 2))
        started = _started(codes)
        frames, previous, before = (_frames(x) for x in (codes, previous, before))
        displaced, maps = (None, None) if motion is None else (_frames(motion.previous), motion.maps)
        past = PriorPast(previous, before, started, displaced, maps)
        distribution = self.of_frames(frames, past, quality.repeat_interleave(t))
        return Distribution(*(_video(x, b) for x in distribution))

    def of_frames(self, frames: Tensor, past: PriorPast, quality: Tensor) -> Distribution:
        """Location and scale of every code of latent frames `[b, n, H, W]`, from what is before; quality is `[b]`."""
        previous, before, maps = past.previous, past.before, past.maps
        if past.displaced is not None and maps is not None:
            # Where codes are displaced, their change is that from those in place.
            previous, before = past.displaced, torch.where(maps[:, :1] > 0, previous, before)
        context = self._context(previous, before, past.started, quality, maps)
        is_second = checkerboard(*frames.shape[2:], device=frames.device)
        # No network sees the last group, unless it has a second pass.
        companded = compand(frames[:, : max([self.first_single_pass, *self.groups[-2:-1]])])
        outs: dict[int, list[Tensor]] = {NUM_GATES: [], NUM_GATES_SINGLE_PASS: []}
        start = 0
        for end, network in zip(self.groups, self.group_networks, strict=True):
            own = companded[:, start:end] * (1 - is_second)
            out = network(context, companded[:, :start], own, is_second, quality)
            outs[out.shape[1]].append(out)
            start = end
        split = self.first_single_pass
        parts = []
        if outs[NUM_GATES]:
            gates = torch.cat(outs[NUM_GATES], dim=2).float()
            two_pass = (x[:, :split] for x in (frames, previous, before))
            parts.append(self._distribution(gates, *two_pass, is_second=is_second))
        if outs[NUM_GATES_SINGLE_PASS]:
            gates = torch.cat(outs[NUM_GATES_SINGLE_PASS], dim=2).float()
            parts.append(self._single_pass_distribution(gates, previous[:, split:], before[:, split:]))
        return Distribution(*(torch.cat(x, dim=1) for x in zip(*parts, strict=True)))

    def compile_elementwise(self) -> None:
        """Replace the elementwise parts with versions that `torch.compile` fuses; for training only."""
        self._distribution = torch.compile(self._distribution)  # type: ignore[method-assign]
        self._single_pass_distribution = torch.compile(self._single_pass_distribution)  # type: ignore[method-assign]
        self.bits = torch.compile(self.bits)  # type: ignore[method-assign]

    def _context(
        self, previous: Tensor, before: Tensor, started: Tensor, quality: Tensor, motion: Tensor | None
    ) -> Tensor:
        x = self.from_previous(compand(previous[:, : self.context_channels[0]]))
        x = x + self.from_before(compand(before[:, : self.context_channels[1]])) + self.from_start(started)
        bias = self.from_motion.bias
        assert bias is not None
        x = x + (bias[:, None, None] if motion is None else self.from_motion(motion))
        x = F.relu6(x + self.context_quality(quality)[:, :, None, None])
        return F.relu6(self.context_hidden(x))

    def _distribution(
        self, gates: Tensor, codes: Tensor, previous: Tensor, before: Tensor, *, is_second: Tensor
    ) -> Distribution:
        assert self.magnitude_weights is not None
        gate_t, gate_s, correction, factor = gates.unbind(1)
        gate_t, gate_s = F.hardtanh(gate_t), F.hardtanh(gate_s)
        known = codes * (1 - is_second)
        neighbours, neighbours_previous = (_mean_of_neighbours(x) * is_second for x in (known, previous))
        location = gate_t * previous + gate_s * (neighbours - gate_t * neighbours_previous) + correction
        change = (previous - before).abs()
        magnitudes = (
            torch.ones_like(codes),
            F.avg_pool2d(change, 3, 1, 1),
            F.avg_pool2d(previous.abs(), 3, 1, 1),
            previous.abs(),
            _mean_of_neighbours((known - previous * (1 - is_second)).abs()) * is_second,
            _mean_of_neighbours(known.abs()) * is_second,
        )
        weights = F.softplus(self.magnitude_weights)[..., None, None]
        scale = torch.zeros_like(codes)
        for i, magnitude in enumerate(magnitudes):
            scale = torch.addcmul(scale, magnitude, torch.lerp(weights[0, :, i], weights[1, :, i], is_second))
        return Distribution(location, (torch.log2(scale) + factor).clamp(*LOG2_SCALE_RANGE))

    def _single_pass_distribution(self, gates: Tensor, previous: Tensor, before: Tensor) -> Distribution:
        assert self.single_pass_magnitude_weights is not None
        gate_t, correction, factor = gates.unbind(1)
        constant, of_change, of_size = F.softplus(self.single_pass_magnitude_weights)[..., None, None].unbind(1)
        scale = constant + of_change * (previous - before).abs() + of_size * previous.abs()
        location = F.hardtanh(gate_t) * previous + correction
        return Distribution(location, (torch.log2(scale) + factor).clamp(*LOG2_SCALE_RANGE))

    def bits(self, codes: Tensor, distribution: Distribution) -> Tensor:
        """Ideal code length of every code in bits, shaped like `codes`."""
        location, log2_scale = distribution
        weight, ratio = self._tails(log2_scale)
        distance = (codes - location).abs()
        inverse = torch.exp2(-log2_scale)
        core = logistic_bin(distance, inverse)
        tail = logistic_bin(distance, inverse * torch.exp2(-ratio))
        return -torch.log2(torch.lerp(core, tail, weight).clamp_min(MIN_PROBABILITY))

    def _tails(self, log2_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and log2 width ratio of the wide second component at `log2_scale`."""
        constant, slope, bend = self.tail_weight
        weight = torch.sigmoid(constant + log2_scale * (slope + bend * log2_scale))
        return weight, (self.tail_ratio[0] + self.tail_ratio[1] * log2_scale).clamp(0.5, 4.0)


def checkerboard(h: int, w: int, *, device: torch.device) -> Tensor:
    """1.0 at the positions of the second pass, `[h, w]`; the top left position is in the first pass."""
    rows, columns = torch.arange(h, device=device)[:, None], torch.arange(w, device=device)
    return ((rows + columns) % 2).float()


def logistic_bin(distance: Tensor, inverse_scale: Tensor) -> Tensor:
    """Mass of a unit bin whose centre is `distance` from a logistic's location; on the lower side for precision."""
    return torch.sigmoid((0.5 - distance) * inverse_scale) - torch.sigmoid((-0.5 - distance) * inverse_scale)


def delay(codes: Tensor, steps: int) -> Tensor:
    """Codes `[b, n, T, H, W]` delayed by `steps` latent frames; zeros before the first."""
    return F.pad(codes, (0, 0, 0, 0, steps, 0))[:, :, : codes.shape[2]]


def _started(codes: Tensor) -> Tensor:
    """Two maps `[b * T, 2, H, W]`: whether there is a previous latent frame, and whether there is one before it."""
    b, _, t, h, w = codes.shape
    index = torch.arange(t, device=codes.device).repeat(b)
    flags = torch.stack([index >= 1, index >= 2], dim=1).float()
    return flags[:, :, None, None].expand(-1, -1, h, w)


def _frames(codes: Tensor) -> Tensor:
    """`[b, n, T, H, W]` as `[b * T, n, H, W]`."""
    return codes.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _video(frames: Tensor, b: int) -> Tensor:
    """The inverse of `_frames`."""
    return rearrange(frames, "(b T) n H W -> b n T H W", b=b)


def _mean_of_neighbours(x: Tensor) -> Tensor:
    """Mean of the four direct neighbours, zeros beyond the edge, `[b, n, H, W]`."""
    padded = F.pad(x, (1, 1, 1, 1))
    up, down = padded[:, :, :-2, 1:-1], padded[:, :, 2:, 1:-1]
    left, right = padded[:, :, 1:-1, :-2], padded[:, :, 1:-1, 2:]
    return (up + down + left + right) * 0.25
