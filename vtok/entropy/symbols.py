"""Symbols and the numbers of their tables, from the networks' outputs and the known codes, in exact arithmetic."""

import numpy as np
import torch
from torch import Tensor

from vtok.entropy.channel_flags import ZERO_CODE
from vtok.entropy.checkerboard import NEIGHBOURS, Checkerboard, sums_of_rows, with_zeros
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.prior_layers import FACTOR_STEPS, GATE_STEPS
from vtok.entropy.range_coder import Bytes
from vtok.entropy.tables import LEVELS_PER_OCTAVE, NUM_LEVELS, NUM_OFFSETS, OFFSETS_PER_CODE
from vtok.networks.prior import LOG2_SCALE_RANGE

LINEAR_LOG2_ERROR = 7  # in steps of the factor: the mean of log2(1 + x) - x
_PER_LEVEL = FACTOR_STEPS // LEVELS_PER_OCTAVE
_LOCATIONS_PER_OFFSET = GATE_STEPS // OFFSETS_PER_CODE


class SymbolParameters:
    """Converts the codes of a pass to symbols and chooses their tables.

    The arrays are `[positions, channels]`, filled part by part.

    Attributes:
        tables: Number of each symbol's table.
    """

    def __init__(self, num_positions: int, num_channels: int, prior: ExactPrior) -> None:
        self._lookup = prior.tables.lookup
        self._lowest = (127 + prior.magnitude_exponent + int(LOG2_SCALE_RANGE[0])) * FACTOR_STEPS
        self._lowest -= _PER_LEVEL // 2 + LINEAR_LOG2_ERROR
        self.tables, self._centre, self._mirror = np.empty((3, num_positions, num_channels), np.uint8)

    def fill(self, rows: slice, location: Tensor, scale: Tensor, factor: Tensor) -> None:
        """Compute some rows.

        Args:
            rows: The rows to compute.
            location: Locations in steps of `1 / GATE_STEPS` of a code, int16.
            scale: Scales in steps of `2^-magnitude_exponent`, positive integers in float32.
            factor: The network's addition to the scale's log2, in steps of `1 / FACTOR_STEPS`, int16.
        """
        # Bits 16 and up of a positive float32 are its exponent, biased by 127, and 7 bits of mantissa. That is 128
        # times its log2, but linear within octaves and so up to 0.086 too small; `LINEAR_LOG2_ERROR` corrects the mean.
        # Everything from here on fits into 16 bits, which is about twice as fast as 32.
        log2_scale = (scale.view(torch.int32) >> 16).to(torch.int16).add_(factor)
        level = (log2_scale.sub_(self._lowest) >> (_PER_LEVEL.bit_length() - 1)).clamp_(0, NUM_LEVELS - 1)
        # To the nearest `1 / OFFSETS_PER_CODE`, halves up.
        steps = location.add_(_LOCATIONS_PER_OFFSET // 2) >> (_LOCATIONS_PER_OFFSET.bit_length() - 1)
        steps.clamp_(-ZERO_CODE * OFFSETS_PER_CODE, (ZERO_CODE - 1) * OFFSETS_PER_CODE)
        centre = (steps + OFFSETS_PER_CODE // 2) >> (OFFSETS_PER_CODE.bit_length() - 1)
        offset = steps.sub_(centre, alpha=OFFSETS_PER_CODE)
        self.tables[rows] = self._lookup.take(level.mul_(NUM_OFFSETS).add_(offset.abs()).numpy())
        # All that follows is modulo 256. A negative offset gives 255, any other 0.
        np.copyto(self._centre[rows], centre.add_(ZERO_CODE).numpy(), casting="unsafe")
        np.copyto(self._mirror[rows], (offset >> 15).numpy(), casting="unsafe")

    def to_symbols(self, codes: Bytes) -> Bytes:
        """The symbols of stored codes."""
        symbols: Bytes = ((codes - self._centre) ^ self._mirror) - self._mirror
        return symbols

    def to_codes(self, symbols: Bytes) -> Bytes:
        """The stored codes of symbols, the inverse of `to_symbols`."""
        codes: Bytes = ((symbols ^ self._mirror) - self._mirror) + self._centre
        return codes


class PastInOnePass:
    """Predicts the coded channels of a group with one pass from the two previous latent frames.

    Args:
        previous: Centred codes of the previous latent frame, int16 `[P, channels]`.
        before: Centred codes of the latent frame before the previous one, int16 `[P, channels]`.
        weights: Weights of the magnitudes, float32 `[channels, 3]`, integers.
    """

    def __init__(self, previous: Tensor, before: Tensor, weights: Tensor) -> None:
        self._previous, self._before, self._weights = previous, before, weights.T.contiguous()

    def fill(self, symbols: SymbolParameters, rows: slice, outputs: list[Tensor]) -> None:
        """Fill some rows from gate, correction and factor, int16."""
        gate, correction, factor = outputs
        previous, (constant, of_change, of_size) = self._previous[rows], self._weights
        change = (self._before[rows] - previous).abs_().float()
        scale = torch.addcmul(constant, change, of_change).addcmul_(previous.abs().float(), of_size)
        symbols.fill(rows, gate.mul_(previous).add_(correction), scale, factor)


class PastInTwoPasses:
    """Predicts the coded channels of a group with two passes from the two previous latent frames.

    Args:
        previous: Centred codes of the previous latent frame, int16 `[P, channels]`.
        before: Centred codes of the latent frame before the previous one, int16 `[P, channels]`.
        weights: Weights of the magnitudes, float32 `[2, channels, 6]`, integers.
        positions: The place of each row.
    """

    def __init__(self, previous: Tensor, before: Tensor, weights: Tensor, positions: Checkerboard) -> None:
        # Weights as rows: PyTorch is several times as fast where the factors of columns lie side by side in memory.
        self._positions, self._weights = positions, weights.transpose(1, 2).contiguous()
        codes = with_zeros(previous).float()
        change, size = (before - previous).abs_().float(), codes[:-1].abs()
        self._stored, self._codes = previous, torch.split(codes[:-1], positions.sizes)
        passes = (torch.split(x, positions.sizes) for x in (positions.windows, size))
        around, self._scales = torch.zeros_like(codes), []
        for windows, sizes, w in zip(*passes, self._weights, strict=True):
            torch.mul(change, w[1], out=around[:-1]).addcmul_(size, w[2])
            self._scales.append(sums_of_rows(around, windows).addcmul_(sizes, w[3]).add_(w[0]))
        self._neighbours = sums_of_rows(codes, positions.windows[positions.sizes[0] :, NEIGHBOURS])

    def fill_first(self, symbols: SymbolParameters, rows: slice, outputs: list[Tensor]) -> None:
        """Fill some rows of the first pass from gate, correction and factor, int16."""
        gate, correction, factor = outputs
        symbols.fill(rows, gate.mul_(self._stored[rows]).add_(correction), self._scales[0][rows], factor)

    def add_first_pass(self, codes: Tensor) -> None:
        """Take the codes of the first pass, centred, float32."""
        weights, neighbours = self._weights[1], self._positions.neighbours
        sizes = (codes - self._codes[0]).abs_().mul_(weights[4]).addcmul_(codes.abs(), weights[5])
        self._scales[1] += sums_of_rows(with_zeros(sizes), neighbours)
        self._known = sums_of_rows(with_zeros(codes), neighbours)

    def fill_second(self, symbols: SymbolParameters, rows: slice, outputs: list[Tensor]) -> None:
        """Fill some rows of the second pass from gate, correction, factor and spatial gate, int16.

        A location has at most 14 bits after the binary point and is below 512 codes: gates are multiples of 2^-6 up to
        1, codes are up to 2^7, sums of four neighbours up to 2^9, and the spatial gate multiplies a quarter of a
        difference of two. So every intermediate result has at most 24 bits and is exact, fused or not. In whole steps
        of the gates it has 15 bits and a sign.
        """
        gate, correction, spatial_gate = (outputs[i].float() for i in (0, 1, 3))
        change = torch.addcmul(self._known[rows], gate, self._neighbours[rows], value=-1 / GATE_STEPS)
        location = correction.addcmul_(gate, self._codes[1][rows]).addcmul_(spatial_gate, change, value=1 / 4)
        symbols.fill(rows, location.floor_().to(torch.int16), self._scales[1][rows], outputs[2])
