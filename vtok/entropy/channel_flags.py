"""Flags of the channels of a latent frame: each says how its channel is coded. They are coded before the codes.

ZERO      all codes are zero
CODED     the codes are coded under the prior
RARE + k  hardly any code is nonzero. Each is coded at a fixed probability: the prior would save few bits here, and take
          as much time as for any channel
REPEATED  all codes are those of the latent frame before, as where nothing moves. The prior is never sure enough of a
          single code to make a whole channel free
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vtok.entropy.range_coder import FREQUENCY_TOTAL, Bytes

ZERO, CODED, RARE = range(3)
RARE_EXPONENTS = range(8, 18)  # a code of a channel `RARE + k` is nonzero with probability `2^-RARE_EXPONENTS[k]`
REPEATED = RARE + len(RARE_EXPONENTS)
NUM_FLAGS = REPEATED + 1
ZERO_CODE = 128

# Probabilities of the flags `ZERO`, `CODED`, any of `RARE`, and `REPEATED`. Row 0 is for the first latent frame of a
# group. Rows 1 to 3 are for latent frames without repeated channels, by the channel's flag in the latent frame before:
# `ZERO`, `CODED`, `RARE`. Rows 4 to 7 are for latent frames with some, by all four flags.
FLAG_PROBABILITIES = (
    (3 / 8, 1 / 2, 1 / 8, 0),
    (57 / 64, 1 / 64, 6 / 64, 0),
    (1 / 64, 59 / 64, 4 / 64, 0),
    (1 / 4, 1 / 4, 1 / 2, 0),
    (57 / 64, 1 / 64, 6 / 64, 0),
    (1 / 64, 16 / 64, 3 / 64, 44 / 64),
    (1 / 8, 1 / 4, 1 / 8, 1 / 2),
    (1 / 64, 4 / 64, 2 / 64, 57 / 64),
)
RARE_PROBABILITIES = (1 / 32, 1 / 32, 1 / 4, 1 / 4, 1 / 4, 1 / 16, 1 / 16, 1 / 32, 1 / 64, 1 / 64)

# The encoder spends bits to have fewer channels under the prior, which takes time for each channel and for each group
# of channels. A nonzero rare code costs about 4.5 bits more than under the prior, and so does a flag. A code that
# differs from the latent frame before costs about 3.5 bits. `RARE_SHARE` of the number of such codes may lie in
# channels that are made rare one by one, and `GROUP_SHARE` in groups that are made rare as a whole. Measured: 0.2 to
# 0.8 % more bytes, and 5 to 25 % less time.
RARE_SHARE = 1 / 300
GROUP_SHARE = 1 / 100
MIN_POSITIONS_PER_NONZERO = 64  # no rare flag has a higher probability than 1 / 256


def choose_flags(codes: Bytes, previous: Bytes | None = None, *, groups: Sequence[int] = ()) -> Bytes:
    """Choose a flag for each channel; any choice that represents all codes can be decoded.

    Args:
        codes: Stored codes `[n, P]` of the latent frame.
        previous: Stored codes of the latent frame before in the same group of latent frames, if there is one.
        groups: Ends of the prior's groups of channels.
    """
    # Sums are four times as fast as numpy's count along an axis.
    num_nonzero = (codes != ZERO_CODE).sum(axis=1, dtype=np.uint32).astype(np.intp)
    num_changed = num_nonzero if previous is None else (codes != previous).sum(axis=1, dtype=np.uint32).astype(np.intp)
    flags = np.where(num_nonzero > 0, CODED, ZERO).astype(np.uint8)
    _choose_rare(flags, num_nonzero, codes.shape[1], int(num_changed.sum()), groups)
    if previous is not None:
        repeated = (num_nonzero > 0) & (num_changed == 0)
        # Repeats make every other flag cost about two bits more; each repeat saves somewhat more than that.
        if 2 * np.count_nonzero(repeated) > np.count_nonzero((flags == CODED) & ~repeated):
            flags[repeated] = REPEATED
    return flags


def _choose_rare(
    flags: Bytes, num_nonzero: NDArray[np.intp], num_positions: int, num_changed: int, groups: Sequence[int]
) -> None:
    """Make the channels with the fewest nonzero codes rare, then whole groups."""
    exponents = np.rint(np.log2(num_positions / np.maximum(num_nonzero, 1))) - RARE_EXPONENTS[0]
    rare = RARE + np.clip(exponents, 0, len(RARE_EXPONENTS) - 1).astype(np.uint8)
    costs = np.where(num_nonzero * MIN_POSITIONS_PER_NONZERO < num_positions, num_nonzero + 1, num_positions)
    coded = np.flatnonzero(flags)
    coded = coded[np.argsort(costs[coded], kind="stable")]
    chosen = coded[np.cumsum(costs[coded]) <= num_changed * RARE_SHARE]
    flags[chosen] = rare[chosen]
    left = num_changed * GROUP_SHARE
    for start, end in reversed(list(pairwise((0, *groups)))):
        own = start + np.flatnonzero(flags[start:end] == CODED)
        if costs[own].sum() <= left:
            left -= costs[own].sum()
            flags[own] = rare[own]


def flag_tables(before: Bytes | None, num_channels: int, *, some_repeated: bool) -> Bytes:
    """The row of `FLAG_PROBABILITIES` for each channel's flag, `[num_channels]`.

    Args:
        before: Flags in the latent frame before; None in the first of a group.
        num_channels: Number of channels that have a flag.
        some_repeated: Whether any channel of the latent frame is repeated.
    """
    if before is None:
        return np.zeros(num_channels, np.uint8)
    if some_repeated:
        kinds = np.where(before == REPEATED, 3, np.minimum(before, RARE)) + 4
    else:
        kinds = np.where(before == REPEATED, CODED, np.minimum(before, RARE)) + 1
    return kinds[:num_channels].astype(np.uint8)


def flag_frequencies() -> NDArray[np.int64]:
    """Frequencies `[8, 256]` of the flags under each table; most symbols do not occur and have frequency 1."""
    rows = np.ones((len(FLAG_PROBABILITIES), 256), np.int64)
    for row, (zero, coded, rare, repeated) in zip(rows, FLAG_PROBABILITIES, strict=True):
        flags = [zero, coded, *(rare * p for p in RARE_PROBABILITIES), repeated]
        row[:NUM_FLAGS] = np.maximum(1, [int(FREQUENCY_TOTAL * p) for p in flags])
    return rows
