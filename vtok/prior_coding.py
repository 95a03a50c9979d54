"""Coding of latent frames under the exact prior: the same passes for encoder and decoder.

The payload of one group of T latent frames is T times a 16-bit number of coded channels, little-endian, then the words
of one range coder (`vtok.entropy`). A latent frame begins with flags that say which channels below that number are
coded; all others are zero. Then it is coded channel group by channel group: of each, first the positions where
row + column is even, then the others. Each is a pass (`vtok.prior_tables`), position by position.
"""

from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vtok.dyadic import convolve, fast_factors, multiply, to_image, to_rows
from vtok.errors import FormatError, TruncatedError
from vtok.exact_prior import (
    CHECKERBOARD_TAPS,
    FACTOR_STEPS,
    GATE_STEPS,
    MAX_ACTIVATION,
    ZERO_CODE,
    ExactPrior,
    GroupWeights,
)
from vtok.prior import LOG2_SCALE_RANGE
from vtok.prior_tables import (
    LEVELS_PER_OCTAVE,
    NO_PREVIOUS,
    NUM_LEVELS,
    NUM_OFFSETS,
    OFFSETS_PER_CODE,
    WAS_CODED,
    WAS_NOT_CODED,
    PassDecoder,
    PassEncoder,
)

ENTROPY_CODER = "prior-1"
Codes = NDArray[np.uint8]
Channels = NDArray[np.intp]

CHANNEL_MULTIPLE = 16
MAX_CORRECTION = 64 * GATE_STEPS
MAX_FACTOR = 16 * FACTOR_STEPS


class CodePass(Protocol):
    """Codes one pass, or finds out its codes."""

    def __call__(self, rows: slice, columns: slice, symbols: "SymbolParameters") -> Codes:
        """The stored codes of some rows (positions in the order of passes) and coded channels, `[rows, columns]`."""


