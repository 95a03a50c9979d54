"""The last two chunks of a file: the index, and the end chunk, which holds the totals.

indx      for each group: sequence number u32, byte offset of its chunk u64, first frame u64, frames u32
DONE      frames u64, groups u32, latent frames u64, byte offset of the indx chunk or 0 u64
          and, if it is known, the duration of the last frame u32
"""

import struct
from typing import NamedTuple

from vtok.container.chunks import ChunkHead
from vtok.container.groups import VideoGroup
from vtok.errors import FormatError

LOCATION = struct.Struct("<IQQI")
_DONE_FIELDS = struct.Struct("<QIQQ")
_TICKS = struct.Struct("<I")  # follows if the duration of the last frame is known
_MAX_TICKS = (1 << 32) - 1
DONE_PAYLOAD_BYTES = (_DONE_FIELDS.size + _TICKS.size, _DONE_FIELDS.size)


class Totals(NamedTuple):
    """Totals of a file."""

    num_frames: int = 0
    num_groups: int = 0
    num_latent_frames: int = 0

    def plus(self, group: VideoGroup) -> "Totals":
        """The totals with one group more."""
        return Totals(
            self.num_frames + group.num_frames, self.num_groups + 1, self.num_latent_frames + group.num_latent_frames
        )


class End(NamedTuple):
    """The contents of the end chunk: the totals, the byte offset of the index, and the duration of the last frame.

    The byte offset is 0 if there is no index. Ticks are units of the time base, and 0 if the duration is not known.
    """

    totals: Totals
    index_offset: int
    last_frame_ticks: int


class GroupLocation(NamedTuple):
    """The place of a group: the sequence number and the byte offset of its chunk, and its frames."""

    sequence: int
    byte_offset: int
    first_frame: int
    num_frames: int

    @property
    def end_frame(self) -> int:
        """One past the number of the group's last frame."""
        return self.first_frame + self.num_frames


def pack_done(end: End) -> bytes:
    """The payload of an end chunk; unknown ticks, or ticks that do not fit 32 bits, are left out."""
    ticks = _TICKS.pack(end.last_frame_ticks) if 0 < end.last_frame_ticks <= _MAX_TICKS else b""
    return _DONE_FIELDS.pack(*end.totals, end.index_offset) + ticks


def parse_done(head: ChunkHead, payload: bytes) -> End:
    """The contents of the end chunk; later versions may append more fields."""
    if len(payload) < _DONE_FIELDS.size:
        raise FormatError(f"{head.place} has {len(payload)} bytes: must be at least {_DONE_FIELDS.size}")
    *totals, index_offset = _DONE_FIELDS.unpack_from(payload)
    has_ticks = len(payload) >= _DONE_FIELDS.size + _TICKS.size
    return End(Totals(*totals), index_offset, _TICKS.unpack_from(payload, _DONE_FIELDS.size)[0] if has_ticks else 0)
