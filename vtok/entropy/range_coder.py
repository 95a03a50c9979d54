"""Convert codes to bytes and back: range coding of symbols under frozen integer frequency tables.

Every number that reaches the range coder is an integer or a float that holds one exactly, so the same tables give the
same bytes on every machine. The coder is `constriction`'s (range coding after G. N. N. Martin, 1979: 64 bits of state,
32-bit words, 24-bit probabilities). `reference_encode` and `reference_decode` are the same coder in plain integers.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, TypeAlias

import constriction
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vtok.errors import ConfigError, FormatError

# Each row of frequencies sums to this, the full resolution of the coder. With 2^16, and no frequency below 1, the 255
# codes that a nearly constant channel never uses would take 0.4 % of the probability: 0.0056 bits per symbol.
FREQUENCY_BITS = 24
FREQUENCY_TOTAL = 1 << FREQUENCY_BITS
MAX_SYMBOLS = 1 << 16

Bytes: TypeAlias = NDArray[np.uint8]  # symbols, flags, and numbers of tables

# Tables of consecutive symbols: (table, number of symbols that have it). One call of the coder per run is at least 10
# times faster than one model per symbol and gives the same bytes.
Runs: TypeAlias = Sequence[tuple[int, int]]

_WORD_BITS = 32
_WORD_MASK = (1 << _WORD_BITS) - 1


def quantize_probabilities(probabilities: ArrayLike) -> NDArray[np.uint32]:
    """Integer frequencies `[..., num_symbols]`, each at least 1, rows summing to `FREQUENCY_TOTAL`.

    This rounds floats, so use it only to make tables that are then stored, never at coding time.

    Args:
        probabilities: `[..., num_symbols]`, not negative, finite; rows need not be normalised.

    Raises:
        ConfigError: A row has a negative or non-finite value or sums to zero, or there are too few or many symbols.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim < 1 or not 2 <= p.shape[-1] <= MAX_SYMBOLS:
        raise ConfigError(f"probabilities have shape {p.shape}: the last dimension must be 2 to {MAX_SYMBOLS} symbols")
    with np.errstate(over="ignore", invalid="ignore"):  # such sums are refused below
        totals = p.sum(axis=-1, keepdims=True)
    if not (np.isfinite(p).all() and np.isfinite(totals).all() and (p >= 0).all() and (totals > 0).all()):
        raise ConfigError("probabilities must be finite and not negative, and each row must have a positive sum")
    # Give each symbol one count, share out the rest in proportion, and give the remainder to the largest fractions.
    share = p / totals * (FREQUENCY_TOTAL - p.shape[-1])
    whole = np.floor(share)
    left_over = FREQUENCY_TOTAL - p.shape[-1] - whole.sum(axis=-1, keepdims=True)
    rank = np.argsort(np.argsort(whole - share, axis=-1, kind="stable"), axis=-1, kind="stable")
    frequencies: NDArray[np.uint32] = (whole + 1 + (rank < left_over)).astype(np.uint32)
    return frequencies


