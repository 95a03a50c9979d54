"""Find the packets of a stretch of time in a `.vtok` file, by a walk from chunk header to chunk header."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import BinaryIO, NamedTuple

from vtok.container import chunks
from vtok.container.chunks import CHUNK_HEAD_BYTES, ChunkHead, ChunkReader, find_next_chunk, parse_head
from vtok.container.header import FileHeader
from vtok.container.packets import HEAD_BYTES, PacketHead
from vtok.container.reader import GroupLocation, read_packet_chunk
from vtok.errors import ChecksumError, FormatError
from vtok.video.times import Span
from vtok.video.tracks import TrackPacket


class PacketLocation(NamedTuple):
    """A chunk of packets: the header of the chunk, and the fixed part of its payload."""

    chunk: ChunkHead
    head: PacketHead


def read_packets(
    file: BinaryIO, header: FileHeader, locations: Iterable[PacketLocation], span: Span
) -> Iterator[TrackPacket]:
    """Yield the packets that begin in `span`, in the order of the file.

    Args:
        file: A `.vtok` file that can seek.
        header: The file's header.
        locations: The file's chunks of packets, or those worth reading.
        span: The stretch of time.

    Raises:
        FormatError: A chunk that may hold such packets is damaged.
    """
    for chunk, head in locations:
        if not _may_begin_in(span, head, header.time_base):
            continue
        file.seek(chunk.byte_offset + CHUNK_HEAD_BYTES)
        payload, is_intact = ChunkReader(file).read_payload(chunk)
        if not is_intact:
            raise ChecksumError(f"{chunk.place} is damaged: {head.loss(header.tracks, header.time_base)}")
        for packet in read_packet_chunk(chunk, payload, header).packets:
            if span.has(packet.seconds(header.tracks)):
                yield packet


def locate_packets(file: BinaryIO, body_offset: int, needed: range) -> Iterator[PacketLocation]:
    """Yield the chunks of packets of a file, found on demand by a walk from chunk to chunk.

    Args:
        file: A file that can seek; its position may change between two results.
        body_offset: Byte offset of the chunk after the header.
        needed: Byte offsets where everything has to be sound. Damage elsewhere is skipped, and its losses are not
            reported.

    Raises:
        FormatError: Something within `needed` is damaged or missing.
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
            return  # the reader of the groups reports that the file was cut off
        if head.kind == chunks.PACKETS and head.is_known:
            file.seek(head.byte_offset + CHUNK_HEAD_BYTES)
            try:
                yield PacketLocation(head, PacketHead.from_bytes(file.read(min(head.length, HEAD_BYTES))))
            except FormatError:
                if head.byte_offset in needed:
                    raise ChecksumError(f"{head.place} is damaged") from None
        byte_offset, sequence = head.end_offset, head.sequence + 1


def bytes_around(groups: Sequence[GroupLocation], frames: range) -> range:
    """Byte offsets of the packets of some frames, which a proper writer puts beside the frames' groups."""
    first = bisect_right(groups, frames.start, key=lambda group: group.first_frame) - 1
    behind = bisect_left(groups, frames.stop, key=lambda group: group.first_frame)
    begin = groups[first - 1].byte_offset + 1 if first > 0 else 0
    return range(begin, groups[behind].byte_offset if behind < len(groups) else 1 << 62)


def _may_begin_in(span: Span, head: PacketHead, time_base: Fraction) -> bool:
    """Whether a packet of a chunk may begin in `span`."""
    is_before = span.begin is not None and head.end * time_base < span.begin
    return not is_before and (span.end is None or head.begin * time_base < span.end)
