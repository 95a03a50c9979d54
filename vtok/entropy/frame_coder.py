"""Coding of one latent frame after another under the exact prior: encoder and decoder walk through the same passes.

The channels coded under the prior follow channel group by channel group: first the positions where row + column is
even, then the others. Each of these is a pass, position by position.

Where a block comes from elsewhere in the latent frame before, the prior sees that one displaced
(`vtok.entropy.displaced_codes`), and takes it to have changed from what is in place.
"""

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtok.entropy.channel_flags import CODED, REPEATED, ZERO_CODE
from vtok.entropy.checkerboard import Checkerboard, parts, rows_side_by_side, with_zeros
from vtok.entropy.context_codes import Channels, ContextCodes, first_companded
from vtok.entropy.exact_prior import ExactPrior, GroupWeights, Layer
from vtok.entropy.integer_products import Convolution, multiply
from vtok.entropy.motion_maps import motion_maps
from vtok.entropy.prior_layers import FACTOR_STEPS, GATE_STEPS, MAX_ACTIVATION
from vtok.entropy.range_coder import Bytes
from vtok.entropy.symbols import PastInOnePass, PastInTwoPasses, SymbolParameters
from vtok.video.motion import ChunkMotion, Vectors

Codes = NDArray[np.uint8]

MAX_CORRECTION = 64 * GATE_STEPS
MAX_FACTOR = 16 * FACTOR_STEPS


class CodePass(Protocol):
    """Encodes or decodes one pass."""

    def __call__(self, rows: slice, columns: slice, symbols: "SymbolParameters") -> Codes:
        """Return stored codes of some rows (positions in the order of passes) and coded channels, `[rows, columns]`."""


