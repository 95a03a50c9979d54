"""The audio packets of a stretch of time in a `.vtok` file: their chunks are found by a walk from header to header."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import BinaryIO, NamedTuple

from vtok.container import chunks
from vtok.container.audio import HEAD_BYTES, AudioHead
from vtok.container.chunks import CHUNK_HEAD_BYTES, ChunkHead, ChunkReader, find_next_chunk, parse_head
from vtok.container.header import FileHeader
from vtok.container.reader import GroupLocation, read_audio_chunk
from vtok.errors import ChecksumError, FormatError
from vtok.video.times import Span
from vtok.video.tracks import AudioPacket


class AudioLocation(NamedTuple):
    """A chunk of audio packets: its header, and what it says of itself."""

    chunk: ChunkHead
    head: AudioHead


def read_packets(
    file: BinaryIO, header: FileHeader, locations: Iterable[AudioLocation], span: Span
) -> Iterator[AudioPacket]:
    """The packets that begin in `span`, in the order of the file.

    Args:
        file: A `.vtok` file that can seek.
        header: Its header.
        locations: Its chunks of audio packets, or those worth reading.
        span: Which packets.

    Raises:
        FormatError: A chunk that may hold such packets is damaged.
    """
    for chunk, head in locations:
        if not _may_begin_in(span, head, header.time_base):
            continue
        file.seek(chunk.byte_offset + CHUNK_HEAD_BYTES)
        payload, is_intact = ChunkReader(file).read_payload(chunk)
        if not is_intact:
            raise ChecksumError(f"{chunk.place} is damaged: {head.place(header.time_base)} is lost")
        for packet in read_audio_chunk(chunk, payload, header).packets:
            if span.has(packet.seconds(header.audio)):
                yield packet


def locate_audio(file: BinaryIO, body_offset: int, needed: range) -> Iterator[AudioLocation]:
    """The chunks of audio packets of a file that can seek; found as they are asked for, by a walk from chunk to chunk.

    Args:
        file: The file; between two of the results its position may change.
        body_offset: Byte offset of the chunk after the header.
        needed: Byte offsets where everything has to be sound. Elsewhere damage is passed over, and what is lost there
            is not told.

    Raises:
        FormatError: Something is damaged or missing where all is needed.
    """
    size = file.seek(0, 2)
    byte_offset, sequence = body_offset, 1
    while byte_offset + CHUNK_HEAD_BYTES <= size:
        file.seek(byte_offset)
        head = parse_head(file.read(CHUNK_HEAD_BYTES), byte_offset)
        if (head is None or head.length > head.limit or head.sequence != sequence) and byte_offset in needed:
            raise ChecksumError(f"chunk {sequence} at byte offset {byte_offset} is damaged or missing")
        if head is None or head.length > head.limit:
            head = find_next_chunk(file, byte_offset + 1)
        if head is None or head.end_offset > size:
            return  # of a file that was cut off the reader of the groups tells
        if head.kind == chunks.AUDIO and head.is_known:
            file.seek(head.byte_offset + CHUNK_HEAD_BYTES)
            try:
                yield AudioLocation(head, AudioHead.from_bytes(file.read(min(head.length, HEAD_BYTES))))
            except FormatError:
                if head.byte_offset in needed:
                    raise ChecksumError(f"{head.place} is damaged") from None
        byte_offset, sequence = head.end_offset, head.sequence + 1


def bytes_around(groups: Sequence[GroupLocation], frames: range) -> range:
    """Where in a file the sound of some frames stands, if it is written as it should: beside the groups they are in."""
    first = bisect_right(groups, frames.start, key=lambda group: group.first_frame) - 1
    behind = bisect_left(groups, frames.stop, key=lambda group: group.first_frame)
    begin = groups[first - 1].byte_offset + 1 if first > 0 else 0
    return range(begin, groups[behind].byte_offset if behind < len(groups) else 1 << 62)


def _may_begin_in(span: Span, head: AudioHead, time_base: Fraction) -> bool:
    """Whether a packet of a chunk may begin in `span`."""
    is_before = span.begin is not None and head.end * time_base < span.begin
    return not is_before and (span.end is None or head.begin * time_base < span.end)
