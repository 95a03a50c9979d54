"""How each channel of a latent frame is coded, which a flag says, coded before the codes themselves.

ZERO      all codes are zero
CODED     codes are coded under the prior
RARE + k  hardly any code is not zero: each is coded at a fixed probability. The prior would save few bits there, and
          cost as much time as for any channel
REPEATED  all codes are those of the latent frame before, as where nothing moves. The prior cannot be so sure of each
          single code that a channel of them would cost nothing
"""

import numpy as np
from numpy.typing import NDArray

from vtok.entropy import FREQUENCY_TOTAL

ZERO, CODED, RARE = range(3)
RARE_EXPONENTS = range(8, 18)  # codes of channels `RARE + k` are not zero with a probability of `2^-RARE_EXPONENTS[k]`
REPEATED = RARE + len(RARE_EXPONENTS)
NUM_FLAGS = REPEATED + 1

# How often a channel has the flags `ZERO`, `CODED`, any of `RARE`, or `REPEATED`: in the first latent frame of a group;
# where no channel is repeated, after the first three in the latent frame before; where some are, after all four.
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

# An encoder codes a channel without the prior if all codes are zero but one in so many, less a few: each of these costs
# little more than under the prior, but the flag takes some bits too.
POSITIONS_PER_RARE = 1024
RARE_OF_FLAG = 2

Bytes = NDArray[np.uint8]


def choose_flags(codes: Bytes, previous: Bytes | None = None) -> Bytes:
    """How an encoder codes each channel of stored codes `[n, P]`; any choice that holds all codes can be decoded.

    Args:
        codes: The latent frame.
        previous: The one before in the same group, if there is one.
    """
    num_positions = codes.shape[1]
    num_nonzero = np.count_nonzero(codes != 128, axis=1)
    exponents = np.rint(np.log2(num_positions / np.maximum(num_nonzero, 1)))
    flags: Bytes = RARE + np.clip(exponents - RARE_EXPONENTS[0], 0, len(RARE_EXPONENTS) - 1).astype(np.uint8)
    flags[num_nonzero > num_positions / POSITIONS_PER_RARE - RARE_OF_FLAG] = CODED
    flags[num_nonzero == 0] = ZERO
    if previous is not None:
        repeated = (num_nonzero > 0) & (codes == previous).all(axis=1)
        # Repeats make all other flags dearer, by two bits or so, and save some more each.
        if 2 * np.count_nonzero(repeated) > np.count_nonzero((flags == CODED) & ~repeated):
            flags[repeated] = REPEATED
    return flags


def flag_tables(before: Bytes | None, num_channels: int, *, some_repeated: bool) -> Bytes:
    """Which row of `FLAG_PROBABILITIES` each channel's flag has, `[num_channels]`.

    Args:
        before: Flags in the latent frame before; None in the first of a group.
        num_channels: How many have a flag.
        some_repeated: Whether channels of the latent frame are repeated.
    """
    if before is None:
        return np.zeros(num_channels, np.uint8)
    if some_repeated:
        kinds = np.where(before == REPEATED, 3, np.minimum(before, RARE)) + 4
    else:
        kinds = np.where(before == REPEATED, CODED, np.minimum(before, RARE)) + 1
    return kinds[:num_channels].astype(np.uint8)


def flag_frequencies() -> NDArray[np.int64]:
    """Frequencies `[8, 256]` of the flags under each table; most symbols do not occur, and have 1."""
    rows = np.ones((len(FLAG_PROBABILITIES), 256), np.int64)
    for row, (zero, coded, rare, repeated) in zip(rows, FLAG_PROBABILITIES, strict=True):
        flags = [zero, coded, *(rare * p for p in RARE_PROBABILITIES), repeated]
        row[:NUM_FLAGS] = np.maximum(1, [int(FREQUENCY_TOTAL * p) for p in flags])
    return rows
