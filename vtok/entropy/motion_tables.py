"""The frequency tables of motion. They are part of the format, not of a model, and never change.

Each row of `vtok.entropy.motion_statistics` has one number per symbol, summing to 4096: a frequency is 4096 times
that. The coder has 32 symbols for all tables. Those that a table does not have get frequency 1, at the cost of its
largest (the first of them). The last five tables give 1 to 5 bits that are equally probable.
"""

import numpy as np
from numpy.typing import NDArray

from vtok.entropy.motion_statistics import ROWS, SCORES
from vtok.entropy.range_coder import FREQUENCY_TOTAL

NUM_SYMBOLS = 32
ROW_TOTAL = 4096

NUM_STATES = 3
NUM_CLASSES = 23  # of a component's difference: 0; 1, -1; 2 and 3, -2 and -3; 4 to 7, -4 to -7, and so on to 2047
NUM_SCORES = 7  # levels of how probably a unit is changed
NUM_SPLITS = 3  # whether fewer, as many or more of the units near by are split than merged
NUM_VOTES = 4  # levels of votes for the first candidate
NUM_SPREADS = 6  # levels of how much near vectors differ

# Numbers of the first tables of each kind, and what their numbers depend on:
FIRST_KIND = 0  # is a chunk not still: the chunk before (there is none, or this flag)
FIRST_GUESS = 3  # is the last field expected to be zero: this flag in the chunk before
FIRST_EQUAL = (
    5  # is a field other than expected: the first; another after one that is not; after one that is; the last,
)
# if steady motion is expected; the last, if zero is
FIRST_STATE = 10  # state of a unit: levels of score and of splits
FIRST_RANK = FIRST_STATE + NUM_SCORES * NUM_SPLITS  # rank of a vector: one candidate, two, two in a split unit; votes
FIRST_HORIZONTAL = FIRST_RANK + 3 * NUM_VOTES  # class of a difference: is it in a split unit; spread
FIRST_VERTICAL = (
    FIRST_HORIZONTAL + 2 * NUM_SPREADS
)  # class of a difference: bits of the horizontal one, 0, 1, more; spread
FIRST_UNIFORM = FIRST_VERTICAL + 3 * NUM_SPREADS
MAX_UNIFORM_BITS = 5
NUM_TABLES = FIRST_UNIFORM + MAX_UNIFORM_BITS

# For the first field, the next six, the last, and the last if zero is expected, and for each pass: weights of the six
# features of a unit, then a constant (`vtok.entropy.motion_contexts`), `[4, 3, 7]`.
SCORE_WEIGHTS = np.array(SCORES.split(), np.int32).reshape(4, 3, 7)


def motion_frequencies() -> NDArray[np.int64]:
    """Frequencies of all tables, `[NUM_TABLES, 32]`."""
    rows = [[ROW_TOTAL * int(number) for number in line.split()] for line in ROWS.strip().splitlines()]
    rows += [[FREQUENCY_TOTAL >> num_bits] * (1 << num_bits) for num_bits in range(1, MAX_UNIFORM_BITS + 1)]
    frequencies = np.ones((len(rows), NUM_SYMBOLS), np.int64)
    for frequency, row in zip(frequencies, rows, strict=True):
        frequency[: len(row)] = row
        frequency[np.argmax(row)] -= NUM_SYMBOLS - len(row)
    return frequencies
