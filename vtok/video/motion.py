"""The motion of a chunk: how its eight frames move against one of them, and that one against the frame before."""

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
NUM_FIELDS = len(STEPS) + 1  # the last field leads from frame 2 to the last frame of the chunk before

Vectors = NDArray[np.int16]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ChunkMotion:
    """The motion of one chunk of eight frames of any size.

    Attributes:
        fields: Vectors `[8, 2, rows, columns]` of blocks of 16x16 pixels, int16, in quarters of a pixel, from
            -1023 to 1023. Field `k < 7` is that of `STEPS[k]`: pixel `p` of the moved frame is like `p + vector` of the
            anchor. Field 7 is that of the prediction: `p` of frame 2 is like `p + vector` of the last decoded frame of
            the chunk before. The first component is horizontal, positive to the right; the second is vertical, positive
            downwards.
        is_predicted: Whether each block is predicted from the chunk before, bool `[rows, columns]`.
    """

    fields: Vectors
    is_predicted: Mask

    @classmethod
    def still(cls, height: int, width: int, *, is_predicted: bool) -> Self:
        """No motion in frames of `height` x `width` pixels."""
        rows, columns = motion_size(height, width)
        return cls(np.zeros((NUM_FIELDS, 2, rows, columns), np.int16), np.full((rows, columns), is_predicted))


def motion_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of blocks in frames of `height` x `width` pixels; the last ones may be partly outside."""
    return -(-height // BLOCK), -(-width // BLOCK)
