"""The encoder's search for the motion within a chunk: vectors that bring more than they cost.

Dense optical flow (DIS, https://arxiv.org/abs/1603.03590) proposes vectors; each block, or each unit of 2 x 2 blocks,
takes that proposal for which error + `lagrangian` x bits is least. The error is the sum of absolute differences (SAD)
of 8-bit luma from the warped anchor, so `lagrangian` is in levels of luma per bit; about half of a quantizer's step.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from vtok.motion.choice import Choice
from vtok.motion.flow import MIN_SIDE, BlockFlow
from vtok.motion.opencv import one_thread
from vtok.motion.rates import UNIT, Floats, Form, Luma, expand, field_bits, sum_units
from vtok.video.motion import (
    BLOCK,
    NUM_FIELDS,
    STEPS,
    UNITS,
    Vectors,
    motion_size,
    predicted_field,
)

# Luma in sixteenths of a level: roundings of smoothed noise to whole levels would favour fractional vectors.
FineLuma = NDArray[np.uint16]
LEVEL = 16

SPACING = 2  # pixels between those whose errors are looked at
SIDE = BLOCK // SPACING  # of them on a side of a block


class MotionSearch:
    """Search in frames of one size. It keeps buffers: use one for each thread.

    Args:
        height: Rows of luma.
        width: Columns of luma.
    """

    def __init__(self, height: int, width: int) -> None:
        self._size = height, width
        self._blocks = motion_size(height, width)
        self._flow = BlockFlow(height, width)
        rows, columns = self._padded_blocks = self._flow.padded_blocks
        self._positions = np.mgrid[:height:SPACING, :width:SPACING][::-1].astype(np.float32)
        self._maps = np.empty_like(self._positions)
        self._sampled = self._positions.shape[1], self._positions.shape[2]
        # What is outside of the frame stays zero: it has no error.
        self._difference = np.zeros((rows * SIDE, columns * SIDE), np.uint16)
        self._difference[: self._sampled[0], : self._sampled[1]] = LEVEL
        self._pixels = self._block_sums(self._difference)  # of each block, those in the frame

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
            velocity = self._flow.flow(luma[3], luma[2])
            for k, (anchor, moved) in enumerate(STEPS):
                if np.array_equal(luma[moved], luma[anchor]) and not fields.any():
                    continue
                if (anchor, moved) == (2, 3):
                    flow = velocity
                else:  # the longest way is found from the velocity; the others are short
                    flow = self._flow.flow(luma[moved], luma[anchor], 3 * velocity if k == 0 else None)
                target = smooth[moved][::SPACING, ::SPACING]
                fields[k] = self._field(self._flow.proposals(flow), target, smooth[anchor], fields, k, lagrangian)
        return fields

    def displacement(self, frame: Luma, before: Luma, fields: Vectors, lagrangian: float) -> Vectors:
        """The field that leads from a chunk to the one before by its pixels, for training: codes are not known there.

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
            steady = self._flow.dense(self._flow.padded(predicted_field(fields, NUM_FIELDS - 1)))
            proposals = self._flow.proposals(self._flow.flow(frame, before, steady))
            return self._field(proposals, target, anchor, fields, NUM_FIELDS - 1, lagrangian)

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
        predicted = self._flow.padded(predicted_field(fields, k))
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
        choice.refine(error)
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
