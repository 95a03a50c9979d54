"""Groups of frames as bytes: the payload of a VGRP chunk.

    payload   first frame u64, frames u16, quality u16, latent frames u32, CRC-32 of codes and motion u32,
              length of the pts bytes u32, first pts i64, CRC-32 of these 32 bytes u32
              pts bytes, then entropy-coded bytes to the end of the payload
    pts bytes for each frame after the first, the change of its step (its pts less the pts before) from the step before
              (at first 0): a zigzag varint; or for a run of frames without a change, 0 and their number less 1

So all 64-bit timestamps are exact, and take about five bytes at a constant frame rate.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from vtok.container.chunks import CRC_BYTES, with_crc, without_crc
from vtok.container.header import MAX_FRAMES_PER_GROUP
from vtok.container.varints import read_varint, unzigzag, varint, zigzag
from vtok.errors import ChecksumError, ConfigError, FormatError, LimitError

MIN_PTS, MAX_PTS = -(1 << 63), (1 << 63) - 1

QUALITY_STEPS = 256  # a quality is stored in units of 1/256
_MAX_QUALITY = 65535 / QUALITY_STEPS

_FIELDS = struct.Struct("<QHHIIIq")
HEAD_BYTES = _FIELDS.size + CRC_BYTES


def stored_quality(quality: float) -> float:
    """Return the quality nearest to `quality` that a group can state.

    Example:
        >>> stored_quality(7.3)
        7.30078125
    """
    return round(quality * QUALITY_STEPS) / QUALITY_STEPS


def mean_quality(groups: Iterable[tuple[float, int]]) -> float:
    """Return the mean quality of frames, from the quality and the number of frames of each group; 0 without frames."""
    total = num_frames = 0.0
    for quality, count in groups:
        total, num_frames = total + quality * count, num_frames + count
    return total / num_frames if num_frames else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoGroup:
    """Frames that are coded together and decode without any other group.

    Attributes:
        first_frame: Number of the group's first frame in the video, from 0.
        pts: Timestamp of each frame, in units of the header's time base: 1 to 256 signed 64-bit integers.
        num_latent_frames: Number of latent frames that stand for the frames.
        quality: The quality that the model was run with, in steps of 1/256; see `stored_quality`.
        tokens_crc32: CRC-32 of the codes and the motion before entropy coding.
        coded: The entropy-coded motion and codes.
    """

    first_frame: int
    pts: tuple[int, ...]
    num_latent_frames: int
    quality: float
    tokens_crc32: int
    coded: bytes

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.pts)

    def check_tokens(self, crc32: int) -> None:
        """Raise ChecksumError unless `crc32`, of the decoded codes and motion, is that of the written ones."""
        if crc32 != self.tokens_crc32:
            raise ChecksumError(
                f"codes or motion of {frame_range(self.first_frame, self.num_frames)} have CRC-32 {crc32:08x} and not "
                f"{self.tokens_crc32:08x}: file or model are not what they were when it was written"
            )

    def to_bytes(self) -> bytes:
        """The payload of a VGRP chunk.

        Raises:
            ConfigError: A value is outside its range.
        """
        if not 1 <= self.num_frames <= MAX_FRAMES_PER_GROUP:
            raise ConfigError(f"group of {self.num_frames} frames: must be 1 to {MAX_FRAMES_PER_GROUP}")
        if min(self.pts) < MIN_PTS or max(self.pts) > MAX_PTS:
            raise ConfigError(f"pts are {min(self.pts)} to {max(self.pts)}: must fit signed 64 bits")
        if not (0 <= self.quality <= _MAX_QUALITY and self.quality == stored_quality(self.quality)):
            raise ConfigError(f"quality of a group is {self.quality:g}: must be a multiple of 1/256, 0 to 65535/256")
        pts_bytes = encode_pts(self.pts)
        steps = round(self.quality * QUALITY_STEPS)
        counts = self.first_frame, self.num_frames, steps, self.num_latent_frames, self.tokens_crc32
        try:
            head = _FIELDS.pack(*counts, len(pts_bytes), self.pts[0])
        except struct.error as error:
            raise ConfigError(
                f"first frame, frames, quality, latent frames, CRC of a group are {counts}: {error}"
            ) from None
        return with_crc(head) + pts_bytes + self.coded

    @classmethod
    def from_bytes(cls, payload: bytes) -> "VideoGroup":
        """The group in the payload of a VGRP chunk.

        Raises:
            LimitError: More than 256 frames are declared.
            FormatError: A length does not fit the payload, or timestamps are damaged.
        """
        head = GroupHead.from_bytes(payload)
        pts_end = HEAD_BYTES + head.pts_length
        if pts_end > len(payload):
            raise FormatError(f"{head.pts_length} bytes of timestamps declared in a payload of {len(payload)}")
        return cls(
            first_frame=head.first_frame,
            pts=decode_pts(payload[HEAD_BYTES:pts_end], first_pts=head.first_pts, num_frames=head.num_frames),
            num_latent_frames=head.num_latent_frames,
            quality=head.quality,
            tokens_crc32=head.tokens_crc32,
            coded=payload[pts_end:],
        )


class GroupHead(NamedTuple):
    """The fixed part of a VGRP payload. Its own CRC allows readers to name the frames that damage elsewhere affects."""

    first_frame: int
    num_frames: int
    quality_steps: int
    num_latent_frames: int
    tokens_crc32: int
    pts_length: int
    first_pts: int

    @property
    def quality(self) -> float:
        """The quality of the group."""
        return self.quality_steps / QUALITY_STEPS

    @classmethod
    def from_bytes(cls, payload: bytes) -> "GroupHead":
        """The fixed part at the beginning of `payload`, or FormatError."""
        body = without_crc(payload[:HEAD_BYTES])
        if len(payload) < HEAD_BYTES or body is None:
            raise ChecksumError("the description of the group is damaged")
        head = cls(*_FIELDS.unpack(body))
        if head.num_frames > MAX_FRAMES_PER_GROUP:
            raise LimitError(f"group declares {head.num_frames} frames: the limit is {MAX_FRAMES_PER_GROUP}")
        if head.num_frames < 1:
            raise FormatError("group declares no frames")
        return head


def frame_range(first_frame: int, num_frames: int) -> str:
    """The frames in words, for messages."""
    return f"frames {first_frame} to {first_frame + num_frames - 1}"


def encode_pts(pts: Sequence[int]) -> bytes:
    """The pts bytes: all timestamps but the first.

    Example:
        >>> encode_pts([7, 1008, 2009, 3010]).hex(" ")  # one step of 1001 (zigzag 2002), then twice no change
        'd2 0f 00 01'
    """
    data = bytearray()
    step = run = 0
    for before, pts_now in pairwise(pts):
        change, step = pts_now - before - step, pts_now - before
        if change == 0:
            run += 1
            continue
        data += _run(run) + varint(zigzag(change))
        run = 0
    return bytes(data + _run(run))


def decode_pts(data: bytes, *, first_pts: int, num_frames: int) -> tuple[int, ...]:
    """The timestamps `[num_frames]` that `encode_pts` was given.

    Raises:
        FormatError: `data` does not hold exactly `num_frames - 1` changes, or a timestamp exceeds 64 bits.
    """
    pts, step, position = [first_pts], 0, 0
    while len(pts) < num_frames:
        value, position = read_varint(data, position)
        repeats = 1
        if value == 0:
            run, position = read_varint(data, position)
            repeats = run + 1
            if repeats > num_frames - len(pts):
                raise FormatError(f"timestamps: {repeats} equal steps for {num_frames - len(pts)} frames")
        step += unzigzag(value)
        for _ in range(repeats):
            pts.append(pts[-1] + step)
    if position != len(data):
        raise FormatError(f"timestamps: {len(data) - position} bytes left over after {num_frames} frames")
    if min(pts) < MIN_PTS or max(pts) > MAX_PTS:
        raise FormatError("timestamps: a value exceeds 64 bits")
    return tuple(pts)


def _run(length: int) -> bytes:
    """A run of `length` unchanged steps."""
    return varint(0) + varint(length - 1) if length else b""
