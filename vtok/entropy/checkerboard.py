"""The order of positions in the two passes of a latent frame, and their neighbours.

The first pass has the positions where row + column is even, row by row; the second pass has the others. Rows of a
matrix `[P, channels]` are positions in the order of passes. In a map, all positions are row by row.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = [1, 3, 5, 7]  # up, left, right, down among the nine places of a 3x3 window, row by row
POSITIONS_AT_ONCE = 2048


class Checkerboard:
    """Positions of a latent frame of H x W, numbered in the order of passes.

    Attributes:
        size: H and W.
        sizes: Number of positions in the first pass (P1) and in the second (P2).
        order: int64 `[P]`: the place of each position in a map.
        numbers: int64 `[P]`: the number of each place of a map.
        windows: int64 `[P, 9]`: numbers of the 3x3 window of each position, P beyond the edge.
        neighbours: int64 `[P2, 4]`: numbers of the four neighbours of each position of the second pass, all of them in
            the first; P1 beyond the edge.
    """

    def __init__(self, height: int, width: int) -> None:
        self.size = (height, width)
        row, column = np.divmod(np.arange(height * width), width)
        is_second = (row + column) % 2 == 1
        order = np.argsort(is_second, kind="stable")
        self.sizes = [int(np.count_nonzero(~is_second)), int(np.count_nonzero(is_second))]
        map_order = np.argsort(order)
        number = np.full((height + 2, width + 2), height * width)
        number[1:-1, 1:-1] = map_order.reshape(height, width)
        windows = np.stack([number[i : i + height, j : j + width].ravel() for i in range(3) for j in range(3)], axis=1)
        self.order, self.numbers = torch.from_numpy(order), torch.from_numpy(map_order)
        self.windows = torch.from_numpy(windows[order])
        self.neighbours = self.windows[self.sizes[0] :, NEIGHBOURS].clamp_max(self.sizes[0])

    def to_map(self, rows: Tensor) -> Tensor:
        """Rows as a map, both `[P, channels]`."""
        return rows.index_select(0, self.numbers)

    def from_map(self, values: Tensor) -> Tensor:
        """The inverse of `to_map`."""
        return values.index_select(0, self.order)


def parts(start: int, end: int) -> Iterator[slice]:
    """Yield slices of positions, small enough that intermediate results stay in the processor's cache."""
    for first in range(start, end, POSITIONS_AT_ONCE):
        yield slice(first, min(first + POSITIONS_AT_ONCE, end))


def with_zeros(rows: Tensor) -> Tensor:
    """The rows, then a row of zeros for positions beyond the edge."""
    return torch.cat([rows, rows.new_zeros(1, rows.shape[1])])


def rows_side_by_side(padded: Tensor, numbers: Tensor) -> Tensor:
    """Rows number `numbers [positions, k]` of rows `with_zeros`, side by side: `[positions, k * channels]`."""
    return padded.index_select(0, numbers.flatten()).view(len(numbers), -1)


def sums_of_rows(padded: Tensor, numbers: Tensor) -> Tensor:
    """Sums of the rows number `numbers [positions, k]` of float32 rows `with_zeros`: `[positions, channels]`."""
    return F.embedding_bag(numbers, padded, mode="sum")
