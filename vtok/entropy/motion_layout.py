"""Where the blocks of a field lie: units of 2x2 blocks, their three passes, and who is whose neighbour.

A unit is 32x32 pixels, four blocks in the order upper left, upper right, lower left, lower right. Units are numbered
row by row. Places that a unit has beyond the frame repeat the last row or column inside. Units are coded in three
passes, each row by row: where row and column are even, where both are odd, then the others. So the second pass knows
the four diagonal neighbours, and the third, half of all units, knows all eight.
"""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vtok.video.motion import Vectors

BLOCKS = 4  # blocks of a unit
NUM_PASSES = 3
# Up, left, right, down, then the four diagonals: row and column relative to a place.
NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
NUM_ADJACENT = 4

Indices: TypeAlias = NDArray[np.intp]
Integers: TypeAlias = NDArray[np.int32]


class MotionLayout:
    """Units and blocks of fields of `rows` x `columns` blocks.

    Attributes:
        num_units: Number of units, `n`. Places beyond the frame have the number `n`.
        passes: Numbers of the units of each pass, ascending.
        neighbours: Numbers of the eight neighbours of each unit, `[8, n]`.
        block_neighbours: The eight neighbours of each block of each unit, as `block * (n + 1) + unit`, `[8, 4, n]`.
        is_inside: Whether a block of a unit is in the frame, `[4, n]`.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        unit_rows, unit_columns = -(-rows // 2), -(-columns // 2)
        n = self.num_units = unit_rows * unit_columns
        unit_row, unit_column = np.divmod(np.arange(n), unit_columns)
        in_pass = np.where((unit_row + unit_column) % 2 == 1, 2, unit_row % 2)
        self.passes = [np.flatnonzero(in_pass == number) for number in range(NUM_PASSES)]
        self.neighbours = _shifted(np.arange(n).reshape(unit_rows, unit_columns), n).reshape(len(NEIGHBOURS), n)
        row = 2 * unit_row + np.arange(BLOCKS)[:, None] // 2
        column = 2 * unit_column + np.arange(BLOCKS)[:, None] % 2
        self.is_inside = (row < rows) & (column < columns)
        self._blocks = np.minimum(row, rows - 1) * columns + np.minimum(column, columns - 1)
        row, column = np.mgrid[:rows, :columns]
        block, unit = row % 2 * 2 + column % 2, row // 2 * unit_columns + column // 2
        self._places = (block * n + unit).ravel()
        around = _shifted(block * (n + 1) + unit, n).reshape(len(NEIGHBOURS), -1)
        self.block_neighbours = around[:, self._blocks]

    def to_units(self, blocks: NDArray[np.generic]) -> NDArray[np.generic]:
        """Values of blocks `[k, rows, columns]` by units, `[k, 4, n]`."""
        return blocks.reshape(len(blocks), -1)[:, self._blocks]

    def to_field(self, units: Integers) -> Vectors:
        """The inverse of `to_units` for vectors, `[2, 4, n]`."""
        field: Vectors = units.reshape(2, -1)[:, self._places].reshape(2, self.rows, self.columns).astype(np.int16)
        return field


@lru_cache(maxsize=8)
def motion_layout(rows: int, columns: int) -> MotionLayout:
    """The layout of fields of this size; do not change its arrays."""
    return MotionLayout(rows, columns)


def _shifted(numbers: Indices, beyond: int) -> Indices:
    """The eight neighbours of each place, `[8, rows, columns]`; `beyond` for those beyond the edge."""
    rows, columns = numbers.shape
    padded = np.pad(numbers, 1, constant_values=beyond)
    return np.stack([padded[1 + y : 1 + y + rows, 1 + x : 1 + x + columns] for y, x in NEIGHBOURS])
