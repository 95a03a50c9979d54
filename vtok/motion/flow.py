"""Dense optical flow between two frames, and the vectors that it proposes for blocks and units.

The flow is DIS (https://arxiv.org/abs/1603.03590).
"""

import cv2
import numpy as np

from vtok.motion.rates import UNIT, Floats, Luma
from vtok.video.motion import BLOCK, MAX_VECTOR, UNITS, Vectors, motion_size

MIN_SIDE = 16  # pixels; in less than a block there is little to find
# What the optical flow needs to have a patch at its coarsest scale.
MIN_FLOW_SIDE = 32
MAX_FLOW_RATIO = 16


class BlockFlow:
    """Optical flow in frames of one size, and its vectors for blocks. It keeps buffers: use one for each thread.

    Args:
        height: Rows of luma.
        width: Columns of luma.

    Attributes:
        padded_blocks: Rows and columns of blocks, `R` and `C`, in whole units.
    """

    def __init__(self, height: int, width: int) -> None:
        self._size = height, width
        rows, columns = (-(-n // UNIT) * UNIT for n in motion_size(height, width))
        self.padded_blocks = rows, columns
        # Slower presets find finer flow, whose vectors cost more than they bring (`docs/training.md`).
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        # Every fourth pixel of the flow: it is no finer than that.
        self._samples = np.ix_(
            np.arange(1, rows * BLOCK, 4).clip(max=height - 1), np.arange(1, columns * BLOCK, 4).clip(max=width - 1)
        )
        shortest = max(MIN_FLOW_SIDE, max(height, width) // MAX_FLOW_RATIO)
        self._flow_padding = max(0, shortest - height), max(0, shortest - width)

    def padded(self, field: Vectors) -> Floats:
        """`[2, rows, columns]` as the search has it: `[R, C, 2]`, whole units, float32."""
        rows, columns = self.padded_blocks
        pad = ((0, rows - field.shape[1]), (0, columns - field.shape[2]), (0, 0))
        return np.pad(field.transpose(1, 2, 0).astype(np.float32), pad, mode="edge")

    def flow(self, moved: Luma, anchor: Luma, initial: Floats | None = None) -> Floats:
        """Optical flow `[height, width, 2]` in pixels: `p` of `moved` is like `p + flow` of `anchor`.

        Args:
            moved: uint8 `[height, width]`.
            anchor: The same.
            initial: The flow to start from, else zero.
        """
        height, width = self._size
        pad = (0, self._flow_padding[0]), (0, self._flow_padding[1])
        if initial is None:
            initial = np.zeros((height, width, 2), np.float32)
        if any(self._flow_padding):
            moved, anchor = np.pad(moved, pad, mode="edge"), np.pad(anchor, pad, mode="edge")
            initial = np.pad(initial, (*pad, (0, 0)), mode="edge")
        flow = np.asarray(self._flow.calc(moved, anchor, np.ascontiguousarray(initial)), np.float32)
        return flow[:height, :width]

    def proposals(self, flow: Floats) -> tuple[Floats, Floats]:
        """Medians of `flow [height, width, 2]` in each block, `[R, C, 2]`, and in each unit, `[R/2, C/2, 2]`."""
        rows, columns = self.padded_blocks
        vectors = np.clip(np.rint(flow[self._samples] * UNITS), -MAX_VECTOR, MAX_VECTOR)
        return _medians(vectors, rows, columns), _medians(vectors, rows // UNIT, columns // UNIT)

    def dense(self, field: Floats) -> Floats:
        """`field [R, C, 2]`, in pixels, interpolated at every pixel: `[height, width, 2]`."""
        height, width = self._size
        rows, columns = self.padded_blocks
        dense = cv2.resize(field * (1 / UNITS), (columns * BLOCK, rows * BLOCK), interpolation=cv2.INTER_LINEAR)
        return np.asarray(dense[:height, :width], np.float32)


def _medians(flow: Floats, rows: int, columns: int) -> Floats:
    """Medians of `flow [h, w, 2]` over a grid of rectangles, `[rows, columns, 2]`."""
    h, w = len(flow) // rows, flow.shape[1] // columns
    values = flow.reshape(rows, h, columns, w, 2).transpose(0, 2, 4, 1, 3).reshape(rows, columns, 2, h * w)
    middle = (h * w - 1) // 2
    return np.partition(values, middle, axis=-1)[..., middle]