class FrequencyTables:
    """Frozen frequencies of symbols, one table per row.

    Attributes:
        frequencies: uint32 `[num_tables, num_symbols]`, positive, rows summing to `FREQUENCY_TOTAL`; read-only.
    """

    def __init__(self, frequencies: ArrayLike) -> None:
        """Check the table and keep a copy of it.

        Args:
            frequencies: Integers `[num_tables, num_symbols]`, such as `quantize_probabilities` returns.

        Raises:
            ConfigError: The shape or type is wrong, a frequency is not positive, or a row has another sum.
        """
        given = np.asarray(frequencies)
        if given.ndim != 2 or given.shape[0] < 1 or not 2 <= given.shape[1] <= MAX_SYMBOLS:
            raise ConfigError(f"frequencies have shape {given.shape}: need [num_tables, 2 to {MAX_SYMBOLS} symbols]")
        if given.dtype.kind not in "iu":
            raise ConfigError(f"frequencies are {given.dtype}: they must be integers")
        if given.min() < 1 or given.max() >= FREQUENCY_TOTAL:
            raise ConfigError(
                f"frequencies are {given.min()} to {given.max()}: each must be 1 to {FREQUENCY_TOTAL - 1}"
            )
        sums = given.sum(axis=1, dtype=np.uint64)
        if (sums != FREQUENCY_TOTAL).any():
            row = int(np.flatnonzero(sums != FREQUENCY_TOTAL)[0])
            raise ConfigError(f"frequencies of table {row} sum to {sums[row]}: each row must sum to {FREQUENCY_TOTAL}")
        self.frequencies: NDArray[np.uint32] = given.astype(np.uint32)
        self.frequencies.flags.writeable = False

    @property
    def num_tables(self) -> int:
        """Number of rows."""
        return int(self.frequencies.shape[0])

    @property
    def num_symbols(self) -> int:
        """Size of the alphabet, the same for all tables."""
        return int(self.frequencies.shape[1])

    @cached_property
    def models(self) -> list[Any]:
        """The `constriction` model of each table."""
        # float64 holds k / 2^24 and all partial sums of such numbers exactly, and constriction's
        # floor(sum * (2^24 - num_symbols)) + index needs 48 of its 53 bits. Nothing is rounded, so all machines agree.
        # `perfect=True` would call log1p, whose last bit may differ.
        probabilities = self.frequencies.astype(np.float64) / FREQUENCY_TOTAL
        return [constriction.stream.model.Categorical(row, perfect=False) for row in probabilities]

    def cumulative(self, table: int) -> list[int]:
        """The coder's integer bounds: `num_symbols + 1` from 0 to 2^24, strictly increasing."""
        sums = np.concatenate([[0], np.cumsum(self.frequencies[table], dtype=np.int64)])
        scaled = sums * (FREQUENCY_TOTAL - self.num_symbols) >> FREQUENCY_BITS
        return [int(bound) for bound in scaled + np.arange(self.num_symbols + 1)]

    def ideal_bits(self, symbols: NDArray[np.integer[Any]], table_index: NDArray[np.integer[Any]]) -> float:
        """Code length in bits of `symbols [num]` under the tables `table_index [num]`, the bound for any coder."""
        return float(np.log2(FREQUENCY_TOTAL / self.frequencies[table_index, symbols].astype(np.float64)).sum())


class SymbolEncoder:
    """Codes symbols into one string of bytes."""

    def __init__(self, tables: FrequencyTables) -> None:
        self._tables = tables
        self._coder = constriction.stream.queue.RangeEncoder()

    def push(self, symbols: NDArray[np.integer[Any]], runs: Runs) -> None:
        """Append symbols.

        Args:
            symbols: `[num]` in `[0, num_symbols)`.
            runs: The symbols' tables. The decoder must know them before it has the symbols.

        Raises:
            ConfigError: The runs do not add up to `num` symbols, or a symbol is out of range.
        """
        if len(symbols) and not 0 <= symbols.min() <= symbols.max() < self._tables.num_symbols:
            raise ConfigError(
                f"symbols are {symbols.min()} to {symbols.max()}: must be 0 to {self._tables.num_symbols - 1}"
            )
        coded, encode, models = symbols.astype(np.int32), self._coder.encode, self._tables.models
        start = 0
        for table, count in runs:
            end = start + count
            encode(coded[start:end], models[table])
            start = end
        if start != len(symbols):
            raise ConfigError(f"symbols have shape {symbols.shape}, and their tables are of {start}")

    def finish(self) -> bytes:
        """The bytes of all symbols so far: 32-bit words, little-endian; empty if there were no symbols."""
        words: NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype("<u4").tobytes()