class FrameCoder:
    """Walks through the passes of one group's latent frames, with the two previous latent frames as its state.

    Rows of matrices are positions in the order of passes (`vtok.entropy.checkerboard`). Columns are channels coded
    under the prior.

    Attributes:
        positions: The order of positions.
        flags: Flags of the channels in the last latent frame, `[n]`; None before the first.
    """

    def __init__(self, prior: ExactPrior, quality: float, height: int, width: int) -> None:
        self._prior, self._quality, self._weights = prior, quality, prior.of_quality(quality)
        self._companding = prior.companded.numpy()
        self.positions = Checkerboard(height, width)
        nothing = ContextCodes.none(height * width)
        self._previous = self._before = [nothing] * len(prior.groups)
        self._num_known = 0
        self.flags: Bytes | None = None

    @torch.inference_mode()
    def code(self, flags: Bytes, code_pass: CodePass, motion: ChunkMotion, codes_before: Codes | None) -> None:
        """Code the next latent frame with channels' flags `[n]`: call `code_pass` for each pass of `CODED` channels.

        Rare channels are no context for others in place: they hold too little to be worth anything.

        Args:
            flags: The channels' flags.
            code_pass: Encodes or decodes a pass.
            motion: The motion of the latent frame.
            codes_before: All stored codes of the latent frame before, `[n, H * W]`; None if there is none.
        """
        self.flags = flags
        coded = np.flatnonzero(flags == CODED)
        # A repeated channel that was no context, such as a rare one, stays none.
        repeated = np.flatnonzero(flags == REPEATED)
        known = [codes.among(repeated) for codes in self._previous]
        # The caller's half precision must not reach the float32 products: its sums are rounded.
        with torch.autocast("cpu", enabled=False):
            if len(coded):
                past = _Past(self._previous, self._before, self._num_known, motion_maps(motion, self.positions))
                if codes_before is not None and motion.fields[-1].any():
                    past = self._displaced(past, codes_before, motion.fields[-1])
                self._code_channels(coded, code_pass, known, past)
        self._before, self._previous = self._previous, known
        self._num_known = min(self._num_known + 1, 2)

    def _displaced(self, past: "_Past", codes_before: Codes, vectors: Vectors) -> "_Past":
        """The past with what is expected at displaced positions, and before that what was in place there."""
        displaced_codes = self._prior.displaced_codes(self._quality)
        places, expected = displaced_codes.at_displaced(codes_before.reshape(-1, *self.positions.size), vectors)
        rows, used = self.positions.numbers.numpy()[places], np.flatnonzero(expected.any(1))
        previous, before = [], []
        for group, in_place, known in zip(self._weights.groups, past.previous, past.before, strict=True):
            own = used[(group.start <= used) & (used < group.end)]
            codes = torch.from_numpy(np.ascontiguousarray(expected[own].T))
            seen = codes if group.start < self._weights.num_seen else codes[:, :0]
            others = ContextCodes(own, codes, self._compand((seen + ZERO_CODE).to(torch.uint8)))
            previous.append(in_place.with_rows(rows, others))
            before.append(known.with_rows(rows, in_place.rows(rows)))
        return past._replace(previous=previous, before=before)

    def _code_channels(self, coded: Channels, code_pass: CodePass, known: list[ContextCodes], past: "_Past") -> None:
        """Code the channels `coded` and add them to the `known` codes of each group."""
        context = self._context(past)
        for number, group in enumerate(self._weights.groups):
            columns = slice(*np.searchsorted(coded, [group.start, group.end]).tolist())
            if columns.start == columns.stop:
                continue
            lower = None
            if group.from_lower is not None:
                companded, channels = first_companded(known[:number], group.start)
                if len(channels):
                    lower = Convolution(companded, group.from_lower.restricted(channels), self.positions)
            own = coded[columns]
            previous, before = (codes[number].of(own) for codes in (past.previous, past.before))
            of_frame = _GroupOfFrame(group, own, context, lower, previous, before, columns)
            code_group = self._code_in_two_passes if group.from_own is not None else self._code_in_one_pass
            stored, companded = code_group(of_frame, code_pass)
            known[number] = known[number].joined(ContextCodes(own, stored.to(torch.int16).sub_(ZERO_CODE), companded))

    def _context(self, past: "_Past") -> Tensor:
        """The context from the previous latent frames and the motion: activations `[P, context_dim]`."""
        weights, all_parts = self._weights, list(parts(0, len(self.positions.order)))
        # Unknown channels count as zero, so only the weights of the known ones are needed.
        companded, channels = first_companded(past.previous, weights.num_previous)
        previous = Convolution(companded, weights.from_previous.restricted(channels), self.positions)
        before, channels = first_companded(past.before, len(weights.from_before.weight))
        from_before = weights.from_before.restricted(channels)
        first = []
        for part in all_parts:
            sums = previous.plus(weights.context_biases[past.num_known], part)
            sums = weights.from_motion.plus(from_before.plus(sums, before[part]), past.maps[part])
            first.append(_activate(sums, weights.context_exponent))
        second = Convolution(torch.cat(first), weights.context_hidden, self.positions)
        bias, exponent = weights.hidden_bias, weights.hidden_exponent
        return torch.cat([_activate(second.plus(bias, part), exponent) for part in all_parts])

    def _compand(self, codes: Tensor) -> Tensor:
        """The stored codes as the networks see them."""
        return torch.from_numpy(self._companding.take(codes.numpy()))

    def _code_in_one_pass(self, of_frame: "_GroupOfFrame", code_pass: CodePass) -> tuple[Tensor, Tensor]:
        """Code a group with one pass; return stored codes `[P, channels]`, and companded ones if networks see them."""
        group, channels, own = of_frame.weights, of_frame.channels, of_frame.own
        weights = self._prior.single_pass_magnitude_weights[own - self._prior.first_single_pass]
        past = PastInOnePass(of_frame.previous, of_frame.before, weights)
        num_positions = len(self.positions.order)
        symbols, out = SymbolParameters(num_positions, len(own), self._prior), group.outputs(channels, 3)
        for part in parts(0, num_positions):
            x = _activate(of_frame.sums(group.biases[0], part), group.exponent)
            past.fill(symbols, part, _outputs(x, group.hidden, out, 3))
        codes = torch.from_numpy(code_pass(slice(0, num_positions), of_frame.columns, symbols))
        return codes, self._compand(codes if group.start < self._weights.num_seen else codes[:, :0])

    def _code_in_two_passes(self, of_frame: "_GroupOfFrame", code_pass: CodePass) -> tuple[Tensor, Tensor]:
        """Code a group with two passes; return stored and companded codes, `[P, channels]` each."""
        group, channels, own, columns = of_frame.weights, of_frame.channels, of_frame.own, of_frame.columns
        assert group.from_own is not None
        weights = self._prior.magnitude_weights.index_select(1, torch.from_numpy(own))
        past = PastInTwoPasses(of_frame.previous, of_frame.before, weights, self.positions)
        num_first, num_second = self.positions.sizes
        symbols = SymbolParameters(num_first, len(channels), self._prior)
        out = group.outputs(channels, 3)
        for part in parts(0, num_first):
            x = _activate(of_frame.sums(group.biases[0], part), group.exponent)
            past.fill_first(symbols, part, _outputs(x, group.hidden, out, 3))
        first = torch.from_numpy(code_pass(slice(0, num_first), columns, symbols))
        companded = with_zeros(self._compand(first))
        if not num_second:
            return first, companded[:-1]
        past.add_first_pass(first.float().sub_(ZERO_CODE))
        symbols = SymbolParameters(num_second, len(channels), self._prior)
        out, from_own = group.outputs(channels, 4), group.from_own.restricted(channels)
        for part in parts(0, num_second):
            around = rows_side_by_side(companded, self.positions.neighbours[part])
            sums = of_frame.sums(group.biases[1], slice(num_first + part.start, num_first + part.stop))
            x = _activate(from_own.plus(sums, around), group.exponent)
            past.fill_second(symbols, part, _outputs(x, group.hidden, out, 4))
        second = torch.from_numpy(code_pass(slice(num_first, num_first + num_second), columns, symbols))
        return torch.cat([first, second]), torch.cat([companded[:-1], self._compand(second)])


