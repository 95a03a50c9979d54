"""Finds scene cuts: frames that are not the frame before, moved a little.

Each block of a small luma picture is looked for in the small picture before, at the same place and one sample around
it. What is left of it, less its mean, over all blocks and relative to what the pictures hold, is the frame's *change*.
It is about 0 where nothing moves and 1 between pictures that have nothing in common. A frame whose change is far above
that of all its neighbours comes after a cut. So pans, shaking and noise, which go on, are no cuts; nor are flashes,
which change the mean or end soon; nor fades and dissolves, which are slow.

All of this is in integers: the same frames have the same cuts on every machine.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from vtok.video.frame import Frame, Plane

NEAR = 3  # neighbours on either side; cuts that are not further apart are not found, as little would be gained
_THRESHOLD = 360  # thousandths of change above the neighbours
_SHORT, _LONG = (
    36,
    128,
)  # samples of a small picture in its shorter direction, and at most in the other; up to twice that
_BLOCK = 8  # samples; smaller pictures than a block have no cuts
_REACH = 1
_NOISE = 2  # levels for each sample that count as content, so that flat pictures with noise do not change much

Small = NDArray[np.int16]


def scene_starts(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Yield each frame, and whether it comes after a cut; reads `NEAR` frames ahead."""
    waiting: deque[Frame] = deque()
    changes = deque([0] * NEAR, maxlen=2 * NEAR + 1)
    before: Small | None = None
    for frame in chain(frames, repeat(None, NEAR)):
        if frame is None:
            changes.append(0)
        else:
            small = _small(frame.y)
            changes.append(0 if before is None else change(before, small))
            waiting.append(frame)
            before = small
        if len(changes) == changes.maxlen:
            neighbours = (x for i, x in enumerate(changes) if i != NEAR)
            yield waiting.popleft(), changes[NEAR] - max(neighbours) >= _THRESHOLD


def change(before: Small, small: Small) -> int:
    """The change from one small picture to the next, in thousandths; 0 of pictures without a whole block."""
    if not small.size:
        return 0
    places = np.lib.stride_tricks.sliding_window_view(np.pad(before, _REACH, mode="edge"), small.shape)
    left = _variation(small - places.reshape(-1, *small.shape)).min(0).sum()
    held = max(_variation(small).sum(), _variation(before).sum()) + _NOISE * _BLOCK**2 * small.size
    return 1000 * int(left) // int(held)


def _variation(x: Small) -> NDArray[np.int64]:
    """Absolute differences from the mean, times 64, summed over the blocks of `x [..., h, w]`: `[..., h/8, w/8]`."""
    *rest, rows, columns = x.shape
    blocks = x.reshape(*rest, rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
    sums = blocks.sum((-3, -1), dtype=np.int16, keepdims=True)
    away = np.abs(_BLOCK**2 * blocks - sums)  # at most 64 * 510 = 32640: 16 bits are enough
    total: NDArray[np.int64] = away.sum((-3, -1), dtype=np.int64)
    return total


def _small(luma: Plane) -> Small:
    """Means of squares, which are rectangles in very long pictures; as many as make whole blocks."""
    height, width = (max(1, min(luma.shape) // _SHORT, n // _LONG) for n in luma.shape)
    rows, columns = luma.shape[0] // height // _BLOCK * _BLOCK, luma.shape[1] // width // _BLOCK * _BLOCK
    lines = luma[: rows * height].reshape(rows, height, luma.shape[1]).sum(1, dtype=np.uint32)
    sums = lines[:, : columns * width].reshape(rows, columns, width).sum(2)
    means: Small = (sums // (height * width)).astype(np.int16)
    return means
