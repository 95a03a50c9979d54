"""A stand-in for the coder of motion: zlib."""

import zlib

import numpy as np

from vtok.errors import FormatError
from vtok.video.motion import NUM_FIELDS, ChunkMotion, motion_size


class MotionEncoder:
    def __init__(self) -> None:
        self._data = bytearray()

    def push(self, motion: ChunkMotion) -> None:
        self._data += motion.fields.astype("<i2").tobytes() + motion.is_predicted.tobytes()

    def finish(self) -> bytes:
        return zlib.compress(bytes(self._data))


class MotionDecoder:
    def __init__(self, data: bytes, *, num_chunks: int, height: int, width: int) -> None:
        self._size = motion_size(height, width)
        self._fields = 2 * NUM_FIELDS * self._size[0] * self._size[1]
        self._each = 2 * self._fields + self._size[0] * self._size[1]
        try:
            self._data = zlib.decompress(data)
        except zlib.error as error:
            raise FormatError(f"motion: {error}") from None
        if len(self._data) != num_chunks * self._each:
            raise FormatError("motion")

    def pull(self) -> ChunkMotion:
        part, self._data = self._data[: self._each], self._data[self._each :]
        fields = np.frombuffer(part, "<i2", self._fields).reshape(NUM_FIELDS, 2, *self._size).astype(np.int16)
        mask = np.frombuffer(part, np.uint8, offset=2 * self._fields).reshape(self._size) != 0
        return ChunkMotion(fields, mask)
