"""Frozen frequency tables of the exact prior, and the coding of one pass of symbols under them.

A table is a distribution of the prior at one scale and one offset of the location from the nearest integer. A symbol
is the difference of code and that integer, modulo 256 and mirrored if the offset is negative, so every code has one
symbol, without escapes, and 0 is the most probable.

Most symbols of a video are 0 with a probability near 1. A table whose symbol 0 has at least `SPARSE_PROBABILITY` is
coded in two steps, which cost the same bits but take up to 8 times fewer calls of the range coder: a byte says which of
eight symbols are not 0, then the symbols that are not. Both tables follow from the first by integer arithmetic.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtok.entropy import FREQUENCY_TOTAL, FrequencyTables, SymbolDecoder, SymbolEncoder, quantize_probabilities
from vtok.errors import ConfigError, WeightsError
from vtok.prior import LOG2_SCALE_RANGE, Prior, _logistic_bin

NUM_SYMBOLS = 256
OFFSETS_PER_CODE = 16
NUM_OFFSETS = OFFSETS_PER_CODE // 2 + 1  # the mirror image of a table has the negative offset
LEVELS_PER_OCTAVE = 16
NUM_LEVELS = int((LOG2_SCALE_RANGE[1] - LOG2_SCALE_RANGE[0]) * LEVELS_PER_OCTAVE) + 1
SPARSE_PROBABILITY = 0.8
BLOCK = 8  # symbols that share a byte of flags

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
        coder_tables: What the range coder uses: all tables, then the flags' of the sparse ones, then their symbols'.
    """

    frequencies: NDArray[np.uint32]
    lookup: Bytes
    num_sparse: int
    coder_tables: FrequencyTables

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
        return cls(frequencies, lookup, num_sparse, FrequencyTables(np.concatenate(rows)))

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

    def push(self, symbols: Bytes, table_index: Bytes) -> None:
        """Append one pass: symbols and tables `[num]`."""
        layout = _PassLayout(self._tables, table_index)
        in_blocks, others = np.split(symbols[layout.order], [layout.num_in_blocks])
        flags = in_blocks != 0
        self._coder.push(np.concatenate([np.packbits(flags), others]), layout.first_tables)
        nonzero = np.flatnonzero(flags)
        self._coder.push(in_blocks[nonzero], layout.nonzero_tables(nonzero))

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

    def pull(self, table_index: Bytes) -> Bytes:
        """The symbols `[num]` of the next pass from their tables `[num]`."""
        layout = _PassLayout(self._tables, table_index)
        flags, others = np.split(
            self._coder.pull(layout.first_tables).astype(np.uint8), [layout.num_in_blocks // BLOCK]
        )
        nonzero = np.flatnonzero(np.unpackbits(flags).view(np.bool_))
        in_blocks = np.zeros(layout.num_in_blocks, np.uint8)
        in_blocks[nonzero] = self._coder.pull(layout.nonzero_tables(nonzero))
        symbols = np.empty_like(table_index)
        symbols[layout.order] = np.concatenate([in_blocks, others])
        return symbols


class _PassLayout:
    """Where the symbols of a pass go; it follows from their tables alone.

    Attributes:
        order: The symbols in the order of coding: those in blocks of eight, then the others; both sorted by table.
        num_in_blocks: Symbols in blocks: as many of each sparse table as make whole blocks.
        first_tables: Coder tables of the blocks' flags, then of the other symbols.
    """

    def __init__(self, tables: PriorTables, table_index: Bytes) -> None:
        num_tables, num_sparse = len(tables.frequencies), tables.num_sparse
        counts = np.bincount(table_index, minlength=num_tables)
        blocks = counts[:num_sparse] // BLOCK
        self._in_blocks = BLOCK * blocks
        self.num_in_blocks = int(self._in_blocks.sum())
        counts_of_others = counts.copy()
        counts_of_others[:num_sparse] -= self._in_blocks
        by_table = np.split(np.argsort(table_index, kind="stable"), np.cumsum(counts)[:num_sparse])
        blocked = [places[:num] for places, num in zip(by_table[:-1], self._in_blocks, strict=True)]
        others = [places[num:] for places, num in zip(by_table[:-1], self._in_blocks, strict=True)]
        self.order = np.concatenate([*blocked, *others, by_table[-1]])
        flag_tables = np.repeat(np.arange(num_tables, num_tables + num_sparse), blocks)
        self.first_tables = np.concatenate([flag_tables, np.repeat(np.arange(num_tables), counts_of_others)])
        self._first_nonzero_table = num_tables + num_sparse

    def nonzero_tables(self, nonzero: NDArray[np.intp]) -> NDArray[np.intp]:
        """Coder tables of the symbols in blocks at the places `nonzero` of their order, ascending."""
        table = np.searchsorted(np.cumsum(self._in_blocks), nonzero, side="right")
        return self._first_nonzero_table + table


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
