"""Frozen frequency tables of the exact prior, and the coding of one pass of symbols under them.

A table is a distribution of the prior at one scale and one offset of the location from the nearest integer. A symbol is
the difference of code and that integer, modulo 256, mirrored if the offset is negative. So every code has one symbol,
without escapes, and 0 is the most probable.

Most symbols of a video are 0 with a probability near 1. If symbol 0 of a table has at least `SPARSE_PROBABILITY`, its
symbols are coded in two steps: a byte says which of eight symbols are nonzero, then the nonzero symbols follow. That
costs the same bits and takes up to 8 times fewer calls of the range coder. Both tables follow from the first by integer
arithmetic.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtok.entropy.channel_flags import FLAG_PROBABILITIES, NUM_FLAGS, RARE, RARE_EXPONENTS, flag_frequencies
from vtok.entropy.range_coder import (
    FREQUENCY_TOTAL,
    Bytes,
    FrequencyTables,
    Runs,
    SymbolDecoder,
    SymbolEncoder,
    quantize_probabilities,
)
from vtok.errors import ConfigError, FormatError, WeightsError
from vtok.networks.prior import LOG2_SCALE_RANGE, Prior, logistic_bin

NUM_SYMBOLS = 256
OFFSETS_PER_CODE = 16
NUM_OFFSETS = OFFSETS_PER_CODE // 2 + 1  # the mirror image of a table has the negative offset
LEVELS_PER_OCTAVE = 16
NUM_LEVELS = int((LOG2_SCALE_RANGE[1] - LOG2_SCALE_RANGE[0]) * LEVELS_PER_OCTAVE) + 1
SPARSE_PROBABILITY = 0.8
BLOCK = 8  # symbols that share a byte of flags
OUTLIERS = 0.02  # share of the nonzero symbols

# The stored tables: their log2 scales, and the number of offsets per code from each log2 scale on. The wider the
# distribution, the less either matters. Each table of a pass takes one or two calls of the range coder. Having 245
# tables, with a third more calls, saved 0.06 % of the bytes at quality 9, and 0.13 % at 1.
TABLE_LOG2_SCALES = np.concatenate(
    [np.arange(LOG2_SCALE_RANGE[0], -2, 1 / 6), np.arange(-2, LOG2_SCALE_RANGE[1] + 0.1, 1 / 3)]
)
OFFSETS_BY_LOG2_SCALE = ((-4.0, 16), (-1.5, 8), (-0.25, 4), (0.75, 2), (2.0, 1))


@dataclass(frozen=True, eq=False)
class PriorTables:
    """The tables of one model.

    Attributes:
        frequencies: uint32 `[num_tables, 256]`, the most peaked table first; at most 256 tables.
        lookup: uint8 `[NUM_LEVELS * NUM_OFFSETS]`: the table of each scale level and absolute offset.
        num_sparse: Number of tables coded in two steps; they are the first ones.
        coder_tables: The range coder's tables: all tables; then those of the sparse tables' flags; of their nonzero
            symbols; of the channels' flags; of flags in rare channels; of nonzero symbols in rare channels.
        first_channel_table: Number of the first table of the channels' flags among the coder tables.
    """

    frequencies: NDArray[np.uint32]
    lookup: Bytes
    num_sparse: int
    coder_tables: FrequencyTables
    first_channel_table: int

    @cached_property
    def code_lengths(self) -> NDArray[np.float64]:
        """Ideal code length of each symbol under each table, in bits `[num_tables, 256]`; for statistics only."""
        lengths: NDArray[np.float64] = -np.log2(self.frequencies / FREQUENCY_TOTAL)
        return lengths

    def rare_code_lengths(self, symbols: Bytes, flags: Bytes) -> NDArray[np.float64]:
        """Ideal code lengths `[num]` of rare channels, in bits; `PassEncoder.push_rare` explains the arguments."""
        exponents = flags.astype(np.float64) - RARE + RARE_EXPONENTS[0]
        num_nonzero = np.count_nonzero(symbols, axis=1)
        num_zero = symbols.shape[1] - num_nonzero
        nonzero_table = _first_rare_table(self) + len(RARE_EXPONENTS)
        lengths = -np.log2(self.coder_tables.frequencies[nonzero_table] / FREQUENCY_TOTAL)
        of_symbols = np.where(symbols != 0, lengths[symbols], 0).sum(axis=1)
        total: NDArray[np.float64] = num_nonzero * exponents - num_zero * np.log2(1 - 2**-exponents) + of_symbols
        return total

    @classmethod
    def from_arrays(cls, frequencies: NDArray[np.uint32], lookup: Bytes) -> "PriorTables":
        """Tables from the stored arrays.

        Raises:
            WeightsError: A shape, a value or the order is not as the attributes of the class describe.
        """
        try:
            FrequencyTables(frequencies)
        except ConfigError as error:
            raise WeightsError(f"prior tables: {error}") from error
        peaks = frequencies[:, 0].astype(np.int64)
        if frequencies.shape[1] != NUM_SYMBOLS or len(peaks) > NUM_SYMBOLS or (np.diff(peaks) > 0).any():
            raise WeightsError(f"prior tables have shape {frequencies.shape}; expected up to 256 x 256, peaks falling")
        if lookup.shape != (NUM_LEVELS * NUM_OFFSETS,) or lookup.dtype != np.uint8 or lookup.max() >= len(peaks):
            raise WeightsError(f"prior table lookup has shape {lookup.shape}; expected {NUM_LEVELS * NUM_OFFSETS}")
        num_sparse = int((peaks >= SPARSE_PROBABILITY * FREQUENCY_TOTAL).sum())
        sparse = frequencies[:num_sparse].astype(np.int64)
        rows = [frequencies.astype(np.int64), _flag_frequencies(sparse[:, 0]), _nonzero_frequencies(sparse)]
        first_channel_table = sum(map(len, rows))
        rare_peaks = np.array([FREQUENCY_TOTAL - (FREQUENCY_TOTAL >> exponent) for exponent in RARE_EXPONENTS])
        rows += [_filled_up(flag_frequencies()), _flag_frequencies(rare_peaks), _nonzero_frequencies(rows[0][:1])]
        return cls(frequencies, lookup, num_sparse, FrequencyTables(np.concatenate(rows)), first_channel_table)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the stored arrays only; the coder's own objects cannot be pickled."""
        return PriorTables.from_arrays, (self.frequencies, self.lookup)

    @classmethod
    def from_prior(cls, prior: Prior) -> "PriorTables":
        """Tables of the distributions that `prior` has learned; floats are rounded once, here, for storage."""
        shapes = [
            (x, k / num) for x in TABLE_LOG2_SCALES for num in [_offsets_per_code(x)] for k in range(num // 2 + 1)
        ]
        log2_scales, offsets = (
            torch.tensor(column, dtype=torch.float64)[:, None] for column in zip(*shapes, strict=True)
        )
        symbols = (torch.arange(NUM_SYMBOLS) + 128) % NUM_SYMBOLS - 128.0
        # `Prior.bits` has a floor on each probability, which would add up over 256 symbols.
        with torch.no_grad():
            probabilities = probabilities_of(prior, (symbols - offsets).abs(), log2_scales)
        frequencies = quantize_probabilities(_with_outliers(probabilities.numpy()))
        order = np.argsort(-frequencies[:, 0].astype(np.int64), kind="stable")
        number = {shapes[table]: place for place, table in enumerate(order)}
        lookup = []
        for level in range(NUM_LEVELS):
            distance = np.abs(TABLE_LOG2_SCALES - (LOG2_SCALE_RANGE[0] + level / LEVELS_PER_OCTAVE))
            nearest = TABLE_LOG2_SCALES[distance.argmin()]
            num = _offsets_per_code(nearest)
            lookup += [number[nearest, round(k * num / OFFSETS_PER_CODE) / num] for k in range(NUM_OFFSETS)]
        return cls.from_arrays(frequencies[order], np.array(lookup, np.uint8))


class PassEncoder:
    """Codes passes of symbols, each with its table, into one string of bytes."""

    def __init__(self, tables: PriorTables) -> None:
        self._tables = tables
        self._coder = SymbolEncoder(tables.coder_tables)

    def push_channels(self, flags: Bytes, tables: Bytes) -> None:
        """Append channels' flags and their `tables`, numbered as in `flag_tables`, both `[num]`."""
        order, runs = _channel_runs(self._tables, tables)
        self._coder.push(flags[order], runs)

    def push_rare(self, symbols: Bytes, flags: Bytes) -> None:
        """Append rare channels: centred codes modulo 256 `[num, P]`, and the channels' flags `[num]`."""
        layout = _RareLayout(self._tables, flags, symbols.shape[1])
        symbols = symbols[layout.order]
        is_nonzero = symbols != 0
        self._coder.push(np.packbits(is_nonzero, axis=1).ravel(), layout.runs)
        nonzero = symbols[is_nonzero]
        self._coder.push(nonzero, [(layout.nonzero_table, len(nonzero))])

    def push(self, symbols: Bytes, table_index: Bytes) -> None:
        """Append one pass: symbols and tables `[num]`."""
        layout = _PassLayout(self._tables, table_index)
        in_blocks, others = np.split(symbols.take(layout.order), [layout.num_in_blocks])
        flags = in_blocks != 0
        self._coder.push(np.concatenate([np.packbits(flags), others]), layout.first_runs)
        nonzero = np.flatnonzero(flags)
        self._coder.push(in_blocks[nonzero], layout.nonzero_runs(nonzero))

    def finish(self) -> bytes:
        """The bytes of all passes."""
        return self._coder.finish()


class PassDecoder:
    """Decodes what `PassEncoder` wrote.

    Raises:
        FormatError: The bytes cannot come from these tables; raised now or later.
    """

    def __init__(self, tables: PriorTables, data: bytes) -> None:
        self._tables = tables
        self._coder = SymbolDecoder(tables.coder_tables, data)

    def pull_channels(self, tables: Bytes) -> Bytes:
        """The flags of channels, `[num]`, from their tables.

        Raises:
            FormatError: A decoded flag does not exist.
        """
        order, runs = _channel_runs(self._tables, tables)
        symbols = self._coder.pull(runs)
        if symbols.max(initial=0) >= NUM_FLAGS:
            raise FormatError(f"flag of a channel is {symbols.max()}; expected less than {NUM_FLAGS}")
        flags = np.empty(len(tables), np.uint8)
        flags[order] = symbols
        return flags

    def pull_rare(self, flags: Bytes, num_positions: int) -> Bytes:
        """Centred codes modulo 256, `[num, num_positions]`, of rare channels with these flags `[num]`."""
        layout = _RareLayout(self._tables, flags, num_positions)
        packed = self._coder.pull(layout.runs).astype(np.uint8).reshape(len(flags), layout.bytes_per_channel)
        is_nonzero = np.unpackbits(packed, axis=1, count=num_positions).view(np.bool_)
        in_order = np.zeros(is_nonzero.shape, np.uint8)
        in_order[is_nonzero] = self._coder.pull([(layout.nonzero_table, int(np.count_nonzero(is_nonzero)))])
        symbols = np.empty_like(in_order)
        symbols[layout.order] = in_order
        return symbols

    def pull(self, table_index: Bytes) -> Bytes:
        """The symbols `[num]` of the next pass from their tables `[num]`."""
        layout = _PassLayout(self._tables, table_index)
        flags, others = np.split(self._coder.pull(layout.first_runs).astype(np.uint8), [layout.num_in_blocks // BLOCK])
        nonzero = np.flatnonzero(np.unpackbits(flags).view(np.bool_))
        in_blocks = np.zeros(layout.num_in_blocks, np.uint8)
        in_blocks[nonzero] = self._coder.pull(layout.nonzero_runs(nonzero))
        symbols = np.empty_like(table_index)
        symbols[layout.order] = np.concatenate([in_blocks, others])
        return symbols


class _PassLayout:
    """The order of the symbols of a pass; it follows from their tables alone.

    Attributes:
        order: The symbols in the order of coding: sorted by table, stably. The first ones form blocks of eight.
        num_in_blocks: Number of symbols in blocks: as many symbols of sparse tables as make whole blocks.
        first_runs: Coder tables of the blocks' flags, then of the other symbols.
    """

    def __init__(self, tables: PriorTables, table_index: Bytes) -> None:
        num_tables = len(tables.frequencies)
        self.order = np.argsort(table_index, kind="stable")
        self._sorted = table_index.take(self.order)
        self.num_in_blocks = int(np.count_nonzero(self._sorted < tables.num_sparse)) // BLOCK * BLOCK
        of_blocks = self._sorted[BLOCK // 2 : self.num_in_blocks : BLOCK]
        self.first_runs = [*_runs(of_blocks, num_tables), *_runs(self._sorted[self.num_in_blocks :], 0)]
        self._first_nonzero_table = num_tables + tables.num_sparse

    def nonzero_runs(self, nonzero: NDArray[np.intp]) -> Runs:
        """Coder tables of the nonzero symbols in blocks; `nonzero` are their places in the order, ascending."""
        return _runs(self._sorted[nonzero], self._first_nonzero_table)


def _runs(table_index: Bytes, first_table: int) -> Runs:
    """Runs of an ascending `table_index [num]`, whose tables are numbered from `first_table`."""
    # `searchsorted` converts all of `table_index` unless the type is the same.
    starts = np.searchsorted(table_index, np.arange(NUM_SYMBOLS, dtype=np.uint8))
    counts = np.diff(starts, append=len(table_index))
    present = np.flatnonzero(counts)
    return list(zip((present + first_table).tolist(), counts[present].tolist(), strict=True))


class _RareLayout:
    """The order in which rare channels are coded, by their flags, and the coder tables of their bytes and symbols."""

    def __init__(self, tables: PriorTables, flags: Bytes, num_positions: int) -> None:
        self.order = np.argsort(flags, kind="stable")
        first = _first_rare_table(tables)
        self.bytes_per_channel = -(-num_positions // BLOCK)
        self.runs = [(t, self.bytes_per_channel * num) for t, num in _runs(flags[self.order] - RARE, first)]
        self.nonzero_table = first + len(RARE_EXPONENTS)


def _first_rare_table(tables: PriorTables) -> int:
    return tables.first_channel_table + len(FLAG_PROBABILITIES)


def _channel_runs(tables: PriorTables, flag_tables: Bytes) -> tuple[NDArray[np.intp], Runs]:
    """The order in which flags of channels are coded, and their coder tables."""
    order = np.argsort(flag_tables, kind="stable")
    return order, _runs(flag_tables[order], tables.first_channel_table)


def _offsets_per_code(log2_scale: float) -> int:
    return next(num for start, num in reversed(OFFSETS_BY_LOG2_SCALE) if log2_scale >= start - 1e-6)


def probabilities_of(prior: Prior, distance: Tensor, log2_scale: Tensor) -> Tensor:
    """Probabilities of codes at `distance` from the location: those of `Prior.bits` without its floor."""
    weight, ratio = prior._tails(log2_scale)
    inverse = torch.exp2(-log2_scale)
    core, tail = (logistic_bin(distance, x) for x in (inverse, inverse * torch.exp2(-ratio)))
    return torch.lerp(core, tail, weight)


def _with_outliers(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distributions `[num, 256]` with a share of the nonzero symbols spread out as `1 / (1 + distance)^2`.

    The prior is trained with a floor on probabilities, which hides the cost of outliers from it.
    """
    distance = np.abs((np.arange(NUM_SYMBOLS) + 128) % NUM_SYMBOLS - 128.0)
    outliers = np.where(distance > 0, 1 / np.square(1 + distance), 0)
    share = OUTLIERS * (1 - probabilities[:, :1])
    mixed: NDArray[np.float64] = (1 - share) * probabilities + share * outliers / outliers.sum()
    return mixed


def _flag_frequencies(peaks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frequencies `[num, 256]` of a byte of eight flags, each set with probability `1 - peak / 2^24`."""
    num_set = [value.bit_count() for value in range(NUM_SYMBOLS)]
    rows = []
    for zero in peaks.tolist():
        by_count = [
            zero ** (BLOCK - k) * (FREQUENCY_TOTAL - zero) ** k // FREQUENCY_TOTAL ** (BLOCK - 1)
            for k in range(BLOCK + 1)
        ]
        rows.append([max(1, by_count[k]) for k in num_set])
    return _filled_up(np.array(rows, np.int64).reshape(-1, NUM_SYMBOLS))


def _nonzero_frequencies(frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frequencies `[num, 256]` of a symbol that is known to be nonzero."""
    rest = FREQUENCY_TOTAL - frequencies[:, :1]
    scaled = frequencies * (FREQUENCY_TOTAL - NUM_SYMBOLS) // rest
    scaled[:, 0] = 1  # the coder has no frequency 0; 2^-24 costs nothing
    return _filled_up(np.maximum(scaled, 1))


def _filled_up(frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Correct the sum of each row, too small or too large by rounding, at its largest frequency."""
    rows = np.arange(len(frequencies))
    frequencies[rows, frequencies.argmax(1)] += FREQUENCY_TOTAL - frequencies.sum(1)
    return frequencies


def tables_to_tensors(tables: PriorTables) -> dict[str, Tensor]:
    """The tensors of `tables` that are stored."""
    return {
        "frequencies": torch.from_numpy(tables.frequencies.astype(np.int32)),
        "lookup": torch.from_numpy(tables.lookup.copy()),
    }
