"""About how many bits vectors cost: what the search weighs against the error.

The coder of vectors takes one flag for a field that is as predicted from the fields before it. Else it takes, for each
unit of 2 x 2 blocks, a flag whether the unit is as predicted; if it is not, whether it has one vector or four; and then
each vector's difference from those near it. The estimates here are rough, and nothing but the search depends on them.

Symbols: `R C` rows and columns of blocks, both even. Fields are float32 `[R, C, 2]`, in quarters of a pixel.
"""

from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Luma = NDArray[np.uint8]
Forms = NDArray[np.uint8]

UNIT = 2  # blocks on a side of a unit


class Form(IntEnum):
    """What the coder says about a unit."""

    PREDICTED = 0
    MERGED = 1  # one vector for its four blocks
    SPLIT = 2


MERGED_BITS = 0.6
SPLIT_BITS = 1.6


def neighbours(x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """The values to the left, above, to the right and below of `x [h, w]` or `[h, w, 2]`; at edges the edge's own."""
    padded = np.asarray(cv2.copyMakeBorder(x, 1, 1, 1, 1, cv2.BORDER_REPLICATE), np.float32)
    return padded[1:-1, :-2], padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1]


def expand(units: Floats) -> Floats:
    """A value of each unit `[R/2, C/2, ...]` given to its four blocks, `[R, C, ...]`."""
    return units.repeat(UNIT, 0).repeat(UNIT, 1)


def sum_units(blocks: Floats) -> Floats:
    """Sums over the four blocks of each unit, `[R, C]` to `[R/2, C/2]`."""
    rows = blocks[0::UNIT] + blocks[1::UNIT]
    return rows[:, 0::UNIT] + rows[:, 1::UNIT]


def difference_bits(difference: Floats) -> Floats:
    """Bits of a vector that differs by `difference [..., 2]` quarters of a pixel from what the coder expects."""
    e = np.abs(difference).sum(-1)
    bits: Floats = 1.5 + 2 * np.log2(1 + e) + 2 * (e > 0)
    return bits


def vector_bits(vectors: Floats, *known: Floats) -> Floats:
    """Bits of `vectors [..., 2]`, each coded as a difference from the nearest of its `known` ones."""
    return difference_bits(nearest_difference(vectors, *known))


def nearest_difference(vectors: Floats, *known: Floats) -> Floats:
    """`vectors - z` for whichever `z` of `known` is nearest, `[..., 2]`."""
    best = vectors - known[0]
    size = np.abs(best).sum(-1)
    for other in known[1:]:
        difference = vectors - other
        other_size = np.abs(difference).sum(-1)
        nearer = other_size < size
        best = np.where(nearer[..., None], difference, best)
        size = np.where(nearer, other_size, size)
    return best


def merged_bits(field: Floats, predicted: Floats, units: Floats) -> Floats:
    """Bits of `units [R/2, C/2, 2]`, one vector for each unit, where the units around them have the vectors `field`."""
    left, above, right, below = neighbours(field)
    corner = (slice(0, None, UNIT), slice(0, None, UNIT))
    far = (slice(1, None, UNIT), slice(1, None, UNIT))
    return vector_bits(units, predicted[corner], left[corner], above[corner], right[far], below[far])


def split_bits(field: Floats, predicted: Floats, blocks: Floats) -> Floats:
    """Bits of `blocks [R, C, 2]`, a vector for each block, where the blocks around have the vectors `field`."""
    return vector_bits(blocks, predicted, *neighbours(field)[:2])


def flag_bits(flags: Floats) -> tuple[Floats, Floats]:
    """Bits of a flag that is 0 and of one that is 1, given its four neighbours in `flags` (0 or 1, `[h, w]`)."""
    ones = np.sum(neighbours(flags), 0)
    return -np.log2((4.4 - ones) / 4.8), -np.log2((ones + 0.4) / 4.8)


def field_bits(field: Floats, predicted: Floats, forms: Forms) -> float:
    """Bits of a whole field whose units have `forms [R/2, C/2]`."""
    if not (forms != Form.PREDICTED).any():
        return 0.1
    is_coded = (forms != Form.PREDICTED).astype(np.float32)
    bits_if_predicted, bits_if_coded = flag_bits(is_coded)
    left, above = neighbours(field)[:2]
    of_blocks = vector_bits(field, predicted, left, above)
    of_units = MERGED_BITS + of_blocks[::UNIT, ::UNIT]
    of_split_units = SPLIT_BITS + sum_units(of_blocks)
    of_forms = [bits_if_predicted, bits_if_coded + of_units, bits_if_coded + of_split_units]
    return 3 + float(np.choose(forms, of_forms).sum())
