"""Encodes a range of a long video, the share of one worker, to the same groups as in a file of the whole video.

Groups stand alone, so a range needs nothing but its own frames. A scan of the whole video has recorded these: their
timestamps and a checksum of their pixels. A range is decoded from a keyframe before it. If this gives other frames than
the scan, as in damaged or unusual files, the range is decoded again from the beginning of the video.
"""

import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from vtok.codec.encoder import encode_chunks
from vtok.codec.source import SourceChunk
from vtok.container.groups import VideoGroup
from vtok.errors import MediaError
from vtok.files.options import EncodeOptions
from vtok.files.source import source_reader
from vtok.media.reader import VideoReader
from vtok.model.pretrained_model import PretrainedModel
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.paths import StrPath
from vtok.video.frame import Frame

_EARLIER_SECONDS = 1  # keyframes are looked for this long before a range: FFmpeg's index may be off by a few frames


class ChunkMark(NamedTuple):
    """Identifies a chunk: timestamps and CRC-32 of the planes of its frames, and whether a group ends with it."""

    pts: tuple[int, ...]
    crc32: int
    ends_group: bool


@dataclass(frozen=True, slots=True)
class SourceRange:
    """Consecutive groups of a video.

    Attributes:
        first_frame: Number in the video of its first frame.
        marks: The marks of all its chunks.
    """

    first_frame: int
    marks: tuple[ChunkMark, ...]

    @property
    def num_frames(self) -> int:
        """Number of frames in the range."""
        return sum(len(mark.pts) for mark in self.marks)


class UnrepeatableError(MediaError):
    """A video gives other frames each time it is decoded, as damaged ones can; it cannot be split."""


class _OtherFramesError(Exception):
    """The decoded frames are not those that the scan found."""


def mark_of(chunk: SourceChunk) -> ChunkMark:
    """Return the mark of a chunk."""
    crc32 = 0
    for frame in chunk.frames:
        for plane in (frame.y, frame.u, frame.v):
            crc32 = zlib.crc32(plane.data, crc32)
    return ChunkMark(tuple(frame.pts for frame in chunk.frames), crc32, chunk.ends_group)


def encode_range(
    source: StrPath, part: SourceRange, options: EncodeOptions, *, model: PretrainedModel
) -> list[VideoGroup]:
    """Return the groups of a range, equal to those in the file that `encode_file` writes of the whole video.

    Args:
        source: The video.
        part: The range.
        options: The options of encoding.
        model: The model that encodes.

    Raises:
        UnrepeatableError: The frames differ from the scanned ones, even when decoded from the beginning of the video.
        VtokError: Encoding failed for another reason.
    """
    arithmetic = choose_arithmetic(options.device, options.precision)
    for seeks in (True, False) if part.first_frame else (False,):
        with (
            suppress(_OtherFramesError),
            source_reader(source, options) as reader,
        ):
            items = encode_chunks(
                _chunks(reader, part, seeks=seeks),
                model,
                reader.info,
                quality=options.quality,
                arithmetic=arithmetic,
                effort=options.effort,
                verify=options.verify,
                first_frame=part.first_frame,
            )
            with closing(items):
                return [item for item in items if isinstance(item, VideoGroup)]
    raise UnrepeatableError(f"{source}: gives other frames each time it is decoded. Encode it without splitting")


def _chunks(reader: VideoReader, part: SourceRange, *, seeks: bool) -> Iterator[SourceChunk]:
    """Yield the chunks of a range; raise _OtherFramesError if one differs from the scan."""
    frames = _frames_from(reader, part.marks[0].pts[0]) if seeks else islice(reader, part.first_frame, None)
    for mark in part.marks:
        chunk = SourceChunk(list(islice(frames, len(mark.pts))), [], mark.ends_group)
        if mark_of(chunk) != mark:
            raise _OtherFramesError
        yield chunk


def _frames_from(reader: VideoReader, pts: int) -> Iterator[Frame]:
    """Yield the frames from the one with timestamp `pts` on, decoded from a keyframe before it."""
    try:
        reader.seek(max(0, pts - round(_EARLIER_SECONDS / reader.info.time_base)))
    except MediaError:
        raise _OtherFramesError from None
    for frame in reader:
        if frame.pts > pts:
            raise _OtherFramesError
        if frame.pts == pts:
            yield frame
            break
    yield from reader
