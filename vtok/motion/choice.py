"""The choice among fields of vectors, by error and bits, of each block and each unit of 2 x 2 blocks."""

from collections.abc import Callable

import numpy as np

from vtok.motion.rates import (
    MERGED_BITS,
    SPLIT_BITS,
    UNIT,
    Floats,
    Form,
    expand,
    flag_bits,
    merged_bits,
    neighbours,
    split_bits,
    sum_units,
)

# Camera noise has no motion, but vectors fit it by chance: a unit that is not as predicted must be better by this much
# share of the noise, and a bit must save this many times the noise of a pixel.
NOISE_MARGIN = 0.25
NOISE_FACTOR = 3.0
NOISE_QUANTILE = 0.1  # the error of the quietest blocks is noise

NUM_ROUNDS = 2  # of trying what the neighbours have chosen


class Choice:
    """What units and blocks choose among the fields offered to them.

    Attributes:
        field: The choice, `[R, C, 2]`.
        forms: The choice's form of each unit, uint8 `[R/2, C/2]`.
        predicted_error: Error of each unit as predicted, `[R/2, C/2]`.
        margin: What a unit that is not as predicted must be better by, apart from its bits, `[R/2, C/2]`.
        lagrangian: Error that a bit must save.
    """

    def __init__(self, predicted: Floats, error: Floats, lagrangian: float) -> None:
        self.field = predicted
        self.forms = np.zeros((len(predicted) // UNIT, predicted.shape[1] // UNIT), np.uint8)
        self.predicted_error = sum_units(error)
        self.margin = np.zeros_like(self.predicted_error)
        self.lagrangian = lagrangian
        self._predicted = predicted
        self._split, self._split_error = predicted, error
        self._merged, self._merged_error = predicted[::UNIT, ::UNIT], np.full_like(self.predicted_error, np.inf)

    def offer_split(self, field: Floats, error: Floats) -> None:
        """Let each block take its vector of `field [R, C, 2]`, whose `error [R, C]` is known."""
        around = field if not self.forms.any() else self.field
        cost = error + self.lagrangian * split_bits(around, self._predicted, field)
        old = self._split_error + self.lagrangian * split_bits(around, self._predicted, self._split)
        is_better = cost < old
        self._split = np.where(is_better[..., None], field, self._split)
        self._split_error = np.where(is_better, error, self._split_error)

    def offer_merged(self, units: Floats, error: Floats) -> None:
        """Let each unit take its vector of `units [R/2, C/2, 2]`, whose `error [R/2, C/2]` is known."""
        around = expand(units) if not self.forms.any() else self.field
        cost = error + self.lagrangian * merged_bits(around, self._predicted, units)
        old = self._merged_error + self.lagrangian * merged_bits(around, self._predicted, self._merged)
        is_better = cost < old
        self._merged = np.where(is_better[..., None], units, self._merged)
        self._merged_error = np.where(is_better, error, self._merged_error)

    def heed_noise(self, pixels: Floats) -> None:
        """Set margin and lagrangian by the noise that the quietest units show; `pixels [R, C]` are in the frame."""
        error = np.minimum(sum_units(self._split_error), np.minimum(self._merged_error, self.predicted_error))
        noise = float(np.quantile(error / sum_units(pixels), NOISE_QUANTILE))
        self.lagrangian = max(self.lagrangian, NOISE_FACTOR * noise)
        self.margin = NOISE_MARGIN * noise * sum_units(pixels)

    def decide(self) -> None:
        """Give each unit the form that costs least."""
        first = not self.forms.any()
        predicted_flag, coded_flag = flag_bits((self.forms != Form.PREDICTED).astype(np.float32))
        if first:
            predicted_flag, coded_flag = np.full_like(predicted_flag, 0.5), np.full_like(coded_flag, 1.5)
        around_merged = expand(self._merged) if first else self.field
        around_split = self._split if first else self.field
        merged = MERGED_BITS + coded_flag + merged_bits(around_merged, self._predicted, self._merged)
        split = SPLIT_BITS + coded_flag + sum_units(split_bits(around_split, self._predicted, self._split))
        costs = [
            self.predicted_error + self.lagrangian * predicted_flag,
            self._merged_error + self.margin + self.lagrangian * merged,
            sum_units(self._split_error) + self.margin + self.lagrangian * split,
        ]
        self.forms = np.argmin(costs, 0).astype(np.uint8)
        forms = expand(self.forms)[..., None]
        self.field = np.where(
            forms == Form.PREDICTED, self._predicted, np.where(forms == Form.MERGED, expand(self._merged), self._split)
        )

    def refine(self, error: Callable[[Floats], Floats]) -> None:
        """Let units try what their neighbours have chosen; blocks do not, as four vectors cost more than they bring.

        Args:
            error: Gives a field's error, `[R, C]`.
        """
        for _ in range(NUM_ROUNDS):
            if not self.forms.any():
                break
            for units in neighbours(self.field[::UNIT, ::UNIT]):
                self.offer_merged(units, sum_units(error(expand(units))))
            self.decide()
