"""What the exact prior sees of a chunk's motion: the maps of `vtok.networks.motion_maps` as small integers."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtok.entropy.checkerboard import Checkerboard
from vtok.video.motion import ChunkMotion

MAP_STEPS = 8  # of a map whose value is 1


def motion_maps(motion: ChunkMotion, positions: Checkerboard) -> Tensor:
    """Three maps, int8 `[P, 3]` in the order of positions, in eighths from 0 to 8.

    Whether a position is displaced against the chunk before; the size of its vector; and the sum of the sizes of the
    alignment's vectors. A size is the number of binary digits of |horizontal| + |vertical|, in quarters of a pixel, at
    most 8; of the alignment's sum, the two lowest digits do not count.
    """
    sizes = np.abs(motion.fields.astype(np.int32)).sum(1)
    displacement, alignment = sizes[-1], sizes[:-1].sum(0) // 4
    maps = np.stack([MAP_STEPS * (displacement > 0), _num_digits(displacement), _num_digits(alignment)], axis=-1)
    height, width = positions.size
    of_positions = maps.astype(np.int8).repeat(2, 0).repeat(2, 1)[:height, :width]
    return torch.from_numpy(of_positions.reshape(height * width, -1))[positions.order]


def _num_digits(sizes: NDArray[np.int32]) -> NDArray[np.intp]:
    """Number of binary digits of `sizes`, at most 8."""
    return np.searchsorted(1 << np.arange(MAP_STEPS), sizes, side="right")