class SymbolDecoder:
    """Decodes, part by part, what `SymbolEncoder` wrote with equal tables.

    Damaged bytes mostly decode to wrong symbols without an error, so compare checksums of the symbols.
    """

    def __init__(self, tables: FrequencyTables, data: bytes) -> None:
        """Start at the first symbol of `data`.

        Raises:
            FormatError: The length is not a multiple of 4 bytes.
        """
        self._tables = tables
        self._coder = constriction.stream.queue.RangeDecoder(_words(data))

    def pull(self, runs: Runs) -> NDArray[np.int32]:
        """The next symbols `[num]`.

        Args:
            runs: The symbols' tables, equal to those of the encoder.

        Raises:
            FormatError: The bytes cannot come from these tables.
        """
        decoded, models = [np.empty(0, np.int32)], self._tables.models
        for table, count in runs:
            try:
                decoded.append(self._coder.decode(models[table], count))
            except Exception:  # constriction raises AssertionError here, and promises no other type
                raise FormatError("entropy-coded bytes do not fit their frequency tables: they are damaged") from None
        return np.concatenate(decoded)

    def is_exhausted(self) -> bool:
        """False if data is certainly left over, which never happens in good files; True proves nothing."""
        return bool(self._coder.maybe_exhausted())


def reference_encode(tables: FrequencyTables, symbols: Iterable[int], runs: Runs) -> bytes:
    """The bytes that `SymbolEncoder` writes for all `symbols`: slow, in plain integers, for tests to compare.

    The coder narrows an interval of whole numbers `[low, low + width)`. Here `low` keeps all its digits, so carries
    need no care. A fast coder writes digits out as soon as no carry can reach them.
    """
    low, width, num_words = 0, (1 << 2 * _WORD_BITS) - 1, 1
    rest = iter(symbols)
    for table, count in runs:
        bounds = tables.cumulative(table)
        for symbol in islice(rest, count):
            unit = width >> FREQUENCY_BITS
            low += unit * bounds[symbol]
            width = unit * (bounds[symbol + 1] - bounds[symbol])
            if width <= _WORD_MASK:
                low, width, num_words = low << _WORD_BITS, width << _WORD_BITS, num_words + 1
    if width == (1 << 2 * _WORD_BITS) - 1:
        return b""
    # The shortest number whose every continuation lies in the interval; a second word only if one is not enough.
    point = low + _WORD_MASK >> _WORD_BITS
    data = np.frombuffer(point.to_bytes(4 * num_words, "big"), dtype=">u4").astype("<u4").tobytes()
    return data + bytes(4) if low + width >> _WORD_BITS == point else data


def reference_decode(tables: FrequencyTables, data: bytes, runs: Runs) -> list[int]:
    """The symbols that `SymbolDecoder` reads: slow, in plain integers, for tests to compare.

    Raises:
        FormatError: The length is not a multiple of 4 bytes, or the bytes cannot come from these tables.
    """
    words = iter([int(word) for word in _words(data)])
    next_word: Callable[[], int] = lambda: next(words, 0)  # noqa: E731 (the data goes on with zeros for ever)
    # `point` is the distance of the coded number from the low end of the interval.
    point, width = next_word() << _WORD_BITS | next_word(), (1 << 2 * _WORD_BITS) - 1
    symbols = []
    for table, count in runs:
        bounds = tables.cumulative(table)
        for _ in range(count):
            unit = width >> FREQUENCY_BITS
            quantile = point // unit
            if quantile >= FREQUENCY_TOTAL:
                raise FormatError("entropy-coded bytes do not fit their frequency tables: they are damaged")
            symbol = bisect_right(bounds, quantile) - 1
            symbols.append(symbol)
            point -= unit * bounds[symbol]
            width = unit * (bounds[symbol + 1] - bounds[symbol])
            if width <= _WORD_MASK:
                point, width = point << _WORD_BITS | next_word(), width << _WORD_BITS
    return symbols


def _words(data: bytes) -> NDArray[np.uint32]:
    """The 32-bit words of entropy-coded `data`."""
    if len(data) % 4:
        raise FormatError(f"entropy-coded data has {len(data)} bytes: it must be whole words of 4 bytes")
    return np.frombuffer(data, dtype="<u4").astype(np.uint32)
