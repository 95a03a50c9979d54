"""The encoder's search for where a chunk comes from: vectors to the chunk before that make its codes cheap.

There is no distortion here, only bits. The cost of a code is about `BITS_OF_ANY + BITS_OF_SIZE log2(1 + d)` where it is
`d > 0` from what its context lets expect, and nothing where it is as expected.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vtok.motion.choice import Choice
from vtok.motion.flow import BlockFlow
from vtok.motion.opencv import one_thread
from vtok.motion.rates import UNIT, Floats, Luma, expand, field_bits, sum_units
from vtok.video.motion import BLOCK, NUM_FIELDS, Vectors, motion_size, predicted_field

Codes = NDArray[np.int16]
Expected = Callable[[Vectors], Codes]

PATCH = 8  # pixels of luma on a side of a latent position
SIDE = BLOCK // PATCH
MIN_SIDE = 16  # pixels; in less than a block there is little to find
BITS_OF_ANY, BITS_OF_SIZE = 1.0, 2.0
MAX_DIFFERENCE = 255  # larger ones cost no more
COSTS = (BITS_OF_ANY + BITS_OF_SIZE * np.log2(1 + np.arange(MAX_DIFFERENCE + 1))).astype(np.float32)
COSTS[0] = 0
LAGRANGIAN = 2.5  # bits of codes that a bit of vectors must save
BIAS = 1.15  # displaced codes are taken to cost this much more


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
            fields: The chunk's own fields `[7, 2, rows, columns]`.

        Returns:
            Vectors `[2, rows, columns]`. They are zero where the chunk before is a better context in place.
        """
        rows, columns = self._blocks
        if min(self._size) < MIN_SIDE:
            return np.zeros((2, rows, columns), np.int16)
        codes = np.rint(latents).astype(np.int16)
        in_place = np.minimum(self._costs(codes - previous), self._costs(codes))

        def error(field: Floats) -> Floats:
            vectors = field[:rows, :columns].transpose(2, 0, 1).astype(np.int16)
            costs = self._costs(codes - expected(vectors)) * np.float32(BIAS)
            return np.where(field.any(-1), costs, in_place)

        with one_thread():
            guess = self._flow.padded(predicted_field(fields, NUM_FIELDS - 1))
            choice = Choice(guess, error(guess), LAGRANGIAN)
            zero = np.zeros_like(guess)
            if guess.any():
                choice.offer_split(zero, in_place)
                choice.offer_merged(zero[::UNIT, ::UNIT], sum_units(in_place))
            for initial in (self._flow.dense(guess), None):
                own, own_merged = self._flow.proposals(self._flow.flow(frame2, reference, initial))
                choice.offer_merged(own_merged, sum_units(error(expand(own_merged))))
                choice.offer_split(own, error(own))
            choice.decide()
            choice.refine(error)
        cost = float(error(choice.field).sum()) + LAGRANGIAN * field_bits(choice.field, guess, choice.forms)
        best = choice.field if cost < float(in_place.sum()) else zero
        return best[:rows, :columns].transpose(2, 0, 1).astype(np.int16)

    def _costs(self, differences: Codes) -> Floats:
        """Bits of each block `[R, C]` whose codes differ by `differences [K, H, W]` from those expected."""
        rows, columns = self._flow.padded_blocks
        costs = COSTS[np.minimum(np.abs(differences), MAX_DIFFERENCE)].sum(0)
        padded = np.zeros((rows * SIDE, columns * SIDE), np.float32)
        padded[: costs.shape[0], : costs.shape[1]] = costs
        blocks: Floats = padded.reshape(rows, SIDE, columns, SIDE).sum((1, 3))
        return blocks
