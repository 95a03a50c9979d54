"""Files put together chunk by chunk: as the format allows, and as it does not."""

import json
import struct
import zlib
from typing import NamedTuple

SIGNATURE = b"\x89VTK\r\n\x1a\n"
# First frame, frames, quality in 1/256, latent frames, CRC of codes, length of pts, first pts
GROUP_FIELDS = struct.Struct("<QHHIIIq")


def with_crc(data):
    return data + struct.pack("<I", zlib.crc32(data))


class Part(NamedTuple):
    """A chunk to be written; where `sequence` or `length` are None they will be right."""

    kind: bytes
    payload: bytes
    flags: int = 0
    sequence: int | None = None
    length: int | None = None

    def to_bytes(self, number):
        sequence = number if self.sequence is None else self.sequence
        length = len(self.payload) if self.length is None else self.length
        return with_crc(struct.pack("<4sIII", self.kind, self.flags, sequence, length)) + with_crc(self.payload)


class Group(NamedTuple):
    """The payload of a VGRP chunk; where `pts_length` is None it will be right."""

    first_frame: int
    num_frames: int
    quality_steps: int
    num_latent_frames: int
    tokens_crc32: int
    first_pts: int
    pts_bytes: bytes
    coded: bytes
    pts_length: int | None = None

    @classmethod
    def from_bytes(cls, payload):
        *counts, pts_length, first_pts = GROUP_FIELDS.unpack_from(payload)
        return cls(*counts, first_pts, payload[36 : 36 + pts_length], payload[36 + pts_length :])

    def to_bytes(self):
        pts_length = len(self.pts_bytes) if self.pts_length is None else self.pts_length
        counts = (
            self.first_frame,
            self.num_frames,
            self.quality_steps,
            self.num_latent_frames,
            self.tokens_crc32,
        )
        return with_crc(GROUP_FIELDS.pack(*counts, pts_length, self.first_pts)) + self.pts_bytes + self.coded


def parts_of_coded(coded):
    """The entropy-coded bytes of a group up to its codes, and these; see docs/format.md."""
    codes = 4 + struct.unpack_from("<I", coded)[0]
    return coded[:codes], coded[codes:]


def with_motion(motion, codes):
    """The entropy-coded bytes of a group."""
    return struct.pack("<I", len(motion)) + motion + codes


def split(data):
    """The chunks of a sound file, unknown ones too."""
    parts, offset = [], 16
    while offset < len(data):
        kind, flags, _, length = struct.unpack_from("<4sIII", data, offset)
        parts.append(Part(kind, data[offset + 20 : offset + 20 + length], flags))
        offset += length + 24
    return parts


def joined(parts, versions=(1, 1)):
    """A file of these chunks."""
    data = with_crc(SIGNATURE + struct.pack("<HH", *versions))
    return data + b"".join(part.to_bytes(number) for number, part in enumerate(parts))


def ended(parts, *, has_index=True, versions=(1, 1)):
    """A file of these chunks, and an index and an end that suit them."""
    parts, locations, totals, offset = list(parts), b"", [0, 0, 0], 16
    for number, part in enumerate(parts):
        if part.kind == b"VGRP":
            group = Group.from_bytes(part.payload)
            locations += struct.pack("<IQQI", number, offset, group.first_frame, group.num_frames)
            totals = [a + b for a, b in zip(totals, (group.num_frames, 1, group.num_latent_frames), strict=True)]
        offset += len(part.payload) + 24
    if has_index:
        parts.append(Part(b"indx", locations))
    parts.append(Part(b"DONE", struct.pack("<QIQQ", *totals, offset if has_index else 0)))
    return joined(parts, versions)


def edited_header(part, **values):
    """A HEAD chunk with other values; a value of ... takes the key out."""
    header = json.loads(part.payload) | values
    header = {key: value for key, value in header.items() if value is not ...}
    return part._replace(payload=json.dumps(header, sort_keys=True, separators=(",", ":")).encode())


def edited_group(part, **values):
    """A VGRP chunk with other fields, its own CRC made right again."""
    return part._replace(payload=Group.from_bytes(part.payload)._replace(**values).to_bytes())
