"""Symbols of motion: what codes them, decodes them, or only counts their bits.

All have one method that takes the symbols of a pass with their tables, sorts them by table, and gives them back as they
are or as they were decoded. So encoder and decoder are one walk through the passes, `vtok.entropy.motion_coder`.
"""

from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vtok.entropy.motion_tables import FIRST_UNIFORM, MAX_UNIFORM_BITS, NUM_TABLES, motion_frequencies
from vtok.entropy.range_coder import FREQUENCY_TOTAL, FrequencyTables, Runs, SymbolDecoder, SymbolEncoder
from vtok.errors import FormatError

Numbers: TypeAlias = NDArray[np.integer[Any]]


class MotionSymbols(Protocol):
    """Codes, decodes or counts."""

    def code(self, tables: Numbers, num_symbols: int, known: Numbers | None) -> Numbers:
        """The symbols `[num]`, below `num_symbols`, with these tables `[num]`.

        Args:
            tables: Numbers of tables.
            num_symbols: How many symbols these tables have.
            known: The symbols, if they are coded; None if they are decoded.
        """


@lru_cache(maxsize=1)
def coder_tables() -> FrequencyTables:
    """The range coder's tables."""
    return FrequencyTables(motion_frequencies())


class SymbolWriter:
    """Codes symbols of motion into one string of bytes."""

    def __init__(self) -> None:
        self._coder = SymbolEncoder(coder_tables())

    def code(self, tables: Numbers, num_symbols: int, known: Numbers | None) -> Numbers:
        """Append the symbols `known [num]`."""
        assert known is not None
        order, runs = _sorted_runs(tables)
        self._coder.push(known if order is None else known[order], runs)
        return known

    def finish(self) -> bytes:
        """The bytes, without words of zeros at the end: the decoder goes on with zeros."""
        data = self._coder.finish()
        return data[: -(-len(data.rstrip(b"\0")) // 4) * 4]


class SymbolReader:
    """Decodes what `SymbolWriter` wrote.

    Raises:
        FormatError: The bytes cannot come from these tables; raised now or later.
    """

    def __init__(self, data: bytes) -> None:
        self._coder = SymbolDecoder(coder_tables(), data)

    def code(self, tables: Numbers, num_symbols: int, known: Numbers | None) -> Numbers:
        """The next symbols `[num]`.

        Raises:
            FormatError: A symbol does not exist, or the bytes do not fit the tables.
        """
        order, runs = _sorted_runs(tables)
        decoded = self._coder.pull(runs)
        if decoded.max(initial=0) >= num_symbols:
            raise FormatError(f"symbol of motion is {decoded.max()}; expected less than {num_symbols}: it is damaged")
        if order is None:
            return decoded
        symbols = np.empty_like(decoded)
        symbols[order] = decoded
        return symbols

    def is_exhausted(self) -> bool:
        """False if data is certainly left over."""
        return self._coder.is_exhausted()


class SymbolCounter:
    """Counts symbols of each table.

    Attributes:
        counts: int64 `[NUM_TABLES, num_symbols]`.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((NUM_TABLES, coder_tables().num_symbols), np.int64)

    def code(self, tables: Numbers, num_symbols: int, known: Numbers | None) -> Numbers:
        """Count the symbols `known [num]`."""
        assert known is not None
        np.add.at(self.counts, (tables, known), 1)
        return known

    def ideal_bits(self) -> float:
        """Code length in bits of all symbols so far, the bound for any coder."""
        return float((self.counts * np.log2(FREQUENCY_TOTAL / coder_tables().frequencies.astype(np.float64))).sum())


def code_uniform(symbols: MotionSymbols, num_bits: Numbers, known: Numbers | None) -> Numbers:
    """Numbers of `num_bits [num]`, 0 to 10 bits, all equally probable: their upper five bits, then what is left."""
    upper_bits = np.minimum(num_bits, MAX_UNIFORM_BITS)
    lower_bits = num_bits - upper_bits
    values = np.zeros(len(num_bits), np.int32)
    for shift, bits in ((lower_bits, upper_bits), (np.zeros_like(lower_bits), lower_bits)):
        some = np.flatnonzero(bits)
        if len(some):
            mask = (1 << bits[some]) - 1
            part = None if known is None else known[some] >> shift[some] & mask
            values[some] |= symbols.code(bits[some] - 1 + FIRST_UNIFORM, 1 << MAX_UNIFORM_BITS, part) << shift[some]
    return values


def _sorted_runs(tables: Numbers) -> tuple[NDArray[np.intp] | None, Runs]:
    """The order of symbols by table, stable, and the runs of tables; no order if there is one table only."""
    if len(tables) == 1:
        return None, [(int(tables[0]), 1)]
    counts = np.bincount(tables)
    present = np.flatnonzero(counts)
    runs = list(zip(present.tolist(), counts[present].tolist(), strict=True))
    return (None if len(runs) == 1 else np.argsort(tables.astype(np.uint8), kind="stable")), runs
