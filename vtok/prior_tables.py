"""Frozen frequency tables of the exact prior, and the coding of one pass of symbols under them.

A table is a distribution of the prior at one scale and one offset of the location from the nearest integer. A symbol
is the difference of code and that integer, modulo 256 and mirrored if the offset is negative, so every code has one
symbol, without escapes, and 0 is the most probable.

Most symbols of a video are 0 with a probability near 1. A table whose symbol 0 has at least `SPARSE_PROBABILITY` is
coded in two steps, which cost the same bits but take up to 8 times fewer calls of the range coder: a byte says which of
eight symbols are not 0, then the symbols that are not. Both tables follow from the first by integer arithmetic.

Which channels of a latent frame are coded at all are flags with tables of their own.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtok.entropy import (
    FREQUENCY_TOTAL,
    FrequencyTables,
    Runs,
    SymbolDecoder,
    SymbolEncoder,
    quantize_probabilities,
)
from vtok.errors import ConfigError, FormatError, WeightsError
from vtok.prior import LOG2_SCALE_RANGE, Prior, _logistic_bin

NUM_SYMBOLS = 256
OFFSETS_PER_CODE = 16
NUM_OFFSETS = OFFSETS_PER_CODE // 2 + 1  # the mirror image of a table has the negative offset
LEVELS_PER_OCTAVE = 16
NUM_LEVELS = int((LOG2_SCALE_RANGE[1] - LOG2_SCALE_RANGE[0]) * LEVELS_PER_OCTAVE) + 1
SPARSE_PROBABILITY = 0.8
BLOCK = 8  # symbols that share a byte of flags
# How often a channel is coded: without a previous latent frame in the group; if it was not coded in that; if it was.
CODED_PROBABILITIES = (1 / 2, 1 / 8, 7 / 8)
NO_PREVIOUS, WAS_NOT_CODED, WAS_CODED = range(3)

# Tables that are stored: their log2 scales, and from each log2 scale on so many offsets per code. The wider the
# distribution, the less either matters.
TABLE_LOG2_SCALES = np.concatenate(
    [np.arange(LOG2_SCALE_RANGE[0], -2, 1 / 8), np.arange(-2, LOG2_SCALE_RANGE[1] + 0.1, 1 / 4)]
)
OFFSETS_BY_LOG2_SCALE = ((-4.0, 16), (-1.0, 8), (0.0, 4), (1.0, 2), (3.0, 1))

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class PriorTables:
    """The tables of one model.

    Attributes:
        frequencies: uint32 `[num_tables, 256]`, the most peaked table first; at most 256 tables.
        lookup: uint8 `[NUM_LEVELS * NUM_OFFSETS]`: the table of each scale level and absolute offset.
        num_sparse: Tables that are coded in two steps: the first ones.
        coder_tables: What the range coder uses: all tables, then those of the sparse ones' flags, then of their symbols
            that are not 0, then of the channels' flags.
    """

    frequencies: NDArray[np.uint32]
    lookup: Bytes
    num_sparse: int
    coder_tables: FrequencyTables

    @cached_property
    def code_lengths(self) -> NDArray[np.float64]:
        """Ideal code length of each symbol under each table, in bits `[num_tables, 256]`; for statistics only."""
        lengths: NDArray[np.float64] = -np.log2(self.frequencies / FREQUENCY_TOTAL)
        return lengths

    @classmethod
    def from_arrays(cls, frequencies: NDArray[np.uint32], lookup: Bytes) -> "PriorTables":
        """Tables from what is stored.

        Raises:
            WeightsError: A shape, a value or the order is not as described above.
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
        rows.append(_channel_flag_frequencies())
        return cls(frequencies, lookup, num_sparse, FrequencyTables(np.concatenate(rows)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what is stored: the coder's own objects cannot be."""
        return PriorTables.from_arrays, (self.frequencies, self.lookup)

    @classmethod
    def from_prior(cls, prior: Prior) -> "PriorTables":
        """Tables of the distributions that `prior` has learned; floats are rounded here, once, to be stored."""
        shapes = [
            (x, k / num) for x in TABLE_LOG2_SCALES for num in [_offsets_per_code(x)] for k in range(num // 2 + 1)
        ]
        log2_scales, offsets = (
            torch.tensor(column, dtype=torch.float64)[:, None] for column in zip(*shapes, strict=True)
        )
        symbols = (torch.arange(NUM_SYMBOLS) + 128) % NUM_SYMBOLS - 128.0
        # Not from the prior's code lengths: these have a floor on each probability, which adds up over 256 symbols.
        with torch.no_grad():
            probabilities = probabilities_of(prior, (symbols - offsets).abs(), log2_scales)
        frequencies = quantize_probabilities(probabilities.numpy())
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

    def push_channels(self, flags: NDArray[np.bool_], kinds: Bytes) -> None:
        """Append which channels are coded; `kinds` of `CODED_PROBABILITIES`, both `[num]`."""
        order, runs = _channel_runs(self._tables, kinds)
        self._coder.push(flags[order].astype(np.uint8), runs)

    def push(self, symbols: Bytes, table_index: Bytes) -> None:
        """Append one pass: symbols and tables `[num]`."""
        layout = _PassLayout(self._tables, table_index)
        in_blocks, others = np.split(symbols[layout.order], [layout.num_in_blocks])
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
        FormatError: Now or later: the bytes cannot come from these tables.
    """

    def __init__(self, tables: PriorTables, data: bytes) -> None:
        self._tables = tables
        self._coder = SymbolDecoder(tables.coder_tables, data)

    def pull_channels(self, kinds: Bytes) -> NDArray[np.bool_]:
        """Which channels are coded, `[num]`.

        Raises:
            FormatError: A flag is neither 0 nor 1.
        """
        order, runs = _channel_runs(self._tables, kinds)
        symbols = self._coder.pull(runs)
        if symbols.max(initial=0) > 1:
            raise FormatError(f"flag of a coded channel is {symbols.max()}; expected 0 or 1")
        flags = np.empty(len(kinds), np.bool_)
        flags[order] = symbols
        return flags

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
    """Where the symbols of a pass go; it follows from their tables alone.

    Attributes:
        order: The symbols in the order of coding: those in blocks of eight, then the others; both sorted by table.
        num_in_blocks: Symbols in blocks: as many of each sparse table as make whole blocks.
        first_runs: Coder tables of the blocks' flags, then of the other symbols.
    """

    def __init__(self, tables: PriorTables, table_index: Bytes) -> None:
        num_tables, self._num_sparse = len(tables.frequencies), tables.num_sparse
        order = np.argsort(table_index, kind="stable")
        bounds = np.searchsorted(table_index[order], np.arange(num_tables + 1))
        counts = np.diff(bounds)
        blocks = counts[: self._num_sparse] // BLOCK
        in_blocks = BLOCK * blocks
        self._block_bounds = np.concatenate([[0], np.cumsum(in_blocks)])
        self.num_in_blocks = int(self._block_bounds[-1])
        parts = [order[start : start + num] for start, num in zip(bounds[:-1], in_blocks, strict=False)]
        counts[: self._num_sparse] -= in_blocks
        rests = [order[end - num : end] for end, num in zip(bounds[1:], counts[: self._num_sparse], strict=False)]
        self.order = np.concatenate([*parts, *rests, order[bounds[self._num_sparse] :]])
        self.first_runs = [*_runs(blocks, num_tables), *_runs(counts, 0)]
        self._first_nonzero_table = num_tables + self._num_sparse

    def nonzero_runs(self, nonzero: NDArray[np.intp]) -> Runs:
        """Coder tables of the symbols in blocks at the places `nonzero` of their order, ascending."""
        return _runs(np.diff(np.searchsorted(nonzero, self._block_bounds)), self._first_nonzero_table)


def _runs(counts: NDArray[np.intp], first_table: int) -> Runs:
    """As many symbols of each table as `counts [num]` says, in the order of tables from `first_table` on."""
    return [(first_table + table, int(counts[table])) for table in np.flatnonzero(counts).tolist()]


def _channel_runs(tables: PriorTables, kinds: Bytes) -> tuple[NDArray[np.intp], Runs]:
    """The order in which flags of channels are coded, and their coder tables."""
    counts = np.bincount(kinds, minlength=len(CODED_PROBABILITIES))
    return np.argsort(kinds, kind="stable"), _runs(counts, tables.coder_tables.num_tables - len(counts))


def _offsets_per_code(log2_scale: float) -> int:
    return next(num for start, num in reversed(OFFSETS_BY_LOG2_SCALE) if log2_scale >= start - 1e-6)


def probabilities_of(prior: Prior, distance: Tensor, log2_scale: Tensor) -> Tensor:
    """Probabilities of codes at `distance` from the location, as `Prior.bits` has them but for its floor."""
    weight, ratio = prior._tails(log2_scale)
    inverse = torch.exp2(-log2_scale)
    core, tail = (_logistic_bin(distance, x) for x in (inverse, inverse * torch.exp2(-ratio)))
    return torch.lerp(core, tail, weight)


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
    """Frequencies `[num, 256]` of a symbol that is known not to be 0."""
    rest = FREQUENCY_TOTAL - frequencies[:, :1]
    scaled = frequencies * (FREQUENCY_TOTAL - NUM_SYMBOLS) // rest
    scaled[:, 0] = 1  # the coder has no frequency 0; 2^-24 costs nothing
    return _filled_up(np.maximum(scaled, 1))


def _channel_flag_frequencies() -> NDArray[np.int64]:
    """Frequencies `[3, 256]` of flags that say whether a channel is coded: of 0 and 1; no others occur."""
    rows = np.ones((len(CODED_PROBABILITIES), NUM_SYMBOLS), np.int64)
    rows[:, 1] = [int(p * FREQUENCY_TOTAL) - NUM_SYMBOLS // 2 for p in CODED_PROBABILITIES]
    rows[:, 0] += FREQUENCY_TOTAL - rows.sum(1)
    return rows


def _filled_up(frequencies: NDArray[np.int64]) -> NDArray[np.int64]:
    """What is missing in each row, or too much by rounding up, goes to its largest frequency."""
    rows = np.arange(len(frequencies))
    frequencies[rows, frequencies.argmax(1)] += FREQUENCY_TOTAL - frequencies.sum(1)
    return frequencies


def tables_to_tensors(tables: PriorTables) -> dict[str, Tensor]:
    """What is stored of `tables`."""
    return {
        "frequencies": torch.from_numpy(tables.frequencies.astype(np.int32)),
        "lookup": torch.from_numpy(tables.lookup.copy()),
    }
