"""The encoder's search for where a chunk comes from: vectors to the chunk before that make its codes cheap.

There is no distortion here, only bits. A code that differs by `d > 0` from what its context lets expect costs about
`BITS_OF_ANY + log2(1 + d)`, and one that is as expected costs nothing. Among units of 2 x 2 blocks, each takes the one
vector for which codes + `LAGRANGIAN` x vector are cheapest: four vectors cost more than they bring.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from vtok.motion.choice import Choice
from vtok.motion.flow import MIN_SIDE, BlockFlow
from vtok.motion.opencv import one_thread
from vtok.motion.rates import UNIT, Floats, Luma, expand, field_bits, neighbours, sum_units
from vtok.video.motion import BLOCK, NUM_FIELDS, Vectors, motion_size, predicted_field

Codes = NDArray[np.int16]
Expected = Callable[[Vectors], Codes]

PATCH = 8  # pixels of luma on a side of a latent position
SIDE = UNIT * BLOCK // PATCH  # latent positions on a side of a unit
BITS_OF_ANY = 2.0
MAX_DIFFERENCE = 255  # larger ones cost no more
LAGRANGIAN = 2.0  # bits that a bit of vectors must save in the codes
# The best of many vectors looks better than it is, and the prior makes more of codes in place: displaced codes are
# taken to cost this many times as much, and so many bits more in each unit.
BIAS = 1.03
MARGIN = 6


class DisplacementSearch:
    """Search in frames of one size. It keeps buffers: use one for each thread.

    Args:
        height: Rows of luma, a multiple of 8.
        width: Columns of luma, a multiple of 8.
    """

    def __init__(self, height: int, width: int) -> None:
        self._size = height, width
        self._blocks = motion_size(height, width)
        self._flow = BlockFlow(height, width)
        bits = BITS_OF_ANY + np.log2(1 + np.arange(MAX_DIFFERENCE + 1, dtype=np.float32))
        self._bits = np.concatenate([np.zeros(1, np.float32), bits[1:]])

    def field(
        self,
        frame2: Luma,
        reference: Luma,
        latents: Floats,
        previous: Codes,
        expected: Expected,
        fields: Vectors,
    ) -> Vectors:
        """The field that leads from frame 2 of a chunk to frame 2 of the chunk before.

        Args:
            frame2: uint8 `[height, width]`.
            reference: The mean frame of the chunk before, uint8 `[height, width]`.
            latents: The first K coefficients of the chunk in steps of codes, `[K, H, W]`.
            previous: Codes of the chunk before, int16 `[K, H, W]`.
            expected: Gives, for vectors `[2, rows, columns]`, the codes expected where every block is displaced by
                its vector, int16 `[K, H, W]`.
            fields: The chunk's own fields `[n >= 7, 2, rows, columns]`, by which this one is predicted.

        Returns:
            Vectors `[2, rows, columns]`. They are zero where the codes before are a better context in place.
        """
        nothing = np.zeros((2, *self._blocks), np.int16)
        codes = np.rint(latents).astype(np.int16)
        if min(self._size) < MIN_SIDE or np.array_equal(codes, previous):
            return nothing
        alone = self._unit_bits(codes)

        def bits(context: Codes) -> Floats:
            """Bits of each unit. Where the context of a channel does not help, the prior does without it."""
            return np.asarray(np.minimum(self._unit_bits(codes - context), alone).sum(0), np.float32)

        in_place = bits(previous)

        def error(field: Floats) -> Floats:
            displaced = np.float32(BIAS) * bits(expected(self._vectors(field))) + np.float32(MARGIN)
            return np.where(_is_displaced(field), displaced, in_place)

        guess = self._flow.padded(predicted_field(fields, NUM_FIELDS - 1))
        with one_thread():
            choice = self._choose(frame2, reference, guess, in_place, error)
        if not choice.field.any():
            return nothing
        # Units were compared as if their neighbours chose like them: see whether the whole is worth its bits.
        cost = float(error(choice.field).sum()) + LAGRANGIAN * field_bits(choice.field, guess, choice.forms)
        zero = field_bits(np.zeros_like(guess), guess, _is_displaced(guess).astype(np.uint8))
        return self._vectors(choice.field) if cost < float(in_place.sum()) + LAGRANGIAN * zero else nothing

    def _choose(
        self, frame2: Luma, reference: Luma, guess: Floats, in_place: Floats, error: Callable[[Floats], Floats]
    ) -> Choice:
        """What each unit chooses, by its bits `in_place` and the `error` of a field, both `[R/2, C/2]`."""
        at_guess = error(guess) if guess.any() else in_place
        choice = Choice(guess, expand(at_guess) * np.float32(1 / UNIT**2), LAGRANGIAN)

        def offer(units: Floats) -> None:
            choice.offer_merged(units, error(expand(units)))

        choice.offer_merged(np.zeros_like(guess[::UNIT, ::UNIT]), in_place)
        offer(self._flow.proposals(self._flow.flow(frame2, reference, self._flow.dense(guess)))[1])
        choice.decide()
        if choice.field.any():
            for units in neighbours(choice.field[::UNIT, ::UNIT]):
                offer(units)
            choice.decide()
        return choice

    def _vectors(self, field: Floats) -> Vectors:
        """`field [R, C, 2]` as `[2, rows, columns]`."""
        rows, columns = self._blocks
        return field[:rows, :columns].transpose(2, 0, 1).astype(np.int16)

    def _unit_bits(self, differences: Codes) -> Floats:
        """Bits of each channel of each unit, `[K, R/2, C/2]`, by `differences [K, H, W]` from the context."""
        rows, columns = (n // UNIT for n in self._flow.padded_blocks)
        k, h, w = differences.shape
        padded = np.zeros((k, rows * SIDE, columns * SIDE), np.float32)
        padded[:, :h, :w] = self._bits[np.minimum(np.abs(differences), MAX_DIFFERENCE)]
        means = cv2.resize(padded.reshape(k * rows * SIDE, -1), (columns, k * rows), interpolation=cv2.INTER_AREA)
        return np.asarray(means, np.float32).reshape(k, rows, columns) * np.float32(SIDE**2)


def _is_displaced(field: Floats) -> NDArray[np.bool_]:
    """Whether any block of each unit moves, `[R/2, C/2]`, in `field [R, C, 2]`."""
    is_displaced: NDArray[np.bool_] = sum_units(np.abs(field).sum(-1)) > 0
    return is_displaced
