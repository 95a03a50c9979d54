"""The motion of a chunk: how its eight frames move against one of them, and that one against the chunk before."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

BLOCK = 16  # pixels of luma on a side of a motion block
UNITS = 4  # vectors are in quarters of a pixel of luma
MAX_VECTOR = 1023  # quarters of a pixel, in either direction

# (Anchor, moved): the moved frame is like the anchor, sampled at positions that the step's field displaces. All ends at
# frame 2. The order is that of the fields of a chunk, from the longest distance to the shortest.
STEPS = ((2, 5), (2, 1), (5, 6), (1, 0), (2, 3), (5, 4), (6, 7))
ANCHOR = 2
NUM_FIELDS = len(STEPS) + 1  # the last field leads from frame 2 to frame 2 of the chunk before

# How many frames each field spans, negative where the anchor is earlier: a field is about its distance x the velocity.
DISTANCES = (*(anchor - moved for anchor, moved in STEPS), -8)

Vectors = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class ChunkMotion:
    """The motion of one chunk of eight frames of any size.

    Attributes:
        fields: Vectors `[8, 2, rows, columns]` of blocks of 16x16 pixels, int16, in quarters of a pixel, from
            -1023 to 1023. Field `k < 7` is that of `STEPS[k]`: pixel `p` of the moved frame is like `p + vector` of the
            anchor. Field 7 leads to the chunk before: `p` of frame 2 is like `p + vector` of frame 2 there. It is zero
            in the first chunk of a group. The first component is horizontal, positive to the right; the second is
            vertical, positive downwards.
    """

    fields: Vectors

    @classmethod
    def still(cls, height: int, width: int) -> Self:
        """No motion in frames of `height` x `width` pixels."""
        return cls(np.zeros((NUM_FIELDS, 2, *motion_size(height, width)), np.int16))


def motion_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of blocks in frames of `height` x `width` pixels; the last ones may be partly outside."""
    return -(-height // BLOCK), -(-width // BLOCK)


def predicted_field(fields: Vectors, k: int) -> Vectors:
    """What field `k` of a chunk is expected to be, given the fields before it: steady motion.

    With the distances `d` of `DISTANCES`, it is the mean of `v_j / d_j` over the `k` known fields, times `d_k`, exactly
    rounded to the nearest integer (halves away from zero) and clipped to `MAX_VECTOR`. Encoder and decoder must agree:
    it is integer arithmetic only.

    Args:
        fields: Vectors `[n >= k, 2, rows, columns]` in the order of `STEPS`; only the first `k` are read.
        k: From 0 (which is predicted to be zero) to 7.

    Returns:
        Vectors `[2, rows, columns]`, int16.
    """
    if k == 0:
        return np.zeros(fields.shape[1:], np.int16)
    # Three times the velocity is an integer, as 3 / d is for all fields that are known before others.
    weights = np.array([3 // d for d in DISTANCES[:k]], np.int32)
    numerator = DISTANCES[k] * np.tensordot(weights, fields[:k].astype(np.int32), axes=1)
    denominator = 3 * k
    rounded = np.sign(numerator) * ((2 * np.abs(numerator) + denominator) // (2 * denominator))
    predicted: Vectors = np.clip(rounded, -MAX_VECTOR, MAX_VECTOR).astype(np.int16)
    return predicted
