"""Coding of latent frames under the exact prior: the same passes for encoder and decoder.

The payload of one group of T latent frames is T times a 16-bit number of coded channels, little-endian, then the words
of one range coder (`vtok.entropy`). A latent frame is coded channel group by channel group: of each, first the
positions where row + column is even, then the others. Each is a pass (`vtok.prior_tables`), position by position.
Channels from the coded number on are zero.
"""

from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vtok.dyadic import convolve, multiply, to_image, to_rows
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
from vtok.prior_tables import LEVELS_PER_OCTAVE, NUM_LEVELS, NUM_OFFSETS, OFFSETS_PER_CODE, PassDecoder, PassEncoder

ENTROPY_CODER = "prior-1"
Codes = NDArray[np.uint8]

MAX_CORRECTION = 64 * GATE_STEPS
MAX_FACTOR = 16 * FACTOR_STEPS


class CodePass(Protocol):
    """Codes one pass, or finds out its codes."""

    def __call__(self, rows: slice, channels: slice, symbols: "SymbolParameters") -> Codes:
        """The stored codes of some rows (positions in the order of passes) and channels, `[rows, channels]`."""


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
        bits = scale.contiguous().view(torch.int32) >> 16
        mantissa = bits & 127
        log2_scale = bits + (11 * mantissa * (128 - mantissa) >> 12) + factor.to(torch.int32)
        per_level = FACTOR_STEPS // LEVELS_PER_OCTAVE
        lowest = (127 + prior.magnitude_exponent + int(LOG2_SCALE_RANGE[0])) * FACTOR_STEPS - per_level // 2
        level = ((log2_scale - lowest) >> (per_level.bit_length() - 1)).clamp_(0, NUM_LEVELS - 1).to(torch.int16)
        steps = location.to(torch.int16)
        centre = (steps + OFFSETS_PER_CODE // 2) >> (OFFSETS_PER_CODE.bit_length() - 1)
        offset = steps - centre * OFFSETS_PER_CODE
        self.tables = prior.tables.lookup.take(level.mul_(NUM_OFFSETS).add_(offset.abs()).numpy())
        self._centre = centre.to(torch.uint8).numpy()  # modulo 256, as all of what follows
        self._mirror = (offset < 0).to(torch.uint8).numpy() * np.uint8(255)

    def to_symbols(self, codes: Codes) -> Codes:
        """Stored codes to symbols."""
        symbols: Codes = ((codes - np.uint8(ZERO_CODE) - self._centre) ^ self._mirror) - self._mirror
        return symbols

    def to_codes(self, symbols: Codes) -> Codes:
        """The inverse of `to_symbols`."""
        codes: Codes = ((symbols ^ self._mirror) - self._mirror) + self._centre + np.uint8(ZERO_CODE)
        return codes


class FrameCoder:
    """Walks through the passes of one group's latent frames, with the two previous ones as its state.

    Rows are positions: those of the first pass, row by row, then those of the second; in maps, all row by row.
    """

    def __init__(self, prior: ExactPrior, quality: float, height: int, width: int) -> None:
        self._prior, self._weights = prior, prior.of_quality(quality)
        self._companding = prior.companded.numpy()
        self._size = (height, width)
        self.order, self._num_first, self._neighbours = _checkerboard(height, width)
        self._order, self._map_order = torch.from_numpy(self.order), torch.from_numpy(np.argsort(self.order))
        nothing = _Past(torch.full((height * width, prior.num_channels), ZERO_CODE, dtype=torch.uint8), 0)
        self._previous, self._before, self._num_known = nothing, nothing, 0

    @torch.inference_mode()
    def code(self, num_coded: int, code_pass: CodePass) -> Codes:
        """The next latent frame: stored codes `[P, n]`, a map, of which `num_coded` channels are coded."""
        codes = torch.full_like(self._previous.codes, ZERO_CODE)
        # Half precision outside must not reach the convolutions: its sums are rounded.
        with torch.autocast("cpu", enabled=False):
            context = self._context() if num_coded else None
            for group in self._weights.groups:
                if context is None or group.start >= num_coded:
                    break
                channels = slice(group.start, min(group.end, num_coded))
                codes[:, channels] = self._code_group(group, channels, context, codes, code_pass)
        self._before, self._previous = self._previous, _Past(codes, num_coded)
        self._num_known = min(self._num_known + 1, 2)
        return codes.numpy()

    def _context(self) -> Tensor:
        """What the previous latent frames say: rows `[P, context_dim]`."""
        weights = self._weights
        x = weights.context_bias[self._num_known].expand(len(self._order), -1)
        # Channels that were not coded are zero.
        if num_used := min(self._previous.num_coded, weights.from_previous.shape[1]):
            image = self._image(self._previous.codes[:, :num_used])
            x = x + to_rows(convolve(image, weights.from_previous[:, :num_used]))
        if num_used := min(self._before.num_coded, weights.from_before.shape[1]):
            x = x + multiply(self._compand(self._before.codes[:, :num_used]), weights.from_before[:, :num_used])
        image = to_image(_activate(x), *self._size)
        x = to_rows(convolve(image, weights.context_hidden, weights.context_hidden_bias))
        return _activate(x).index_select(0, self._order)

    def _compand(self, codes: Tensor) -> Tensor:
        """Stored codes as the networks see them."""
        return torch.from_numpy(self._companding.take(codes.numpy()))

    def _image(self, codes: Tensor) -> Tensor:
        """A map of stored codes `[P, c]`, companded, as `[1, c, H, W]`, channels last."""
        return to_image(self._compand(codes), *self._size)

    def _code_group(
        self, group: GroupWeights, channels: slice, context: Tensor, codes: Tensor, code_pass: CodePass
    ) -> Tensor:
        """Stored codes of `channels`, a map; those of the channels below are in the map `codes [P, n]`."""
        x = multiply(context, group.from_context, group.bias)
        if group.from_lower is not None:
            lower = convolve(self._image(codes[:, : group.start]), group.from_lower)
            x += to_rows(lower).index_select(0, self._order)
        past = _PastOfGroup(self._previous.codes, self._before.codes, channels, self._size, self._order)
        first, second = slice(0, self._num_first), slice(self._num_first, len(self._order))
        weights = self._prior.magnitude_weights[:, channels]

        gate, correction, factor = _outputs(x[first], group, num_channels=weights.shape[1], num_outputs=3)
        location = torch.addcmul(correction, gate, past.codes[first])
        symbols = SymbolParameters(_round(location), past.scale(weights[0], first), factor, self._prior)
        coded = [torch.from_numpy(code_pass(first, channels, symbols))]
        if len(self._neighbours):
            own = self._compand_neighbours(coded[0])
            x = x[second] + multiply(own, group.from_own[:, :, : weights.shape[1]].flatten(1), group.second_pass)
            outputs = _outputs(x, group, num_channels=weights.shape[1], num_outputs=4)
            symbols = self._second_pass_symbols(coded[0], outputs, past, weights[1])
            coded.append(torch.from_numpy(code_pass(second, channels, symbols)))
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
        known = first_codes.float() - ZERO_CODE
        change = torch.addcmul(self._sum(known), gate, past.neighbours[rows], value=-1 / GATE_STEPS)
        location = torch.addcmul(correction, gate, past.codes[rows]).addcmul_(spatial_gate, change, value=1 / 4)
        scale = past.scale(weights, rows)
        scale.addcmul_(self._sum((known - past.codes[: self._num_first]).abs_()), weights[:, 4])
        scale.addcmul_(self._sum(known.abs_()), weights[:, 5])
        return SymbolParameters(_round(location), scale, factor, self._prior)

    def _sum(self, first_rows: Tensor) -> Tensor:
        """Sum of the four neighbours at the positions of the second pass."""
        return F.embedding_bag(self._neighbours, F.pad(first_rows, (0, 0, 0, 1)), mode="sum")


class _Past(NamedTuple):
    """A previous latent frame: stored codes `[P, n]`, a map, and how many channels were coded."""

    codes: Tensor
    num_coded: int


class _PastOfGroup:
    """What the previous latent frames say about some channels: rows `[P, channels]`, integers in float32.

    Attributes:
        codes: Centred codes of the previous latent frame.
        neighbours: Sum of their four neighbours, zeros beyond the edge.
    """

    def __init__(self, previous: Tensor, before: Tensor, channels: slice, size: tuple[int, int], order: Tensor) -> None:
        codes, older = (x[:, channels].float().sub_(ZERO_CODE) for x in (previous, before))
        padded = F.pad(codes.view(*size, -1), (0, 0, 1, 1, 1, 1))
        neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        maps = (
            codes,
            neighbours.flatten(0, 1),
            _sum_around(codes.abs(), size),
            _sum_around((codes - older).abs_(), size),
        )
        self.codes, self.neighbours, self._sizes_around, self._changes_around = (x.index_select(0, order) for x in maps)

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
        used = np.flatnonzero((codes != ZERO_CODE).any(axis=(1, 2)))
        count = int(used[-1]) + 1 if len(used) else 0
        self._counts.append(count)
        stored = np.ascontiguousarray(codes.reshape(num_channels, -1).T)[self._frames.order]

        def encode_pass(rows: slice, channels: slice, symbols: SymbolParameters) -> Codes:
            known: Codes = stored[rows, channels]
            self._encoder.push(symbols.to_symbols(known).reshape(-1), symbols.tables.reshape(-1))
            return known

        self._frames.code(count, encode_pass)

    def finish(self) -> bytes:
        """The payload of the group."""
        return np.array(self._counts, "<u2").tobytes() + self._encoder.finish()


class PriorGroupDecoder:
    """Decodes what `PriorGroupEncoder` wrote.

    Raises:
        TruncatedError: `payload` is shorter than `num_latent_frames` need.
        FormatError: It declares more channels than there are, or does not fit the tables.
    """

    def __init__(
        self, prior: ExactPrior, quality: float, payload: bytes, *, num_latent_frames: int, height: int, width: int
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

    def pull(self) -> Codes:
        """The next latent frame, codes `[n, H, W]`."""
        count = int(self._counts[self._next])
        self._next += 1

        def decode_pass(rows: slice, channels: slice, symbols: SymbolParameters) -> Codes:
            shape = symbols.tables.shape
            return symbols.to_codes(self._decoder.pull(symbols.tables.reshape(-1)).reshape(shape))

        codes = self._frames.code(count, decode_pass)
        return np.ascontiguousarray(codes.T).reshape(self._shape)


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
    """ReLU6 in integer steps; biases have the half that makes this rounding to the nearest."""
    return torch.floor(x).clamp_(0, MAX_ACTIVATION)


def _outputs(x: Tensor, group: GroupWeights, *, num_channels: int, num_outputs: int) -> list[Tensor]:
    """From the sum before the first activation `[P, dim]` to gate, correction, factor (and spatial gate), integers."""
    hidden = _activate(multiply(_activate(x), group.hidden, group.hidden_bias))
    weight, bias = (w[:num_outputs, :num_channels].flatten(0, 1) for w in (group.out, group.out_bias))
    outputs = torch.split(torch.floor(multiply(hidden, weight, bias)), num_channels, dim=1)
    limits = (GATE_STEPS, MAX_CORRECTION, MAX_FACTOR, GATE_STEPS)
    return [x.clamp_(-limit, limit) for x, limit in zip(outputs, limits, strict=False)]


def _round(location: Tensor) -> Tensor:
    """A location in units of `1 / GATE_STEPS` of a code, to the nearest `1 / OFFSETS_PER_CODE`, in range.

    It has at most 14 bits behind the point of a whole code and is below 512: gates are multiples of 2^-6 up to 1, codes
    are up to 2^7, sums of four neighbours up to 2^9, and the spatial gate multiplies a quarter of a difference of two.
    So every intermediate result has at most 24 bits, and fused or not, it is exact.
    """
    steps = torch.floor(location * (OFFSETS_PER_CODE / GATE_STEPS) + 0.5)
    return steps.clamp_(-ZERO_CODE * OFFSETS_PER_CODE, (ZERO_CODE - 1) * OFFSETS_PER_CODE)


def _sum_around(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Sums over 3x3 windows, zeros beyond the edge, `[P, channels]`."""
    return to_rows(F.avg_pool2d(to_image(rows, *size), 3, 1, 1, divisor_override=1))
