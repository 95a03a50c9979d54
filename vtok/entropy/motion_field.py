"""Coding of one field of vectors, after what it is expected to be: states of units, then vectors."""

import numpy as np

from vtok.entropy.motion_contexts import (
    EQUAL,
    MERGED,
    NO_CANDIDATE,
    NO_VECTOR,
    NUM_BITS,
    SPLIT,
    Bools,
    UnitFacts,
    VectorGuess,
    near_facts,
    state_tables,
)
from vtok.entropy.motion_layout import BLOCKS, Indices, Integers, MotionLayout
from vtok.entropy.motion_symbols import MotionSymbols, code_uniform
from vtok.entropy.motion_tables import FIRST_HORIZONTAL, FIRST_VERTICAL, NUM_CLASSES, NUM_SPREADS, NUM_STATES
from vtok.errors import FormatError
from vtok.video.motion import MAX_VECTOR

_LATER_BLOCKS = ((3,), (1, 2))  # blocks of split units after the first; the last two know all four neighbours


class FieldWalk:
    """Walks through the symbols of one field.

    Args:
        symbols: What codes, decodes or counts them.
        layout: Where the blocks are.
        expected: Predicted vectors, `[2, 4, n]`.
        likely: Vectors that are one more neighbour of each, `[2, 4, n]`: the predicted ones, or better.
        known: The vectors `[2, 4, n]` if they are coded, None if they are decoded.
    """

    def __init__(
        self, symbols: MotionSymbols, layout: MotionLayout, expected: Integers, likely: Integers, known: Integers | None
    ) -> None:
        self._symbols, self._layout, self._known = symbols, layout, known
        self._expected, self._likely = expected, likely
        # One more unit, for what is beyond the frame.
        self._vectors = np.zeros((2, BLOCKS, layout.num_units + 1), np.int32)
        self._vectors[:, :, :-1] = expected
        self._is_known = np.zeros((BLOCKS, layout.num_units + 1), np.bool_)

    def code(self, facts: UnitFacts) -> tuple[Integers, Integers]:
        """States of units `[n + 1]`, and vectors `[2, 4, n]`.

        Raises:
            FormatError: A decoded symbol does not exist, or a vector is beyond `MAX_VECTOR`.
        """
        states = self._code_states(facts)
        self._is_known[:, :-1] = states[:-1] == EQUAL
        is_changed = states > EQUAL
        for units in self._layout.passes:
            changed = units[is_changed[units]]
            if len(changed):
                self._code_first_vectors(changed, states, is_changed)
        merged = np.flatnonzero(states == MERGED)
        self._vectors[:, 1:, merged] = self._vectors[:, :1, merged]
        self._is_known[:, merged] = True
        is_split = self._layout.is_inside & (states[:-1] == SPLIT)
        for blocks in _LATER_BLOCKS:
            rows, units = np.nonzero(is_split[blocks, :])
            if len(rows):
                self._code_later_vectors(np.array(blocks)[rows], units)
        return states, self._vectors[:, :, :-1]

    def _code_states(self, facts: UnitFacts) -> Integers:
        """States of units, `[n + 1]`; what is beyond the frame is `EQUAL`."""
        states = np.zeros(self._layout.num_units + 1, np.int32)
        known, num_known, scores = self._known_states(), 0, facts.scores()
        for number, units in enumerate(self._layout.passes):
            if len(units):
                near = states[self._layout.neighbours[:, units]]
                share = near_facts(near, states, num_known)
                tables = state_tables(facts, scores, number, units, near, share)
                states[units] = self._symbols.code(tables, NUM_STATES, None if known is None else known[units])
                num_known += len(units)
        return states

    def _known_states(self) -> Integers | None:
        if self._known is None:
            return None
        is_merged = (self._known == self._known[:, :1]).all((0, 1))
        is_equal = (self._known == self._expected).all((0, 1))
        return np.where(is_equal, EQUAL, np.where(is_merged, MERGED, SPLIT)).astype(np.int32)

    def _code_first_vectors(self, units: Indices, states: Integers, is_changed: Bools) -> None:
        """The first vectors of changed units `[num]` of one pass."""
        around = self._layout.neighbours[:, units]
        near = np.concatenate([self._vectors[:, 0, around], self._likely[:, :1, units]], axis=1)
        is_known, strength = np.ones(near.shape[1:], np.bool_), np.ones(near.shape[1:], np.int32)
        is_known[:-1] = self._is_known[0, around]
        strength[:-1] += is_changed[around]
        # A merged unit has another vector than the expected one (hardly ever not: if its expected ones differ).
        refused = np.where(states[units] == MERGED, self._expected[:, 0, units], NO_VECTOR)
        guess = VectorGuess.of(near, is_known, strength, refused, of_split=False)
        known = None if self._known is None else self._known[:, 0, units]
        self._vectors[:, 0, units] = self._code_vectors(guess, known, of_split=False)
        self._is_known[0, units] = True

    def _code_later_vectors(self, blocks: Indices, units: Indices) -> None:
        """Vectors of these blocks of split units, `[num]` each."""
        around = self._layout.block_neighbours[:, blocks, units]
        near = np.concatenate([self._vectors.reshape(2, -1)[:, around], self._likely[:, None, blocks, units]], axis=1)
        is_known, strength = np.ones(near.shape[1:], np.bool_), np.ones(near.shape[1:], np.int32)
        is_known[:-1] = self._is_known.ravel()[around]
        refused = np.full((2, len(units)), NO_VECTOR, np.int32)
        guess = VectorGuess.of(near, is_known, strength, refused, of_split=True)
        known = None if self._known is None else self._known[:, blocks, units]
        self._vectors[:, blocks, units] = self._code_vectors(guess, known, of_split=True)
        self._is_known[blocks, units] = True

    def _code_vectors(self, guess: VectorGuess, known: Integers | None, *, of_split: bool) -> Integers:
        """Vectors `[2, num]` that are candidates, or differ from both."""
        num = guess.num_candidates
        ranks = np.full(len(num), NO_CANDIDATE, np.int32)
        if known is not None:
            is_first, is_second = (guess.candidates == known).all(1) & (np.arange(2)[:, None] < num)
            ranks[is_second] = 1
            ranks[is_first] = 0
        some = num.nonzero()[0]
        if len(some):
            tables = guess.rank_tables[some]
            ranks[some] = self._symbols.code(tables, NO_CANDIDATE + 1, None if known is None else ranks[some])
        vectors: Integers = np.where(ranks == 0, guess.candidates[0], guess.candidates[1])
        others = (ranks == NO_CANDIDATE).nonzero()[0]
        if len(others):
            base = guess.base[:, others]
            differences = None if known is None else known[:, others] - base
            vectors[:, others] = base + self._code_differences(guess.spread[:, others], differences, of_split=of_split)
            if abs(vectors).max() > MAX_VECTOR:
                raise FormatError(
                    f"vector of motion has {abs(vectors).max()} quarters of a pixel; expected {MAX_VECTOR} at most"
                )
        return vectors

    def _code_differences(self, spread: Integers, known: Integers | None, *, of_split: bool) -> Integers:
        """Differences `[2, num]`: a class with the sign for each component, then the rest of the magnitudes."""
        sizes = None if known is None else abs(known)
        classes = [None, None] if known is None else list(2 * NUM_BITS[abs(known)] - (known > 0))
        first_table = FIRST_HORIZONTAL + NUM_SPREADS * of_split
        horizontal = self._symbols.code(first_table + spread[0], NUM_CLASSES, classes[0])
        first_table = FIRST_VERTICAL + NUM_SPREADS * np.minimum(horizontal + 1 >> 1, 2)
        vertical = self._symbols.code(first_table + spread[1], NUM_CLASSES, classes[1])
        coded = np.array([horizontal, vertical])
        num_bits = coded + 1 >> 1
        num_low = np.maximum(num_bits - 1, 0)
        low = code_uniform(
            self._symbols, num_low.ravel(), None if sizes is None else (sizes & (1 << num_low) - 1).ravel()
        )
        magnitudes = np.where(num_bits > 0, (1 << num_low) + low.reshape(coded.shape), 0)
        differences: Integers = np.where(coded % 2 == 1, magnitudes, -magnitudes)
        return differences
