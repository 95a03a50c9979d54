"""Frozen frequency tables of codes: one per quality and channel, and the coding of latent frames under them.

A model comes with a small palette of tables (symmetric distributions of increasing width) and, for each quality and
channel, the number of the one that fits best on the training set. Channels are in order of importance, so those of a
latent frame behind the last one with a code other than zero are not coded at all: their number is.

The payload of one group of T latent frames is T times a 16-bit number of coded channels, little-endian, then the words
of the range coder (`vtok.entropy`), latent frame by latent frame, channel by channel, row by row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtok.entropy import FrequencyTables, SymbolDecoder, SymbolEncoder
from vtok.errors import ConfigError, FormatError, TruncatedError

Codes = NDArray[np.uint8]
ENTROPY_CODER = "frozen-tables-1"


@dataclass(frozen=True, eq=False)
class CodeTables:
    """The tables of one model.

    Attributes:
        tables: The palette.
        index: uint8 `[num_qualities, n]`: the table of each channel at each quality.
        zero_code: The code that means zero.
    """

    tables: FrequencyTables
    index: NDArray[np.uint8]
    zero_code: int = 128

    def __post_init__(self) -> None:
        if self.index.ndim != 2 or self.index.max() >= self.tables.num_tables:
            raise ConfigError(
                f"table index has shape {self.index.shape} and values up to {self.index.max()}; "
                f"expected [num_qualities, n] below {self.tables.num_tables}"
            )

    def of_quality(self, quality: float) -> NDArray[np.uint8]:
        """Table of each channel `[n]` at the trained quality nearest to `quality`."""
        row: NDArray[np.uint8] = self.index[min(max(round(quality), 1), len(self.index)) - 1]
        return row


class GroupEncoder:
    """Codes the latent frames of one group, one after the other, in memory that grows with the bytes only."""

    def __init__(self, tables: CodeTables, quality: float) -> None:
        self._zero = tables.zero_code
        self._index = tables.of_quality(quality)
        self._encoder = SymbolEncoder(tables.tables)
        self._counts: list[int] = []

    def push(self, codes: Codes) -> None:
        """Append one latent frame of codes `[n, H, W]`."""
        used = np.flatnonzero((codes != self._zero).any(axis=(1, 2)))
        count = int(used[-1]) + 1 if len(used) else 0
        self._counts.append(count)
        positions = codes.shape[1] * codes.shape[2]
        self._encoder.push(codes[:count].reshape(-1), np.repeat(self._index[:count], positions))

    def finish(self) -> bytes:
        """The payload of the group."""
        return np.array(self._counts, "<u2").tobytes() + self._encoder.finish()


class GroupDecoder:
    """Decodes what `GroupEncoder` wrote.

    Raises:
        TruncatedError: `payload` is shorter than `num_latent_frames` need.
        FormatError: It declares more channels than there are, or does not fit the tables.
    """

    def __init__(
        self, tables: CodeTables, quality: float, payload: bytes, *, num_latent_frames: int, height: int, width: int
    ) -> None:
        self._tables, self._shape = tables, (height, width)
        self._index = tables.of_quality(quality)
        if len(payload) < 2 * num_latent_frames:
            raise TruncatedError(f"group of {num_latent_frames} latent frames has a payload of {len(payload)} bytes")
        self._counts = np.frombuffer(payload, "<u2", num_latent_frames)
        if self._counts.max(initial=0) > len(self._index):
            raise FormatError(f"{self._counts.max()} coded channels declared; the model has {len(self._index)}")
        self._decoder = SymbolDecoder(tables.tables, payload[2 * num_latent_frames :])
        self._next = 0

    def pull(self) -> Codes:
        """The next latent frame, codes `[n, H, W]`."""
        count = int(self._counts[self._next])
        self._next += 1
        height, width = self._shape
        symbols = self._decoder.pull(np.repeat(self._index[:count], height * width))
        codes = np.full((len(self._index), height, width), self._tables.zero_code, np.uint8)
        codes[:count] = symbols.reshape(count, height, width)
        return codes
