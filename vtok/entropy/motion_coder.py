"""Coding of the motion of chunks: encoder and decoder walk through the same passes.

A chunk is still or not. If not, its fields follow, each after what it is expected to be by those before it
(`predicted_field`): it is equal to that everywhere, or units of 2x2 blocks (`vtok.entropy.motion_layout`) have states:

EQUAL    all four vectors are as expected
MERGED   all four are the same
SPLIT    neither

Then the first vectors of merged and split units follow, then those of the last blocks of split ones, then those of the
other two. A vector is one of at most two candidates from near by, or a difference from the median there.

The last field, which leads to the chunk before, is not there in the first chunk of a group. In others it is often zero
where there is motion, so a flag says whether zero is expected everywhere. Only integers decide, so every machine finds
the same tables.
"""

import numpy as np

from vtok.entropy.motion_contexts import EQUAL, UnitFacts
from vtok.entropy.motion_field import FieldWalk
from vtok.entropy.motion_layout import BLOCKS, Integers, motion_layout
from vtok.entropy.motion_symbols import MotionSymbols, SymbolReader, SymbolWriter
from vtok.entropy.motion_tables import FIRST_EQUAL, FIRST_GUESS, FIRST_KIND
from vtok.errors import ConfigError, FormatError
from vtok.video.motion import MAX_VECTOR, NUM_FIELDS, ChunkMotion, Vectors, motion_size, predicted_field

LAST = NUM_FIELDS - 1
FIRST, OTHER, LAST_STEADY, LAST_ZERO = range(4)  # kinds of fields; the last is expected to be steady or zero


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
        self._num_fields = LAST  # of the next chunk
        self._table_of_kind = FIRST_KIND
        self._forget()

    def _forget(self) -> None:
        """Remember a chunk that is still."""
        self._was_zero_better = False
        self._vectors: Integers = np.zeros((2, BLOCKS, self._layout.num_units), np.int32)
        self._states: Integers = np.zeros(self._layout.num_units + 1, np.int32)

    def code(self, known: ChunkMotion | None) -> ChunkMotion:
        """The motion of the next chunk: `known`, or, if that is None, what is decoded.

        Raises:
            FormatError: A decoded symbol does not exist, or a vector is beyond `MAX_VECTOR`.
        """
        is_moving = self._code_flag(self._table_of_kind, None if known is None else bool(known.fields.any()))
        self._table_of_kind = FIRST_KIND + 1 + is_moving
        if is_moving:
            fields = self._code_fields(None if known is None else known.fields)
        else:
            self._forget()
            fields = np.zeros((NUM_FIELDS, 2, *self._size), np.int16)
        self._num_fields = NUM_FIELDS
        return ChunkMotion(fields)

    def _code_flag(self, table: int, known: bool | None) -> bool:
        """A single flag."""
        symbols = None if known is None else np.array([known], np.int32)
        return bool(self._symbols.code(np.array([table]), 2, symbols)[0])

    def _code_fields(self, known: Vectors | None) -> Vectors:
        """The fields of a chunk that is not still."""
        layout = self._layout
        fields = np.zeros((NUM_FIELDS, 2, *self._size), np.int16) if known is None else known
        num_changes = np.zeros(layout.num_units, np.int32)
        states, is_other = self._states, False
        for k in range(self._num_fields):
            steady = predicted_field(fields, k)
            kind = FIRST if k == 0 else OTHER if k < LAST else self._code_kind_of_last(steady, known)
            guess = np.zeros_like(steady) if kind == LAST_ZERO else steady
            table = FIRST_EQUAL + (kind + is_other if kind == OTHER else kind + (kind > OTHER))
            is_other = self._code_flag(table, None if known is None else bool((fields[k] != guess).any()))
            expected, likely, actual = (layout.to_units(x).astype(np.int32) for x in (guess, steady, fields[k]))
            if is_other:
                likely = self._vectors if k == 0 else likely
                facts = UnitFacts.of(kind, k, states, layout.neighbours, num_changes, likely[:, 0])
                walk = FieldWalk(self._symbols, layout, expected, likely, None if known is None else actual)
                states, vectors = walk.code(facts)
            else:
                states, vectors = np.zeros_like(states), expected
            num_changes = num_changes + (states[:-1] > EQUAL)
            if k == 0:
                self._states, self._vectors = states, vectors
            if known is None:
                fields[k] = layout.to_field(vectors) if is_other else guess
        return fields

    def _code_kind_of_last(self, steady: Vectors, known: Vectors | None) -> int:
        """Whether the last field is expected to be zero everywhere, or as in `steady` motion."""
        if not steady.any():
            return LAST_ZERO
        is_zero_better = None
        if known is not None:
            # About the cheaper one: that which is right in more units.
            zero, as_expected = (
                (self._layout.to_units(known[LAST] - guess) == 0).all((0, 1)).sum() for guess in (0, steady)
            )
            is_zero_better = bool(zero > as_expected)
        self._was_zero_better = self._code_flag(FIRST_GUESS + self._was_zero_better, is_zero_better)
        return LAST_ZERO if self._was_zero_better else LAST_STEADY


class MotionEncoder:
    """Codes the motion of the chunks of one group, one by one."""

    def __init__(self) -> None:
        self._symbols = SymbolWriter()
        self._walk: MotionWalk | None = None
        self._shape: tuple[int, ...] = ()

    def push(self, motion: ChunkMotion) -> None:
        """Append the motion of one chunk, all of one size.

        Raises:
            ConfigError: These are not fields of the size of those before, a vector is beyond `MAX_VECTOR`, or one leads
                from the first chunk to another.
        """
        shape = _checked_shape(motion)
        if self._walk is None:
            if motion.fields[LAST].any():
                raise ConfigError("the last field of a group's first chunk is not zero: there is no chunk before it")
            self._shape = shape
            self._walk = MotionWalk(self._symbols, *shape[2:])
        if shape != self._shape:
            raise ConfigError(f"fields of motion have shape {shape}; the first had {self._shape}")
        self._walk.code(motion)

    def finish(self) -> bytes:
        """The bytes of all chunks: whole words of 4 bytes, or none where nothing moves."""
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


def _checked_shape(motion: ChunkMotion) -> tuple[int, ...]:
    """The shape of the fields."""
    fields = motion.fields
    if fields.ndim != 4 or fields.shape[:2] != (NUM_FIELDS, 2) or not fields.size or fields.dtype.kind not in "iu":
        raise ConfigError(
            f"motion has fields {fields.shape} of {fields.dtype}; expected integers [8, 2, rows, columns]"
        )
    if not -MAX_VECTOR <= fields.min() <= fields.max() <= MAX_VECTOR:
        raise ConfigError(f"vectors are {fields.min()} to {fields.max()}: must be {-MAX_VECTOR} to {MAX_VECTOR}")
    return fields.shape
