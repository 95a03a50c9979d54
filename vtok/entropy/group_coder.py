"""Coding of the latent frames of one group: what encoder and decoder of a file call.

The codes' bytes of one group of T latent frames are T numbers of channels, then the words of one range coder
(`vtok.entropy.range_coder`). Each number has 16 bits, little-endian; its highest bit says that some channels are
repeated. A latent frame begins with the flags of the channels below its number (`vtok.entropy.channel_flags`) and the
codes of rare channels; all channels from that number on are zero. Then the channels coded under the prior follow
(`vtok.entropy.frame_coder`).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from vtok.entropy.channel_flags import CODED, RARE, REPEATED, ZERO, ZERO_CODE, choose_flags, flag_tables
from vtok.entropy.exact_prior import ExactPrior
from vtok.entropy.frame_coder import Codes, FrameCoder
from vtok.entropy.symbols import SymbolParameters
from vtok.entropy.tables import PassDecoder, PassEncoder
from vtok.errors import FormatError, TruncatedError
from vtok.video.motion import ChunkMotion

SOME_REPEATED = 1 << 15


class PriorGroupEncoder:
    """Codes the latent frames of one group, one by one; memory grows with the coded bytes only."""

    def __init__(self, prior: ExactPrior, quality: float) -> None:
        self._prior, self._quality = prior, quality
        self._encoder = PassEncoder(prior.tables)
        self._frames: FrameCoder | None = None
        self._previous: Codes | None = None
        self._counts: list[int] = []

    def push(self, codes: Codes, motion: ChunkMotion) -> None:
        """Append one latent frame of codes `[n, H, W]`, all of one size, and the motion that goes with them."""
        num_channels, height, width = codes.shape
        if self._frames is None:
            self._frames = FrameCoder(self._prior, self._quality, height, width)
        frames, codes, previous = self._frames, codes.reshape(num_channels, -1), self._previous
        flags, self._previous = choose_flags(codes, previous, groups=self._prior.groups), codes.copy()
        count = int(np.flatnonzero(flags)[-1]) + 1 if flags.any() else 0
        some_repeated, is_rare = bool((flags == REPEATED).any()), (flags >= RARE) & (flags < REPEATED)
        self._counts.append(count | (SOME_REPEATED if some_repeated else 0))
        self._encoder.push_channels(flags[:count], flag_tables(frames.flags, count, some_repeated=some_repeated))
        self._encoder.push_rare(codes[is_rare] - np.uint8(ZERO_CODE), flags[is_rare])
        stored = np.ascontiguousarray(codes[flags == CODED].T)[frames.positions.order.numpy()]

        def encode_pass(rows: slice, columns: slice, symbols: SymbolParameters) -> Codes:
            known: Codes = stored[rows, columns]
            self._encoder.push(symbols.to_symbols(known).reshape(-1), symbols.tables.reshape(-1))
            return known

        frames.code(flags, encode_pass, motion, previous)

    def finish(self) -> bytes:
        """The payload of the group."""
        return np.array(self._counts, "<u2").tobytes() + self._encoder.finish()


class PriorGroupDecoder:
    """Decodes what `PriorGroupEncoder` wrote.

    Args:
        prior: The exact prior that the encoder used.
        quality: The quality that the encoder used.
        payload: The bytes that the encoder wrote.
        num_latent_frames: Number of latent frames in the group.
        height: Rows of a latent frame.
        width: Columns of a latent frame.
        channel_bits: If given, float64 `[n]`: the ideal code length of each channel's codes is added to it.

    Raises:
        TruncatedError: `payload` is too short for `num_latent_frames`.
        FormatError: `payload` declares more channels than there are, or does not fit the tables.
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
        counts = np.frombuffer(payload, "<u2", num_latent_frames).astype(np.intp)
        self._counts, self._some_repeated = counts % SOME_REPEATED, counts >= SOME_REPEATED
        if self._counts.max(initial=0) > prior.num_channels:
            raise FormatError(f"{self._counts.max()} coded channels declared; the model has {prior.num_channels}")
        self._decoder = PassDecoder(prior.tables, payload[2 * num_latent_frames :])
        self._frames = FrameCoder(prior, quality, height, width)
        self._shape = (prior.num_channels, height, width)
        self._previous = np.full((prior.num_channels, height * width), ZERO_CODE, np.uint8)
        self._next = 0
        self._tables, self._channel_bits = prior.tables, channel_bits

    def pull(self, motion: ChunkMotion) -> Codes:
        """The next latent frame, codes `[n, H, W]`; its motion was decoded before."""
        flags, count = np.full(self._shape[0], ZERO, np.uint8), int(self._counts[self._next])
        tables = flag_tables(self._frames.flags, count, some_repeated=bool(self._some_repeated[self._next]))
        flags[:count] = self._decoder.pull_channels(tables)
        is_rare = (flags >= RARE) & (flags < REPEATED)
        rare = self._decoder.pull_rare(flags[is_rare], self._previous.shape[1])
        self._next += 1
        channels = np.flatnonzero(flags == CODED)
        coded = np.empty((self._previous.shape[1], len(channels)), np.uint8)
        if self._channel_bits is not None:
            self._channel_bits[is_rare] += self._tables.rare_code_lengths(rare, flags[is_rare])

        def decode_pass(rows: slice, columns: slice, symbols: SymbolParameters) -> Codes:
            decoded = self._decoder.pull(symbols.tables.reshape(-1)).reshape(symbols.tables.shape)
            if self._channel_bits is not None:
                self._channel_bits[channels[columns]] += self._tables.code_lengths[symbols.tables, decoded].sum(axis=0)
            coded[rows, columns] = symbols.to_codes(decoded)
            return coded[rows, columns]

        self._frames.code(flags, decode_pass, motion, self._previous)
        codes = self._previous.copy()
        codes[flags == ZERO] = ZERO_CODE
        codes[channels] = self._frames.positions.to_map(torch.from_numpy(coded)).numpy().T
        codes[is_rare] = rare + np.uint8(ZERO_CODE)
        self._previous = codes
        return codes.reshape(self._shape).copy()
