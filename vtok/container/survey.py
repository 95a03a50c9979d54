"""Find everything that is intact in a `.vtok` file, and all faults, for recovery and verification.

The strict reader (`vtok.container.reader`) stops at the first fault. In that case this one searches for chunks, by
their letters and the CRC of their headers. A chunk with two right CRCs is intact wherever it is. Each group names its
own frames, so lost, moved and repeated chunks cause no confusion.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from vtok.container import chunks
from vtok.container.chunks import CHUNK_HEAD_BYTES, ChunkHead, ChunkReader, find_next_chunk, parse_head
from vtok.container.footer import parse_done
from vtok.container.groups import HEAD_BYTES, GroupHead, VideoGroup, frame_range
from vtok.container.header import FileHeader
from vtok.container.packet_index import PacketLocation, locate_packets
from vtok.container.packets import HEAD_BYTES as PACKET_HEAD_BYTES
from vtok.container.packets import PacketHead
from vtok.container.reader import ContainerReader, GroupLocation, Totals, read_packet_chunk
from vtok.errors import ChecksumError, FormatError, TruncatedError, UnsupportedVersionError

MAX_FAULTS = 10_000
# A false chunk header, valid by chance or on purpose, may declare a long payload. Reading it, and searching for the
# next chunk, is wasted work. In a file damaged by accident this adds up to about the size of the file; the budget stops
# files made to be slow.
_WASTE_PER_BYTE, _WASTE, _WASTE_PER_CHUNK = 4, 2 * chunks.MAX_CHUNK_BYTES, 4096
_PREAMBLE_BYTES = len(chunks.pack_preamble())


class Fault(NamedTuple):
    """Something wrong with the bytes from `byte_offset` to `end_offset`; `message` says what in one line."""

    byte_offset: int
    end_offset: int
    message: str


@dataclass(slots=True)
class Survey:
    """The intact parts and the faults of a file.

    Attributes:
        header: The header, or its copy; None if both are lost.
        groups: The intact groups in the order of their frames; none overlaps another.
        packets: The intact chunks of packets, in the order of their sequence numbers.
        num_frames: Number of frames in the file as it was written, as far as its end or a group says.
        faults: The faults, in the order of the file; empty exactly if the strict reader finds no fault and the index,
            if there is one, is right.
        lacks_packets: Whether a chunk of packets is among what is wrong.
    """

    header: FileHeader | None = None
    groups: list[GroupLocation] = field(default_factory=list)
    packets: list[PacketLocation] = field(default_factory=list)
    num_frames: int = 0
    faults: list[Fault] = field(default_factory=list)
    lacks_packets: bool = False


def survey(file: BinaryIO) -> Survey:
    """Survey all of `file`, which can seek.

    Raises:
        FormatError: The file holds no chunk of a `.vtok` file.
        UnsupportedVersionError: The file needs a newer reader.
    """
    file.seek(0)
    try:
        return _survey_of_sound_file(file)
    except UnsupportedVersionError:
        raise
    except FormatError as error:
        return _Salvage(file).survey(error)


def read_surveyed_group(file: BinaryIO, location: GroupLocation) -> VideoGroup:
    """The group at a place from `survey`.

    Raises:
        FormatError: The group is no longer there.
    """
    file.seek(location.byte_offset)
    head = parse_head(file.read(CHUNK_HEAD_BYTES), location.byte_offset)
    payload = _intact_payload(file, head) if head else None
    if head is None or payload is None:
        raise ChecksumError(f"the chunk at byte offset {location.byte_offset} changed while the file was read")
    return VideoGroup.from_bytes(payload)


def _survey_of_sound_file(file: BinaryIO) -> Survey:
    """The survey by the strict reader; FormatError if it finds a fault."""
    reader = ContainerReader(file)
    for _ in reader:
        pass
    packets = list(locate_packets(file, reader.body_byte_offset, range(file.seek(0, 2))))
    result = Survey(reader.header, reader.walk().locations, packets, reader.progress.num_frames)
    try:
        reader.check_index()
    except FormatError as error:
        result.faults.append(Fault(0, file.seek(0, 2), str(error)))
    return result


class _Salvage:
    """A search through a file that is not sound."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self._budget = _WASTE_PER_BYTE * self._size + _WASTE
        self._header: FileHeader | None = None
        self._groups: dict[int, GroupLocation] = {}
        self._packets: dict[int, PacketLocation] = {}
        self._totals: Totals | None = None
        self._faults: list[Fault] = []
        self._lacks_packets = False
        self._lost: set[tuple[int, int]] = set()  # frames that a fault reports as lost: first, and one past the last

    def survey(self, strict_error: FormatError) -> Survey:
        """The survey; raises `strict_error`, the strict reader's error, if there is no chunk at all."""
        found = 0
        for head, payload in self._intact_chunks():
            found += 1
            try:
                self._take(head, payload)
            except FormatError as error:
                self._lacks_packets |= head.kind == chunks.PACKETS
                self._tell(head.byte_offset, head.end_offset, f"{head.place}: {error}")
        if not found:
            raise strict_error
        groups = self._groups_in_order()
        end = groups[-1].end_frame if groups else 0
        num_frames = self._totals.num_frames if self._totals else max([end, *(stop for _, stop in self._lost)])
        if self._header is None:
            self._tell(0, _PREAMBLE_BYTES, "the header is lost")
        self._tell_gaps(groups, num_frames)
        if self._totals is None:
            self._tell(self._size, self._size, "the end chunk is missing: the file was cut off")
        if not self._faults:  # such as chunks in the wrong order, each of them intact
            self._tell(0, self._size, str(strict_error))
        packets = [self._packets[sequence] for sequence in sorted(self._packets)]
        return Survey(self._header, groups, packets, num_frames, sorted(self._faults), self._lacks_packets)

    def _intact_chunks(self) -> Iterator[tuple[ChunkHead, bytes]]:
        """Yield chunks with two right CRCs, and their payloads; report the bytes between them as faults."""
        position = begin = self._end_of_preamble()  # where to search; where the bytes that are in no chunk begin
        while self._budget > 0 and (head := find_next_chunk(self._file, position)) is not None:
            if head.byte_offset > begin:
                self._tell_bytes(begin, head.byte_offset)
            self._file.seek(head.byte_offset + CHUNK_HEAD_BYTES)
            payload = _intact_payload(self._file, head)
            if payload is not None:
                yield head, payload
                position = begin = head.end_offset
                continue
            self._budget -= head.length + _WASTE_PER_CHUNK
            position = begin = self._end_of_damaged_chunk(head)
            self._tell_damaged_chunk(head, begin)
        if self._budget <= 0:
            self._tell(begin, self._size, "too many chunks that are not what they declare: the rest was not searched")
        elif begin < self._size:
            self._tell_bytes(begin, self._size)

    def _end_of_preamble(self) -> int:
        """Byte offset where chunks begin; 0 if signature or versions are damaged, so that a fault reports them."""
        self._file.seek(0)
        try:
            ChunkReader(self._file).read_preamble()
        except UnsupportedVersionError:
            raise
        except FormatError:
            return 0
        return _PREAMBLE_BYTES

    def _end_of_damaged_chunk(self, head: ChunkHead) -> int:
        """Byte offset of the chunk's end: the declared one if a chunk follows there, else that of the next chunk."""
        if head.end_offset < self._size:
            self._file.seek(head.end_offset)
            if parse_head(self._file.read(CHUNK_HEAD_BYTES), head.end_offset) is not None:
                return head.end_offset
        following = find_next_chunk(self._file, head.byte_offset + CHUNK_HEAD_BYTES)
        return following.byte_offset if following else self._size

    def _take(self, head: ChunkHead, payload: bytes) -> None:
        """Keep the contents of an intact chunk; FormatError if they make no sense."""
        if head.kind in (chunks.HEAD, chunks.HEAD_COPY):
            self._header = self._header or FileHeader.from_bytes(payload)
        elif head.kind == chunks.GROUP and head.is_known:
            group = VideoGroup.from_bytes(payload)
            location = GroupLocation(head.sequence, head.byte_offset, group.first_frame, group.num_frames)
            self._groups.setdefault(group.first_frame, location)
        elif head.kind == chunks.PACKETS and head.is_known:
            if self._header:
                read_packet_chunk(head, payload, self._header)
            self._packets.setdefault(head.sequence, PacketLocation(head, PacketHead.from_bytes(payload)))
        elif head.kind == chunks.DONE:
            self._totals = parse_done(head, payload).totals

    def _groups_in_order(self) -> list[GroupLocation]:
        """The groups in the order of frames, without those that claim frames of another group or beyond the end."""
        groups: list[GroupLocation] = []
        for group in sorted(self._groups.values(), key=lambda location: location.first_frame):
            is_beyond = self._totals is not None and group.end_frame > self._totals.num_frames
            if not is_beyond and (not groups or group.first_frame >= groups[-1].end_frame):
                groups.append(group)
        return groups

    def _tell(self, begin: int, end: int, message: str) -> None:
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(Fault(begin, end, message))

    def _tell_bytes(self, begin: int, end: int) -> None:
        self._tell(begin, end, f"{end - begin} bytes from byte offset {begin} on are damaged")

    def _tell_damaged_chunk(self, head: ChunkHead, end: int) -> None:
        self._lacks_packets |= head.kind == chunks.PACKETS
        what, lost = "cut off" if head.end_offset > self._size else "damaged", ""
        if head.kind == chunks.GROUP:
            self._file.seek(head.byte_offset + CHUNK_HEAD_BYTES)
            with suppress(FormatError):
                group = GroupHead.from_bytes(self._file.read(HEAD_BYTES))
                lost = f": {frame_range(group.first_frame, group.num_frames)} are lost"
                self._lost.add((group.first_frame, group.first_frame + group.num_frames))
        elif head.kind == chunks.PACKETS and self._header:
            self._file.seek(head.byte_offset + CHUNK_HEAD_BYTES)
            with suppress(FormatError):
                packets = PacketHead.from_bytes(self._file.read(PACKET_HEAD_BYTES))
                lost = f": {packets.loss(self._header.tracks, self._header.time_base)}"
        self._tell(head.byte_offset, end, f"{head.place} is {what}{lost}")

    def _tell_gaps(self, groups: list[GroupLocation], num_frames: int) -> None:
        """Report lost frames that no fault has named yet."""
        position = byte_offset = 0
        for group in [*groups, GroupLocation(0, self._size, num_frames, 0)]:
            if not self._is_told(position, group.first_frame):
                lost = frame_range(position, group.first_frame - position)
                self._tell(min(byte_offset, group.byte_offset), group.byte_offset, f"{lost} are lost")
            position, byte_offset = group.end_frame, group.byte_offset

    def _is_told(self, first_frame: int, end_frame: int) -> bool:
        """Whether faults report all these frames as lost."""
        for first, end in sorted(self._lost):
            if first <= first_frame:
                first_frame = max(first_frame, end)
        return first_frame >= end_frame


def _intact_payload(file: BinaryIO, head: ChunkHead) -> bytes | None:
    """The payload of a chunk, read from the position of `file`; None if it is damaged, cut off or too long."""
    if head.length > head.limit:
        return None
    with suppress(TruncatedError):
        payload, is_intact = ChunkReader(file).read_payload(head)
        return payload if is_intact else None
    return None
