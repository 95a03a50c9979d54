"""The groups of a range of a video, encoded as they are in a file of the whole: what one machine does of a long video.

The networks see the past of a latent frame only as far as they have blocks, so a range begins so many chunks early, and
the codes of those are dropped. What the frames of a range are was found out by a scan of the whole video: their
timestamps and a checksum of their pixels. A range is decoded from a keyframe before it; should that give other frames
than the scan, as in damaged or unusual files, it is decoded again from the beginning of the video.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.codec.encoder import encode_chunks
from vtok.codec.source import SourceChunk
from vtok.container.groups import VideoGroup
from vtok.errors import MediaError
from vtok.files.options import EncodeOptions
from vtok.media.reader import VideoReader
from vtok.model.pretrained_model import PretrainedModel
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.paths import StrPath
from vtok.video.frame import Frame

_EARLIER_SECONDS = 1  # so much before a range a keyframe is looked for: FFmpeg's index may be off by a few frames


class ChunkMark(NamedTuple):
    """What tells the frames of a chunk from all others: their timestamps, and the CRC-32 of their planes."""

    pts: tuple[int, ...]
    crc32: int


@dataclass(frozen=True, slots=True)
class SourceRange:
    """Consecutive groups of a video, and what comes before them as far as the networks reach.

    Attributes:
        first_chunk: Number of the first of `marks` in the video.
        num_before: How many of `marks` come before the range.
        chunks_per_group: Chunks of every group but the video's last.
        marks: What the chunks are.
    """

    first_chunk: int
    num_before: int
    chunks_per_group: int
    marks: tuple[ChunkMark, ...]

    @property
    def num_frames(self) -> int:
        """Frames of the range."""
        return sum(len(mark.pts) for mark in self.marks[self.num_before :])


class UnrepeatableError(MediaError):
    """A video gives other frames each time it is decoded, as a damaged one can, so that it cannot be split."""


class _OtherFramesError(Exception):
    """What was decoded is not what the scan found."""


def mark_of(frames: Sequence[Frame]) -> ChunkMark:
    """The mark of a chunk."""
    crc32 = 0
    for frame in frames:
        for plane in (frame.y, frame.u, frame.v):
            crc32 = zlib.crc32(plane.data, crc32)
    return ChunkMark(tuple(frame.pts for frame in frames), crc32)


def encode_range(
    source: StrPath, part: SourceRange, options: EncodeOptions, *, model: PretrainedModel
) -> list[VideoGroup]:
    """The groups of a range, equal to those of a file that `encode_file` writes of the whole video.

    Args:
        source: The video.
        part: The range.
        options: How to encode.
        model: What encodes it.

    Raises:
        UnrepeatableError: The video is not what was scanned, even decoded from its beginning.
        VtokError: Of any other kind.
    """
    arithmetic = choose_arithmetic(options.device, options.precision)
    for seeks in (True, False) if part.first_chunk else (False,):
        with suppress(_OtherFramesError), VideoReader(source, allow_hdr=options.allow_hdr) as reader:
            items = encode_chunks(
                _chunks(reader, part, seeks=seeks),
                model,
                reader.info,
                quality=options.quality,
                arithmetic=arithmetic,
                verify=options.verify,
                num_before=part.num_before,
                first_frame=FRAMES_PER_CHUNK * (part.first_chunk + part.num_before),
            )
            with closing(items):
                return [item for item in items if isinstance(item, VideoGroup)]
    raise UnrepeatableError(f"{source}: gives other frames each time it is decoded. Encode it without splitting")


def _chunks(reader: VideoReader, part: SourceRange, *, seeks: bool) -> Iterator[SourceChunk]:
    """The chunks of a range and those before it, each as it was scanned; else _OtherFramesError."""
    if seeks:
        frames = _frames_from(reader, part.marks[0].pts[0])
    else:
        frames = islice(reader, FRAMES_PER_CHUNK * part.first_chunk, None)
    for number, mark in enumerate(part.marks, start=1 - part.num_before):
        chunk = list(islice(frames, len(mark.pts)))
        if not chunk or mark_of(chunk) != mark:
            raise _OtherFramesError
        yield SourceChunk(chunk, [], ends_group=number % part.chunks_per_group == 0)


def _frames_from(reader: VideoReader, pts: int) -> Iterator[Frame]:
    """The frames from that of timestamp `pts` on, decoded from a keyframe before it."""
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