class _Past(NamedTuple):
    """What the prior sees besides the latent frame itself.

    Attributes:
        previous: Codes of each group in the previous latent frame.
        before: Codes of each group in the latent frame before that.
        num_known: How many of the two there are.
        maps: The maps of the motion, int8 `[P, 3]`; see `motion_maps`.
    """

    previous: list[ContextCodes]
    before: list[ContextCodes]
    num_known: int
    maps: Tensor


class _GroupOfFrame(NamedTuple):
    """The coded part of one channel group in one latent frame.

    Attributes:
        weights: The group's weights.
        own: The group's coded channels.
        context: The temporal context, int8 `[P, context_dim]`.
        lower: The first layer's products of the channels of the groups before; None if all are zero.
        previous: Centred codes in the previous latent frame, int16 `[P, channels]`.
        before: Centred codes in the latent frame before the previous one, int16 `[P, channels]`.
        columns: The group's columns among all coded channels.
    """

    weights: GroupWeights
    own: Channels
    context: Tensor
    lower: Convolution | None
    previous: Tensor
    before: Tensor
    columns: slice

    @property
    def channels(self) -> Tensor:
        """The coded channels, counted from the group's first."""
        return torch.from_numpy(self.own - self.weights.start)

    def sums(self, bias: Tensor, part: slice) -> Tensor:
        """The first layer's sums without the group's own codes of the first pass, int32 `[positions, dim]`."""
        sums = self.weights.from_context.plus(bias, self.context[part])
        return sums if self.lower is None else self.lower.plus(sums, part)


def _activate(sums: Tensor, exponent: Tensor) -> Tensor:
    """ReLU6 in integer steps, int8. The biases include a half, so this rounds to the nearest. Changes `sums`."""
    return sums.bitwise_right_shift_(exponent).clamp_(0, MAX_ACTIVATION).to(torch.int8)


def _outputs(x: Tensor, hidden: Layer, out: Layer, num_outputs: int) -> list[Tensor]:
    """Gate, correction, factor (and spatial gate), int16, from the first activations `[P, dim]`."""
    x = _activate(multiply(x, hidden.weight).add_(hidden.bias), hidden.exponent)
    outputs = multiply(x, out.weight).add_(out.bias).bitwise_right_shift_(out.exponent).chunk(num_outputs, dim=1)
    limits = (GATE_STEPS, MAX_CORRECTION, MAX_FACTOR, GATE_STEPS)
    return [x.clamp(-limit, limit).to(torch.int16) for x, limit in zip(outputs, limits, strict=False)]
