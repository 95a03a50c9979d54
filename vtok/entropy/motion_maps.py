"""What the exact prior sees of a chunk's motion: the maps of `vtok.networks.prior.motion_maps` as small integers."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtok.entropy.checkerboard import Checkerboard
from vtok.video.motion import ChunkMotion, Mask

MAP_STEPS = 8  # of a map whose value is 1


class MotionMaps:
    """Makes the maps of the chunks of one group, in order; the last chunk's mask is its state.

    Args:
        positions: The order of the latent positions.
    """

    def __init__(self, positions: Checkerboard) -> None:
        self._positions = positions
        self._was_predicted: Mask | None = None

    def of(self, motion: ChunkMotion) -> Tensor:
        """The maps of the next chunk, int8 `[P, 4]`, from 0 to 8."""
        is_predicted = motion.is_predicted
        was_predicted = np.zeros_like(is_predicted) if self._was_predicted is None else self._was_predicted
        self._was_predicted = is_predicted
        height, width = self._positions.size
        maps = motion_maps(motion, was_predicted).repeat(2, 0).repeat(2, 1)[:height, :width]
        return torch.from_numpy(maps.reshape(height * width, -1))[self._positions.order]


def motion_maps(motion: ChunkMotion, was_predicted: Mask) -> NDArray[np.int8]:
    """Four maps over the blocks of motion, int8 `[rows, columns, 4]`, in eighths.

    Whether a block is predicted; whether it was in the chunk before; the size of the prediction's vector; and the sum
    of the sizes of the alignment's vectors. A size is the number of binary digits of |horizontal| + |vertical|, in
    quarters of a pixel, at most 8; of the alignment's sum, the two lowest digits do not count.

    Args:
        motion: The motion of the chunk.
        was_predicted: Whether each block was predicted in the chunk before, in the same group; else all false.
    """
    sizes = np.abs(motion.fields.astype(np.int32)).sum(1)
    digits = [_num_digits(x) for x in (sizes[-1], sizes[:-1].sum(0) // 4)]
    flags = [MAP_STEPS * x.astype(np.int8) for x in (motion.is_predicted, was_predicted)]
    return np.stack([*flags, *digits], axis=-1)


def _num_digits(sizes: NDArray[np.int32]) -> NDArray[np.int8]:
    """Number of binary digits of `sizes`, at most 8."""
    return np.searchsorted(1 << np.arange(MAP_STEPS), sizes, side="right").astype(np.int8)
