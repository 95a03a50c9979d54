"""What the prior sees of a chunk's motion, besides the codes that it displaces."""

import torch
from torch import Tensor

NUM_MOTION_MAPS, MAX_DIGITS = 3, 8  # see `motion_maps`


def motion_maps(fields: Tensor, h: int, w: int) -> Tensor:
    """What the prior sees of fields `[b, T, 8, 2, rows, columns]`: maps `[b * T, 3, h, w]`, in eighths from 0 to 1.

    Whether a position is displaced against the chunk before; the size of its vector; and the sum of the sizes of the
    alignment's vectors. A size is the number of binary digits of |horizontal| + |vertical|, in quarters of a pixel, at
    most 8; of the alignment's sum, the two lowest digits do not count.
    """
    sizes = fields.abs().int().sum(3).flatten(0, 1)
    displacement, alignment = sizes[:, -1], sizes[:, :-1].sum(1) // 4
    maps = [(displacement > 0).float(), *(_num_digits(x) / MAX_DIGITS for x in (displacement, alignment))]
    return torch.stack(maps, dim=1).repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :h, :w]


def _num_digits(sizes: Tensor) -> Tensor:
    """Number of binary digits of `sizes`, at most `MAX_DIGITS`, as floats."""
    return torch.stack([sizes >= 1 << k for k in range(MAX_DIGITS)]).sum(0).float()
