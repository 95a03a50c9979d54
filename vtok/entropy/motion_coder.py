"""Coding of the motion of chunks: encoder and decoder walk through the same passes.

A chunk is still or not. If not, its eight fields follow, each after what it is expected to be by those before it
(`predicted_field`): it is equal to that everywhere, or units of 2x2 blocks (`vtok.entropy.motion_layout`) have states:

EQUAL    all four vectors are as expected
MERGED   all four are the same
SPLIT    neither

Then the first vectors of merged and split units follow, then those of the last blocks of split ones, then those of the
other two. A vector is one of at most two candidates from near by, or a difference from the median there. The mask comes
before the last field, with which it belongs. Only integers decide, so every machine finds the same tables.
"""

import numpy as np

from vtok.entropy.motion_contexts import EQUAL, UnitFacts, mask_tables
from vtok.entropy.motion_field import FieldWalk
from vtok.entropy.motion_layout import BLOCKS, Integers, motion_layout
from vtok.entropy.motion_symbols import MotionSymbols, SymbolCounter, SymbolReader, SymbolWriter
from vtok.entropy.motion_tables import FIRST_EQUAL, FIRST_KIND, FIRST_MASK_KIND
from vtok.errors import ConfigError, FormatError
from vtok.video.motion import MAX_VECTOR, NUM_FIELDS, ChunkMotion, Mask, motion_size, predicted_field

STILL, STILL_PREDICTED, MOVING = range(3)  # kinds of chunks: no motion, and no block predicted, or all; anything else
NONE, ALL, SOME = range(3)  # kinds of masks


class MotionWalk:
    """Walks through the symbols of the chunks of one group; its state is what it remembers of the chunk before.

    Args:
        symbols: What codes, decodes or counts them.
        rows: Rows of blocks.
        columns: Columns of blocks.
    """

    def __init__(self, symbols: MotionSymbols, rows: int, columns: int) -> None:
        self._symbols, self._size = symbols, (rows, columns)
        self._layout = motion_layout(rows, columns)
        self._forget(is_predicted=False)
        self._table_of_kind = FIRST_KIND

    def _forget(self, *, is_predicted: bool) -> None:
        """Remember a chunk that is still."""
        self._mask: Mask = np.full(self._size, is_predicted)
        self._vectors: Integers = np.zeros((2, BLOCKS, self._layout.num_units), np.int32)
        self._states: Integers = np.zeros(self._layout.num_units + 1, np.int32)

    def code(self, known: ChunkMotion | None) -> ChunkMotion:
        """The motion of the next chunk: `known`, or, if that is None, what is decoded.

        Raises:
            FormatError: A decoded symbol does not exist, or a vector is beyond `MAX_VECTOR`.
        """
        kind = self._code_one(self._table_of_kind, 3, None if known is None else _kind_of(known))
        self._table_of_kind = FIRST_KIND + 1 + kind
        if kind == MOVING:
            return self._code_moving(known)
        self._forget(is_predicted=kind == STILL_PREDICTED)
        return ChunkMotion(np.zeros((NUM_FIELDS, 2, *self._size), np.int16), self._mask.copy())

    def _code_one(self, table: int, num_symbols: int, known: int | None) -> int:
        """A single symbol."""
        symbols = None if known is None else np.array([known])
        return int(self._symbols.code(np.array([table]), num_symbols, symbols)[0])

    def _code_moving(self, known: ChunkMotion | None) -> ChunkMotion:
        """A chunk that is not still."""
        layout = self._layout
        fields = np.zeros((NUM_FIELDS, 2, *self._size), np.int16) if known is None else known.fields
        predicted = num_changes = np.zeros(layout.num_units, np.int32)
        states, is_other, last = self._states, 0, NUM_FIELDS - 1
        for k in range(NUM_FIELDS):
            if k == last:
                self._mask = self._code_mask(None if known is None else known.is_predicted)
                predicted = (layout.to_units(self._mask[None])[0] & layout.is_inside).sum(0, dtype=np.int32)
            guess = predicted_field(fields, k)
            table = FIRST_EQUAL + (0 if k == 0 else 3 if k == last else 1 + is_other)
            is_other = self._code_one(table, 2, None if known is None else int((fields[k] != guess).any()))
            expected, actual = (layout.to_units(field).astype(np.int32) for field in (guess, fields[k]))
            if is_other:
                facts = UnitFacts.of(k, states, layout.neighbours, num_changes, expected[:, 0], predicted)
                likely = self._vectors if k == 0 else expected
                walk = FieldWalk(self._symbols, layout, expected, likely, None if known is None else actual)
                states, vectors = walk.code(facts)
            else:
                states, vectors = np.zeros_like(states), expected
            num_changes = num_changes + (states[:-1] > EQUAL)
            if k == 0:
                self._states, self._vectors = states, vectors
            if known is None:
                fields[k] = layout.to_field(vectors) if is_other else guess
        return ChunkMotion(fields, self._mask.copy())

    def _code_mask(self, known: Mask | None) -> Mask:
        """The mask of predicted blocks."""
        before = self._mask
        table = FIRST_MASK_KIND + _kind_of_mask(before)
        kind = self._code_one(table, 3, None if known is None else _kind_of_mask(known))
        if kind != SOME:
            return np.full(self._size, kind == ALL)
        mask = np.zeros(self._size, np.bool_)
        is_second = np.add.outer(np.arange(self._size[0]), np.arange(self._size[1])) % 2 == 1
        for places, first in ((~is_second, None), (is_second, mask)):
            if places.any():
                flags = None if known is None else known[places].astype(np.int32)
                mask[places] = self._symbols.code(mask_tables(before, first)[places], 2, flags) > 0
        return mask


