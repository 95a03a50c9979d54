"""What is known where a symbol of motion is coded, and which table follows from it: integers only."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vtok.entropy.motion_layout import NEIGHBOURS, NUM_ADJACENT, Indices, Integers
from vtok.entropy.motion_tables import (
    FIRST_RANK,
    FIRST_STATE,
    NUM_SCORES,
    NUM_SPLITS,
    NUM_SPREADS,
    NUM_VOTES,
    SCORE_WEIGHTS,
)
from vtok.video.motion import MAX_VECTOR

EQUAL, MERGED, SPLIT = range(3)  # states of a unit: all four vectors as predicted; else all the same; else neither
NO_CANDIDATE = 2  # the rank of a vector that is neither of at most two candidates
NO_VECTOR = 2 * MAX_VECTOR  # no component of a vector; sorts behind all

Bools: TypeAlias = NDArray[np.bool_]

_VECTOR_CODE = 1 << 12  # of two vectors, horizontal times this plus vertical is equal only if both are
_MAX_SIZE = 7
# Votes of what is near a vector: adjacent places, diagonal ones, and the prediction.
_VOTES = np.array([2] * NUM_ADJACENT + [1] * (len(NEIGHBOURS) - NUM_ADJACENT) + [1], np.int32)[:, None]
_FIRST_IS_BEST = np.arange(len(_VOTES), dtype=np.int32)[::-1, None]
_EARLIER = np.tri(len(_VOTES), k=-1, dtype=np.bool_)[:, :, None]
_SIGNS = np.array([0, -1, 1], np.int32)  # of states

# Number of bits of 0 to 4092 (sums and differences of components)
NUM_BITS = np.array([n.bit_length() for n in range(4 * MAX_VECTOR + 1)], np.int32)


class UnitFacts(NamedTuple):
    """What is known of the units of a field before it is coded; from it their states are foreseen.

    Attributes:
        kind: Which rows of `SCORE_WEIGHTS` are for this field: 0 for the first, 1 for the next six, 2 for the last, 3
            for the last if it is expected to be zero.
        before: States in the field before, and `EQUAL` for what is beyond the frame, `[n + 1]`.
        facts: Of each unit, `[4, n]`: whether it is changed (not `EQUAL`) in the field before; how many of its
            neighbours are; in how many eighths of the chunk's fields before it is; number of bits of the size (sum of
            magnitudes) of the vector that is likely in its first block, at most 7.
    """

    kind: int
    before: Integers
    facts: Integers

    @classmethod
    def of(
        cls, kind: int, k: int, before: Integers, neighbours: Indices, num_changes: Integers, likely: Integers
    ) -> "UnitFacts":
        """Facts for field `k`, from states before `[n + 1]`, and the other facts `[n]` or `[2, n]`."""
        changed = before > EQUAL
        size = np.minimum(NUM_BITS[np.abs(likely).sum(0)], _MAX_SIZE)
        facts = [changed[:-1], changed[neighbours].sum(0), 8 * num_changes // max(k, 1), size]
        return cls(kind, before, np.stack(facts).astype(np.int32))

    def scores(self) -> Integers:
        """What the facts add to the scores of units in each pass, `[3, n]`."""
        weights = SCORE_WEIGHTS[self.kind]
        scores: Integers = weights[:, : len(self.facts)] @ self.facts + weights[:, -1:]
        return scores


def near_facts(near: Integers, states: Integers, num_known: int) -> tuple[Integers, int]:
    """Two more facts of units: how many neighbours are changed, `[num]`; eighths of all known units that are.

    Args:
        near: States of the units' neighbours, `[8, num]`.
        states: States of all units `[n + 1]`. Unknown ones are `EQUAL`, here and in `near`.
        num_known: How many of them are known.
    """
    num_changed: Integers = (near > EQUAL).sum(0, dtype=np.int32)
    return num_changed, 8 * int(np.count_nonzero(states)) // max(num_known, 1)


def state_tables(
    facts: UnitFacts, scores: Integers, number: int, units: Indices, near: Integers, share: tuple[Integers, int]
) -> Integers:
    """Tables of states `[num]` of the `units` of pass `number`, from `UnitFacts.scores` and `near_facts`."""
    of_changed, of_share = SCORE_WEIGHTS[facts.kind, number, -3:-1].tolist()
    score = scores[number, units] + of_changed * share[0] + of_share * share[1]
    level = np.minimum(np.maximum(score, 0) >> 4, NUM_SCORES - 1)
    # Merged units count -1, split ones 1.
    before = facts.before[units]
    splits = 2 * (near == SPLIT).sum(0, dtype=np.int32) - share[0] + _SIGNS[before]
    tables: Integers = FIRST_STATE + 1 + NUM_SPLITS * level + np.sign(splits)
    return tables


class VectorGuess(NamedTuple):
    """What vectors may be, judged by vectors near them.

    Attributes:
        candidates: The two with most votes, `[2, 2, num]`: first and second; horizontal and vertical.
        num_candidates: How many of the two there are, `[num]`.
        rank_tables: Tables of ranks, `[num]`; of no use where there is no candidate.
        base: The vector that others are coded as differences from, `[2, num]`.
        spread: Level of the differences among the vectors that count, `[2, num]`.
    """

    candidates: Integers
    num_candidates: Integers
    rank_tables: Integers
    base: Integers
    spread: Integers

    @classmethod
    def of(
        cls, near: Integers, is_known: Bools, strength: Integers, refused: Integers, *, of_split: bool
    ) -> "VectorGuess":
        """Guess.

        Args:
            near: Vectors of the eight neighbours and the predicted vector, `[2, 9, num]`.
            is_known: Which of them are known, `[9, num]`; all predicted ones are.
            strength: Factors of their votes, `[9, num]`.
            refused: Vectors that are no candidates, and do not count if others are known, `[2, num]`; `NO_VECTOR` if
                there is none.
            of_split: Whether these are vectors of the last three blocks of split units.
        """
        code = near[0] * _VECTOR_CODE + near[1]
        usable = is_known & (code != refused[0] * _VECTOR_CODE + refused[1])
        same = (code[:, None] == code) & usable
        votes = np.einsum("ijn,jn->in", same, strength * _VOTES)
        is_first = usable & ~(same & _EARLIER).any(1)
        order = np.where(is_first, 16 * votes + _FIRST_IS_BEST, 0)
        places = np.arange(near.shape[2])
        first = order.argmax(0)
        most = order[first, places]
        order[first, places] = 0
        second = order.argmax(0)
        num = (most > 0).astype(np.int32) + (order[second, places] > 0)
        level = np.minimum(np.maximum((most >> 4) - 1, 0) >> 1, NUM_VOTES - 1)
        rank_tables = FIRST_RANK + level + np.where(num < 2, 0, 2 * NUM_VOTES if of_split else NUM_VOTES)
        candidates = np.stack([near[:, first, places], near[:, second, places]])
        # Vectors that are refused would draw the base away, most of all to zero in a field where that is expected.
        counted = np.where(usable.any(0), usable, is_known)
        return cls(candidates, num, rank_tables, *_base_and_spread(near, counted, places))


def _base_and_spread(near: Integers, counted: Bools, places: Indices) -> tuple[Integers, Integers]:
    """The median of each component (of two in the middle, their mean, rounded down), and level of spread; `[2, num]`.

    Diagonal neighbours count only where fewer than three adjacent ones do.
    """
    counts = counted.copy()
    counts[NUM_ADJACENT:-1] &= np.count_nonzero(counted[:NUM_ADJACENT], axis=0) < 3
    num = np.count_nonzero(counts, axis=0)
    ordered = np.sort(np.where(counts, near, NO_VECTOR), axis=1)
    base = ordered[:, num - 1 >> 1, places] + ordered[:, num >> 1, places] >> 1
    spread = NUM_BITS[ordered[:, num - 1, places] - ordered[:, 0]]
    return base, np.minimum(np.maximum(spread - 1, 0), NUM_SPREADS - 1)
