"""The groups of a range of a video, encoded as they are in a file of the whole: what one machine does of a long video.

The networks see the past of a latent frame only as far as they have blocks, so a range begins so many chunks early, and
the codes of those are dropped. What the frames of a range are was found out by a scan of the whole video: their
timestamps and a checksum of their pixels. A range is decoded from a keyframe before it; should that give other frames
than the scan, as in damaged or unusual files, it is decoded again from the beginning of the video.
"""

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK, ChunkEncoder, file_model
from vtok.codec.file_model import file_prior
from vtok.codec.group_encoder import GroupEncoder
from vtok.container.groups import VideoGroup
from vtok.entropy.frame_coder import Codes
from vtok.entropy.integer_products import entropy_coding_threads
from vtok.errors import MediaError
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import choose_arithmetic
from vtok.system.pipeline import DEPTH, ahead
from vtok.system.threads import num_threads
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


def chunks_before(tokenizer: VideoTokenizer) -> int:
    """How many chunks before one its codes depend on."""
    return file_model(tokenizer).config.num_analysis_blocks


def encode_range(
    source: str | os.PathLike[str],
    part: SourceRange,
    *,
    tokenizer: VideoTokenizer,
    quality: float,
    allow_hdr: bool = False,
    verify: bool = False,
    device: str = "auto",
    precision: str = "auto",
) -> list[VideoGroup]:
    """The groups of a range, equal to those of a file that `encode_file` writes of the whole video.

    Args:
        source: The video.
        part: The range.
        tokenizer: As for `vtok.files.encode.encode_file`, and so the rest.
        quality: See above.
        allow_hdr: See above.
        verify: See above.
        device: See above.
        precision: See above.

    Raises:
        UnrepeatableError: The video is not what was scanned, even decoded from its beginning.
        VtokError: Of any other kind.
    """
    arithmetic = choose_arithmetic(device, precision)
    prior = file_prior(tokenizer)
    for seeks in (True, False) if part.first_chunk else (False,):
        with suppress(_OtherFramesError), VideoReader(source, allow_hdr=allow_hdr) as reader:
            encoder = ChunkEncoder(tokenizer, reader.info, quality, arithmetic)
            group, groups = GroupEncoder(prior, quality, verify=verify), []
            first_frame = FRAMES_PER_CHUNK * (part.first_chunk + part.num_before)
            with (
                ahead(_chunks(reader, part, seeks=seeks), depth=DEPTH) as chunks,
                ahead(_coded(encoder, chunks, part), depth=DEPTH) as coded,
                num_threads(entropy_coding_threads()),
            ):
                for number, (chunk, codes) in enumerate(coded, start=1 - part.num_before):
                    if number < 1:
                        continue
                    group.push(codes, [frame.pts for frame in chunk])
                    if number % part.chunks_per_group == 0 or number == len(part.marks) - part.num_before:
                        groups.append(group.finish(first_frame))
                        first_frame += groups[-1].num_frames
                        group = GroupEncoder(prior, quality, verify=verify)
            return groups
    raise UnrepeatableError(f"{source}: gives other frames each time it is decoded. Encode it without splitting")


def _coded(
    encoder: ChunkEncoder, chunks: Iterable[list[Frame]], part: SourceRange
) -> Iterator[tuple[list[Frame], Codes]]:
    """Each chunk with its codes."""
    for number, chunk in enumerate(chunks, -part.num_before):
        if number % part.chunks_per_group == 0:
            encoder.start_group()
        yield chunk, encoder.encode(chunk)


def _chunks(reader: VideoReader, part: SourceRange, *, seeks: bool) -> Iterator[list[Frame]]:
    """The chunks of a range and those before it, each as it was scanned; else _OtherFramesError."""
    if seeks:
        frames = _frames_from(reader, part.marks[0].pts[0])
    else:
        frames = islice(reader, FRAMES_PER_CHUNK * part.first_chunk, None)
    for mark in part.marks:
        chunk = list(islice(frames, len(mark.pts)))
        if not chunk or mark_of(chunk) != mark:
            raise _OtherFramesError
        yield chunk


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