class SymbolParameters:
    """How a pass's codes become symbols, and the symbols' tables; arrays `[positions, channels]`.

    Args:
        location: In steps of `1 / OFFSETS_PER_CODE` of a code, integers in float32.
        scale: In steps of `2^-magnitude_exponent`, positive integers in float32.
        factor: What the network adds to the scale's log2, in steps of `1 / FACTOR_STEPS`, integers in float32.
        prior: Whose tables they are.
    """

    def __init__(self, location: Tensor, scale: Tensor, factor: Tensor, prior: ExactPrior) -> None:
        # Bits 16 and up of a positive float32 are its exponent, biased by 127, and 7 bits m of mantissa: 128 times its
        # log2, but linear within octaves. The parabola 11 m (128 - m) / 4096 corrects that to within 1/128 octave.
        # Everything from here on fits into 16 bits, and is as many times faster than in 32.
        log2_scale = (scale.view(torch.int32) >> 16).to(torch.int16)
        mantissa = log2_scale & 127
        log2_scale += ((128 - mantissa).mul_(mantissa) >> 3).mul_(11) >> 9
        log2_scale += factor.to(torch.int16)
        per_level = FACTOR_STEPS // LEVELS_PER_OCTAVE
        lowest = (127 + prior.magnitude_exponent + int(LOG2_SCALE_RANGE[0])) * FACTOR_STEPS - per_level // 2
        level = (log2_scale.sub_(lowest) >> (per_level.bit_length() - 1)).clamp_(0, NUM_LEVELS - 1)
        steps = location.to(torch.int16)
        centre = (steps + OFFSETS_PER_CODE // 2) >> (OFFSETS_PER_CODE.bit_length() - 1)
        offset = steps.sub_(centre, alpha=OFFSETS_PER_CODE)
        self.tables = prior.tables.lookup.take(level.mul_(NUM_OFFSETS).add_(offset.abs()).numpy())
        self._centre = centre.add_(ZERO_CODE).to(torch.uint8).numpy()  # modulo 256, as all of what follows
        self._mirror = (offset >> 15).to(torch.uint8).numpy()  # 255 where the offset is negative, else 0

    def to_symbols(self, codes: Codes) -> Codes:
        """Stored codes to symbols."""
        symbols: Codes = ((codes - self._centre) ^ self._mirror) - self._mirror
        return symbols

    def to_codes(self, symbols: Codes) -> Codes:
        """The inverse of `to_symbols`."""
        codes: Codes = ((symbols ^ self._mirror) - self._mirror) + self._centre
        return codes


class FrameCoder:
    """Walks through the passes of one group's latent frames, with the two previous ones as its state.

    Rows are positions: those of the first pass, row by row, then those of the second; in maps, all row by row.
    Columns are coded channels.
    """

    def __init__(self, prior: ExactPrior, quality: float, height: int, width: int) -> None:
        self._prior, self._weights = prior, prior.of_quality(quality)
        self._companding = prior.companded.numpy()
        self._size = (height, width)
        self.order, self._num_first, self._neighbours = _checkerboard(height, width)
        self._order, self._map_order = torch.from_numpy(self.order), torch.from_numpy(np.argsort(self.order))
        nothing = np.full((prior.num_channels, height * width), ZERO_CODE, np.uint8)
        self._previous = self._before = _Known(nothing, np.empty(0, np.intp), torch.empty(height * width, 0))
        self._num_known = 0

    def kinds_of_channels(self, count: int) -> Codes:
        """The kind of `CODED_PROBABILITIES` of each of the first `count` channels, for the next latent frame."""
        if not self._num_known:
            return np.full(count, NO_PREVIOUS, np.uint8)
        kinds = np.full(self._prior.num_channels, WAS_NOT_CODED, np.uint8)
        kinds[self._previous.channels] = WAS_CODED
        return kinds[:count]

    def fill_up(self, is_coded: NDArray[np.bool_]) -> None:
        """Add channels of zeros to those that an encoder has to code, `[n]`, in place.

        Any set may be coded. Whole multiples of `CHANNEL_MULTIPLE` per group are faster: convolutions are prepared for
        each shape anew. Channels that were coded in the previous latent frame come first: their flags are cheap.
        """
        kinds = self.kinds_of_channels(len(is_coded))
        for group in self._weights.groups:
            of_group = is_coded[group.start : group.end]
            free = np.flatnonzero(~of_group)
            cheapest_first = free[np.argsort(kinds[group.start + free] != WAS_CODED, kind="stable")]
            of_group[cheapest_first[: -np.count_nonzero(of_group) % CHANNEL_MULTIPLE]] = True

    @torch.inference_mode()
    def code(self, channels: Channels, code_pass: CodePass) -> Codes:
        """The next latent frame, of which `channels`, ascending, are coded: stored codes `[n, P]`, row by row."""
        num_positions = len(self._order)
        codes = np.full((self._prior.num_channels, num_positions), ZERO_CODE, np.uint8)
        companded = torch.empty(num_positions, len(channels))
        # Half precision outside must not reach the convolutions: its sums are rounded.
        with torch.autocast("cpu", enabled=False), fast_factors():
            context = self._context() if len(channels) else torch.empty(0)
            for group in self._weights.groups:
                columns = slice(*np.searchsorted(channels, [group.start, group.end]).tolist())
                if columns.start == columns.stop:
                    continue
                own = channels[columns]
                lower = torch.from_numpy(channels[: columns.start])
                weights = group.restricted(lower, torch.from_numpy(own - group.start))
                x = multiply(context, weights.from_context, weights.bias)
                if weights.from_lower is not None and columns.start:
                    known = to_image(companded[:, : columns.start], *self._size)
                    x += to_rows(convolve(known, weights.from_lower)).index_select(0, self._order)
                coded = self._code_group(weights, x, own, columns, code_pass)
                companded[:, columns] = self._compand(coded)
                codes[own] = coded.numpy().T
        self._before, self._previous = self._previous, _Known(codes, channels, companded)
        self._num_known = min(self._num_known + 1, 2)
        return codes

    def _context(self) -> Tensor:
        """What the previous latent frames say: rows `[P, context_dim]`."""
        weights = self._weights
        x = weights.context_bias[self._num_known].repeat(len(self._order), 1)
        # Channels that were not coded are zero.
        companded, channels = self._previous.first(weights.from_previous.shape[1])
        if len(channels):
            from_previous = weights.from_previous.index_select(1, channels)
            x += to_rows(convolve(to_image(companded, *self._size), from_previous))
        companded, channels = self._before.first(weights.from_before.shape[1])
        if len(channels):
            x += multiply(companded, weights.from_before.index_select(1, channels))
        image = to_image(_activate(x), *self._size)
        x = to_rows(convolve(image, weights.context_hidden, weights.context_hidden_bias))
        return _activate(x).index_select(0, self._order)

    def _compand(self, codes: Tensor) -> Tensor:
        """Stored codes as the networks see them."""
        return torch.from_numpy(self._companding.take(codes.numpy()))

    def _code_group(
        self, group: GroupWeights, x: Tensor, channels: Channels, columns: slice, code_pass: CodePass
    ) -> Tensor:
        """Stored codes of `channels`, a map, from the sum `x [P, dim]` before the first activation of the group."""
        past = _PastOfGroup(self._previous.of(channels), self._before.of(channels), self._size, self._order)
        first, second = slice(0, self._num_first), slice(self._num_first, len(self._order))
        weights = self._prior.magnitude_weights.index_select(1, torch.from_numpy(channels))

        gate, correction, factor = _outputs(x[first], group, num_outputs=3)
        location = correction.addcmul_(gate, past.codes[first])
        symbols = SymbolParameters(_round(location), past.scale(weights[0], first), factor, self._prior)
        coded = [torch.from_numpy(code_pass(first, columns, symbols))]
        if len(self._neighbours):
            own = self._compand_neighbours(coded[0])
            x = multiply(own, group.from_own.flatten(1), group.second_pass).add_(x[second])
            symbols = self._second_pass_symbols(coded[0], _outputs(x, group, num_outputs=4), past, weights[1])
            coded.append(torch.from_numpy(code_pass(second, columns, symbols)))
        return torch.cat(coded).index_select(0, self._map_order)

    def _compand_neighbours(self, first_codes: Tensor) -> Tensor:
        """Companded codes of the four neighbours at the positions of the second pass, `[P2, 4 * c]`."""
        companded = F.pad(self._compand(first_codes), (0, 0, 0, 1))  # zeros stand for positions beyond the edge
        return companded.index_select(0, self._neighbours.flatten()).view(len(self._neighbours), -1)

    def _second_pass_symbols(
        self, first_codes: Tensor, outputs: list[Tensor], past: "_PastOfGroup", weights: Tensor
    ) -> SymbolParameters:
        gate, correction, factor, spatial_gate = outputs
        rows = slice(self._num_first, len(self._order))
        known = first_codes.float().sub_(ZERO_CODE)
        change = self._sum(known).addcmul_(gate, past.neighbours, value=-1 / GATE_STEPS)
        location = correction.addcmul_(gate, past.codes[rows]).addcmul_(spatial_gate, change, value=1 / 4)
        scale = past.scale(weights, rows)
        scale.addcmul_(self._sum((known - past.codes[: self._num_first]).abs_()), weights[:, 4])
        scale.addcmul_(self._sum(known.abs_()), weights[:, 5])
        return SymbolParameters(_round(location), scale, factor, self._prior)

    def _sum(self, first_rows: Tensor) -> Tensor:
        """Sum of the four neighbours at the positions of the second pass."""
        return F.embedding_bag(self._neighbours, F.pad(first_rows, (0, 0, 0, 1)), mode="sum")


class _Known(NamedTuple):
    """A previous latent frame.

    Attributes:
        codes: Stored codes `[n, P]`, row by row.
        channels: Those that were coded, ascending.
        companded: Them as the networks see them, a map `[P, len(channels)]`.
    """

    codes: Codes
    channels: Channels
    companded: Tensor

    def first(self, num_channels: int) -> tuple[Tensor, Tensor]:
        """Of the coded channels below `num_channels`: `companded`, and which they are."""
        count = int(np.searchsorted(self.channels, num_channels))
        return self.companded[:, :count], torch.from_numpy(self.channels[:count])

    def of(self, channels: Channels) -> Tensor:
        """Centred codes of `channels`, a map `[P, len(channels)]`."""
        return torch.from_numpy(np.ascontiguousarray(self.codes[channels].T)).float().sub_(ZERO_CODE)


class _PastOfGroup:
    """What the previous latent frames say about some channels: rows `[P, channels]`, integers in float32.

    Attributes:
        codes: Centred codes of the previous latent frame.
        neighbours: Sum of their four neighbours, zeros beyond the edge, at the positions of the second pass.
    """

    def __init__(self, previous: Tensor, before: Tensor, size: tuple[int, int], order: Tensor) -> None:
        padded = F.pad(previous.view(*size, -1), (0, 0, 1, 1, 1, 1))
        neighbours = (padded[:-2, 1:-1] + padded[2:, 1:-1]).add_(padded[1:-1, :-2]).add_(padded[1:-1, 2:])
        num_first = (len(order) + 1) // 2
        self.codes = previous.index_select(0, order)
        self.neighbours = neighbours.flatten(0, 1).index_select(0, order[num_first:])
        self._sizes_around = _sum_around(previous.abs(), size).index_select(0, order)
        self._changes_around = _sum_around(before.sub_(previous).abs_(), size).index_select(0, order)

    def scale(self, weights: Tensor, rows: slice) -> Tensor:
        """The part of the scale that comes from the past, for some rows; `weights [channels, 6]`."""
        scale = torch.addcmul(weights[:, 0], self._changes_around[rows], weights[:, 1])
        scale.addcmul_(self._sizes_around[rows], weights[:, 2])
        return scale.addcmul_(self.codes[rows].abs(), weights[:, 3])


class PriorGroupEncoder:
    """Codes the latent frames of one group, one after the other, in memory that grows with the bytes only."""

    def __init__(self, prior: ExactPrior, quality: float) -> None:
        self._prior, self._quality = prior, quality
        self._encoder = PassEncoder(prior.tables)
        self._frames: FrameCoder | None = None
        self._counts: list[int] = []

    def push(self, codes: Codes) -> None:
        """Append one latent frame of codes `[n, H, W]`, all of one size."""
        num_channels, height, width = codes.shape
        if self._frames is None:
            self._frames = FrameCoder(self._prior, self._quality, height, width)
        is_coded = (codes != ZERO_CODE).any(axis=(1, 2))
        self._frames.fill_up(is_coded)
        channels = np.flatnonzero(is_coded)
        count = int(channels[-1]) + 1 if len(channels) else 0
        self._counts.append(count)
        self._encoder.push_channels(is_coded[:count], self._frames.kinds_of_channels(count))
        stored = np.ascontiguousarray(codes.reshape(num_channels, -1)[channels].T)[self._frames.order]

        def encode_pass(rows: slice, columns: slice, symbols: SymbolParameters) -> Codes:
            known: Codes = stored[rows, columns]
            self._encoder.push(symbols.to_symbols(known).reshape(-1), symbols.tables.reshape(-1))
            return known

        self._frames.code(channels, encode_pass)

    def finish(self) -> bytes:
        """The payload of the group."""
        return np.array(self._counts, "<u2").tobytes() + self._encoder.finish()


class PriorGroupDecoder:
    """Decodes what `PriorGroupEncoder` wrote.

    Args:
        prior: As for the encoder.
        quality: Likewise.
        payload: What it wrote.
        num_latent_frames: In the group.
        height: Of a latent frame.
        width: Likewise.
        channel_bits: If given, float64 `[n]`: the ideal code length of the codes of each channel is added to it.

    Raises:
        TruncatedError: `payload` is shorter than `num_latent_frames` need.
        FormatError: It declares more channels than there are, or does not fit the tables.
    """

    def __init__(
        self,
        prior: ExactPrior,
        quality: float,
        payload: bytes,
        *,
        num_latent_frames: int,
        height: int,
        width: int,
        channel_bits: NDArray[np.float64] | None = None,
    ) -> None:
        if len(payload) < 2 * num_latent_frames:
            raise TruncatedError(f"group of {num_latent_frames} latent frames has a payload of {len(payload)} bytes")
        self._counts = np.frombuffer(payload, "<u2", num_latent_frames)
        if self._counts.max(initial=0) > prior.num_channels:
            raise FormatError(f"{self._counts.max()} coded channels declared; the model has {prior.num_channels}")
        self._decoder = PassDecoder(prior.tables, payload[2 * num_latent_frames :])
        self._frames = FrameCoder(prior, quality, height, width)
        self._shape = (prior.num_channels, height, width)
        self._next = 0
        self._tables, self._channel_bits = prior.tables, channel_bits

    def pull(self) -> Codes:
        """The next latent frame, codes `[n, H, W]`."""
        kinds = self._frames.kinds_of_channels(int(self._counts[self._next]))
        self._next += 1
        channels = np.flatnonzero(self._decoder.pull_channels(kinds))

        def decode_pass(rows: slice, columns: slice, symbols: SymbolParameters) -> Codes:
            decoded = self._decoder.pull(symbols.tables.reshape(-1)).reshape(symbols.tables.shape)
            if self._channel_bits is not None:
                self._channel_bits[channels[columns]] += self._tables.code_lengths[symbols.tables, decoded].sum(axis=0)
            return symbols.to_codes(decoded)

        return self._frames.code(channels, decode_pass).reshape(self._shape)


def _checkerboard(height: int, width: int) -> tuple[NDArray[np.intp], int, Tensor]:
    """Positions of both passes, how many are of the first, and the neighbours of the second's, int64 `[P2, 4]`.

    Neighbours (up, left, right, down) are numbered among the positions of the first pass; beyond the edge they have the
    number after the last.
    """
    row, column = np.divmod(np.arange(height * width), width)
    is_second = (row + column) % 2 == 1
    first, second = np.flatnonzero(~is_second), np.flatnonzero(is_second)
    number = np.full((height + 2, width + 2), len(first))
    number[1 + row[first], 1 + column[first]] = np.arange(len(first))
    y, x = 1 + row[second], 1 + column[second]
    neighbours = np.stack([number[y + i - 1, x + j - 1] for i, j in CHECKERBOARD_TAPS], axis=1)
    return np.concatenate([first, second]), len(first), torch.from_numpy(neighbours)


def _activate(x: Tensor) -> Tensor:
    """ReLU6 in integer steps, in place; biases have the half that makes this rounding to the nearest."""
    return x.floor_().clamp_(0, MAX_ACTIVATION)


def _outputs(x: Tensor, group: GroupWeights, *, num_outputs: int) -> list[Tensor]:
    """From the sum before the first activation `[P, dim]` to gate, correction, factor (and spatial gate), integers."""
    hidden = _activate(multiply(_activate(x), group.hidden, group.hidden_bias))
    weight, bias = (w[:num_outputs].flatten(0, 1) for w in (group.out, group.out_bias))
    outputs = multiply(hidden, weight, bias).floor_().chunk(num_outputs, dim=1)
    limits = (GATE_STEPS, MAX_CORRECTION, MAX_FACTOR, GATE_STEPS)
    return [x.clamp_(-limit, limit) for x, limit in zip(outputs, limits, strict=False)]


def _round(location: Tensor) -> Tensor:
    """A location in units of `1 / GATE_STEPS` of a code, to the nearest `1 / OFFSETS_PER_CODE`, in range.

    It has at most 14 bits behind the point of a whole code and is below 512: gates are multiples of 2^-6 up to 1, codes
    are up to 2^7, sums of four neighbours up to 2^9, and the spatial gate multiplies a quarter of a difference of two.
    So every intermediate result has at most 24 bits, and fused or not, it is exact.
    """
    steps = location.mul_(OFFSETS_PER_CODE / GATE_STEPS).add_(0.5).floor_()
    return steps.clamp_(-ZERO_CODE * OFFSETS_PER_CODE, (ZERO_CODE - 1) * OFFSETS_PER_CODE)


def _sum_around(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Sums over 3x3 windows, zeros beyond the edge, `[P, channels]`."""
    return to_rows(F.avg_pool2d(to_image(rows, *size), 3, 1, 1, divisor_override=1))