class MotionEncoder:
    """Codes the motion of the chunks of one group, one by one."""

    def __init__(self) -> None:
        self._symbols = SymbolWriter()
        self._walk: MotionWalk | None = None
        self._shape: tuple[int, ...] = ()

    def push(self, motion: ChunkMotion) -> None:
        """Append the motion of one chunk, all of one size.

        Raises:
            ConfigError: The size is another than before, fields and mask do not fit each other, or a vector is beyond
                `MAX_VECTOR`.
        """
        if self._walk is None:
            self._shape = _checked_shape(motion)
            self._walk = MotionWalk(self._symbols, *self._shape[2:])
        if _checked_shape(motion) != self._shape:
            raise ConfigError(f"fields of motion have shape {motion.fields.shape}; the first had {self._shape}")
        self._walk.code(motion)

    def finish(self) -> bytes:
        """The bytes of all chunks: whole words of 4 bytes, or none where nothing moves and nothing is predicted."""
        return self._symbols.finish()


class MotionDecoder:
    """Decodes what `MotionEncoder` wrote.

    Args:
        data: The bytes that the encoder wrote.
        num_chunks: Number of chunks in the group.
        height: Rows of pixels of a frame.
        width: Columns of pixels of a frame.

    Raises:
        FormatError: The length of `data` is not a multiple of 4 bytes.
    """

    def __init__(self, data: bytes, *, num_chunks: int, height: int, width: int) -> None:
        self._symbols = SymbolReader(data)
        self._walk = MotionWalk(self._symbols, *motion_size(height, width))
        self._num_left = num_chunks

    def pull(self) -> ChunkMotion:
        """The motion of the next chunk.

        Raises:
            FormatError: The bytes cannot come from the encoder, or there are more than those of `num_chunks` chunks.
            ConfigError: There is no chunk left.
        """
        if not self._num_left:
            raise ConfigError("all chunks of the group have been decoded")
        motion = self._walk.code(None)
        self._num_left -= 1
        if not self._num_left and not self._symbols.is_exhausted():
            raise FormatError("bytes are left over after the motion of a group: they are damaged")
        return motion


class MotionMeter:
    """Tells the ideal code lengths of the motion of chunks that are pushed one by one, as those of one group."""

    def __init__(self) -> None:
        self._symbols = SymbolCounter()
        self._walk: MotionWalk | None = None
        self._bits = 0.0

    def push(self, motion: ChunkMotion) -> float:
        """The ideal code length of the motion of the next chunk, in bits: the bound for any coder."""
        if self._walk is None:
            self._walk = MotionWalk(self._symbols, *motion.is_predicted.shape)
        self._walk.code(motion)
        before, self._bits = self._bits, self._symbols.ideal_bits()
        return self._bits - before


def _checked_shape(motion: ChunkMotion) -> tuple[int, ...]:
    """The shape of the fields."""
    fields, mask = motion.fields, motion.is_predicted
    expected = (NUM_FIELDS, 2, *mask.shape)
    if (
        fields.shape != expected
        or not mask.size
        or mask.ndim != 2
        or mask.dtype != np.bool_
        or fields.dtype.kind not in "iu"
    ):
        raise ConfigError(
            f"motion has fields {fields.shape} of {fields.dtype} and a mask {mask.shape} of {mask.dtype}; "
            "expected integers [8, 2, rows, columns] and bool [rows, columns]"
        )
    if not -MAX_VECTOR <= fields.min() <= fields.max() <= MAX_VECTOR:
        raise ConfigError(f"vectors are {fields.min()} to {fields.max()}: must be {-MAX_VECTOR} to {MAX_VECTOR}")
    return expected


def _kind_of(motion: ChunkMotion) -> int:
    """The kind of a chunk."""
    mask = _kind_of_mask(motion.is_predicted)
    if mask == SOME or motion.fields.any():
        return MOVING
    return STILL if mask == NONE else STILL_PREDICTED


def _kind_of_mask(mask: Mask) -> int:
    if mask.all():
        return ALL
    return SOME if mask.any() else NONE
