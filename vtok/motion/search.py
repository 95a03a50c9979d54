"""The encoder's search for motion: vectors that bring more than they cost.

Dense optical flow (DIS, https://arxiv.org/abs/1603.03590) proposes vectors; each block, or each unit of 2 x 2 blocks,
takes that proposal for which error + `lagrangian` x bits is least. The error is the sum of absolute differences (SAD)
of 8-bit luma from the warped anchor, so `lagrangian` is in levels of luma per bit; about half of a quantizer's step.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from vtok.motion.choice import Choice
from vtok.motion.opencv import one_thread
from vtok.motion.rates import UNIT, Floats, Form, expand, field_bits, neighbours, sum_units
from vtok.video.motion import (
    BLOCK,
    MAX_VECTOR,
    NUM_FIELDS,
    STEPS,
    UNITS,
    Vectors,
    motion_size,
    predicted_field,
)

Luma = NDArray[np.uint8]
# Luma in sixteenths of a level: roundings of smoothed noise to whole levels would favour fractional vectors.
FineLuma = NDArray[np.uint16]
LEVEL = 16

SPACING = 2  # pixels between those whose errors are looked at
SIDE = BLOCK // SPACING
MIN_SIDE = 16  # pixels; in less than a block there is little to find
# What the optical flow needs to have a patch at its coarsest scale.
MIN_FLOW_SIDE = 32
MAX_FLOW_RATIO = 16
NUM_ROUNDS = 2  # of trying what the neighbours have chosen


class MotionSearch:
    """Search in frames of one size. It keeps buffers: use one for each thread.

    Args:
        height: Rows of luma.
        width: Columns of luma.
    """

    def __init__(self, height: int, width: int) -> None:
        self._size = height, width
        self._blocks = motion_size(height, width)
        rows, columns = (-(-n // UNIT) * UNIT for n in self._blocks)
        self._padded_blocks = rows, columns
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._positions = np.mgrid[:height:SPACING, :width:SPACING][::-1].astype(np.float32)
        self._maps = np.empty_like(self._positions)
        self._sampled = self._positions.shape[1], self._positions.shape[2]
        # What is outside of the frame stays zero: it has no error.
        self._difference = np.zeros((rows * SIDE, columns * SIDE), np.uint16)
        self._difference[: self._sampled[0], : self._sampled[1]] = LEVEL
        self._pixels = self._block_sums(self._difference)  # of each block, those in the frame
        # Every fourth pixel of the flow: it is no finer than that.
        self._samples = np.ix_(
            np.arange(1, rows * BLOCK, 4).clip(max=height - 1), np.arange(1, columns * BLOCK, 4).clip(max=width - 1)
        )
        shortest = max(MIN_FLOW_SIDE, max(height, width) // MAX_FLOW_RATIO)
        self._flow_padding = max(0, shortest - height), max(0, shortest - width)

    def alignment(self, luma: Luma, lagrangian: float) -> Vectors:
        """The fields that align the eight frames of a chunk.

        Args:
            luma: uint8 `[8, height, width]`.
            lagrangian: SAD that a bit must save, in levels of 8-bit luma.

        Returns:
            Vectors `[7, 2, rows, columns]` in the order of `STEPS`. Fields without useful motion are exactly zero.
        """
        fields = np.zeros((len(STEPS), 2, *self._blocks), np.int16)
        if min(self._size) < MIN_SIDE:
            return fields
        with one_thread():
            smooth = [_smooth(frame) for frame in luma]
            velocity = self._dense_flow(luma[3], luma[2])
            for k, (anchor, moved) in enumerate(STEPS):
                if np.array_equal(luma[moved], luma[anchor]) and not fields.any():
                    continue
                if (anchor, moved) == (2, 3):
                    flow = velocity
                else:  # the longest way is found from the velocity; the others are short
                    flow = self._dense_flow(luma[moved], luma[anchor], 3 * velocity if k == 0 else None)
                target = smooth[moved][::SPACING, ::SPACING]
                fields[k] = self._field(self._proposals(flow), target, smooth[anchor], fields, k, lagrangian)
        return fields

    def displacement(self, frame: Luma, before: Luma, fields: Vectors, lagrangian: float) -> Vectors:
        """The field that leads from a chunk to the one before, found in pixels.

        Args:
            frame: Frame 2 of the chunk, uint8 `[height, width]`.
            before: Frame 2 of the chunk before, like `frame`.
            fields: The chunk's own fields `[7, 2, rows, columns]`, by which this one is predicted.
            lagrangian: As for `alignment`.

        Returns:
            Vectors `[2, rows, columns]`.
        """
        if min(self._size) < MIN_SIDE:
            return np.zeros((2, *self._blocks), np.int16)
        with one_thread():
            target, anchor = _smooth(frame)[::SPACING, ::SPACING], _smooth(before)
            expected = self._padded(predicted_field(fields, NUM_FIELDS - 1))
            flow = self._dense_flow(frame, before, self._dense(expected))
            return self._field(self._proposals(flow), target, anchor, fields, NUM_FIELDS - 1, lagrangian)

    def _padded(self, field: Vectors) -> Floats:
        """`[2, rows, columns]` as the search has it: `[R, C, 2]`, whole units, float32."""
        rows, columns = self._padded_blocks
        pad = ((0, rows - field.shape[1]), (0, columns - field.shape[2]), (0, 0))
        return np.pad(field.transpose(1, 2, 0).astype(np.float32), pad, mode="edge")

    def _dense_flow(self, moved: Luma, anchor: Luma, initial: Floats | None = None) -> Floats:
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

    def _proposals(self, flow: Floats) -> tuple[Floats, Floats]:
        """Medians of `flow [height, width, 2]` in each block, `[R, C, 2]`, and in each unit, `[R/2, C/2, 2]`."""
        rows, columns = self._padded_blocks
        vectors = np.clip(np.rint(flow[self._samples] * UNITS), -MAX_VECTOR, MAX_VECTOR)
        return _medians(vectors, rows, columns), _medians(vectors, rows // UNIT, columns // UNIT)

    def _dense(self, field: Floats) -> Floats:
        """`field [R, C, 2]`, in pixels, interpolated at every pixel: `[height, width, 2]`."""
        height, width = self._size
        rows, columns = self._padded_blocks
        dense = cv2.resize(field * (1 / UNITS), (columns * BLOCK, rows * BLOCK), interpolation=cv2.INTER_LINEAR)
        return np.asarray(dense[:height, :width], np.float32)

    def _error(self, moved: FineLuma, anchor: FineLuma, field: Floats) -> Floats:
        """SAD of each block `[R, C]` of `moved` from `anchor` displaced by `field [R, C, 2]`."""
        height, width = self._sampled
        x, y = (self._positions_displaced(axis, field[..., axis]) for axis in (0, 1))
        warped = cv2.remap(anchor, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        self._difference[:height, :width] = cv2.absdiff(moved, warped)
        return self._block_sums(self._difference)

    def _positions_displaced(self, axis: int, field: Floats) -> Floats:
        """Coordinates `[height, width]` of pixels displaced by one component of a field, `[R, C]`."""
        height, width = self._sampled
        rows, columns = self._padded_blocks
        dense = cv2.resize(field * (1 / UNITS), (columns * SIDE, rows * SIDE), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.add(dense[:height, :width], self._positions[axis], dst=self._maps[axis]), np.float32)

    def _block_sums(self, x: FineLuma) -> Floats:
        """Sums over blocks of `x`, of whole units, in levels, `[R, C]`."""
        rows, columns = self._padded_blocks
        lines = cv2.reduce(x.reshape(-1, SIDE), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
        sums: Floats = lines.reshape(rows, SIDE, columns).sum(1, dtype=np.float32)
        return sums * np.float32(SPACING**2 / LEVEL)

    def _field(
        self,
        proposals: tuple[Floats, Floats],
        moved: FineLuma,
        anchor: FineLuma,
        fields: Vectors,
        k: int,
        lagrangian: float,
    ) -> Vectors:
        """Field `k` of a chunk, given those before it: `[2, rows, columns]`."""
        predicted = self._padded(predicted_field(fields, k))
        own, own_merged = proposals
        zero = np.zeros_like(predicted)

        def error(field: Floats) -> Floats:
            return self._error(moved, anchor, field)

        choice = Choice(predicted, error(predicted), lagrangian)
        if predicted.any():
            at_zero = error(zero)
            choice.offer_split(zero, at_zero)
            choice.offer_merged(zero[::UNIT, ::UNIT], sum_units(at_zero))
        choice.offer_merged(own_merged, sum_units(error(expand(own_merged))))
        choice.offer_split(own, error(own))
        choice.heed_noise(self._pixels)
        choice.decide()
        for _ in range(NUM_ROUNDS):
            if not choice.forms.any():
                break
            for field in neighbours(choice.field):
                choice.offer_split(field, error(field))
            for units in neighbours(choice.field[::UNIT, ::UNIT]):
                choice.offer_merged(units, sum_units(error(expand(units))))
            choice.decide()
        # Blocks were compared as if their neighbours moved like them: see whether the whole is worth its bits.
        best, least = predicted, float(choice.predicted_error.sum()) + lagrangian * 0.1
        coded = np.ones_like(choice.forms)
        for field, forms in ((zero, coded), (choice.field, choice.forms)):
            margin = float(choice.margin[forms != Form.PREDICTED].sum())
            cost = float(error(field).sum()) + margin + choice.lagrangian * field_bits(field, predicted, forms)
            if cost < least:
                best, least = field, cost
        rows, columns = self._blocks
        return best[:rows, :columns].transpose(2, 0, 1).astype(np.int16)


def _smooth(frame: Luma) -> FineLuma:
    """A little blur, so that noise does not decide, nor how much a fractional position blurs."""
    levels = frame.astype(np.uint16) * LEVEL
    return np.asarray(cv2.GaussianBlur(levels, (5, 5), 0, borderType=cv2.BORDER_REPLICATE), np.uint16)


def _medians(flow: Floats, rows: int, columns: int) -> Floats:
    """Medians of `flow [h, w, 2]` over a grid of rectangles, `[rows, columns, 2]`."""
    h, w = len(flow) // rows, flow.shape[1] // columns
    values = flow.reshape(rows, h, columns, w, 2).transpose(0, 2, 4, 1, 3).reshape(rows, columns, 2, h * w)
    middle = (h * w - 1) // 2
    return np.partition(values, middle, axis=-1)[..., middle]
