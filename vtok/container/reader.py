"""Reads a `.vtok` file: a header, groups of frames, and an end. `docs/format.md` is the specification.

    file      16 bytes, HEAD, [apkt], VGRP, ..., [head], [indx], DONE  (chunks.py draws the framing of a payload)
    HEAD      JSON (header.py); head is a copy of it
    VGRP      a group of frames: its numbers, its timestamps, its entropy-coded motion and codes (groups.py)
    apkt      packets of sound and subtitles of about the time of the group after it (packets.py)
    indx      the place of each group (footer.py)
    DONE      the totals (footer.py)

The writer (`vtok/container/writer.py`) never seeks, and the reader seeks only when asked for a single group. Groups
need nothing but the header, and no part of a file needs anything after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

from vtok.container import chunks
from vtok.container.chunks import ChunkHead, ChunkReader, find_next_chunk, parse_head
from vtok.container.footer import DONE_PAYLOAD_BYTES, LOCATION, End, GroupLocation, Totals, parse_done
from vtok.container.groups import HEAD_BYTES as GROUP_HEAD_BYTES
from vtok.container.groups import GroupHead, VideoGroup, frame_range
from vtok.container.header import MAX_FRAMES_PER_GROUP, FileHeader
from vtok.container.packets import PacketChunk, PacketHead
from vtok.errors import ChecksumError, FormatError, TruncatedError

__all__ = [
    "MAX_FRAMES_PER_GROUP",
    "ContainerReader",
    "FileHeader",
    "GroupLocation",
    "Index",
    "PacketChunk",
    "Totals",
    "VideoGroup",
    "find_next_chunk",
]


class Index(NamedTuple):
    """The places of a file's groups, and its end chunk's header and contents, both None if the file was cut off."""

    locations: list[GroupLocation]
    done: ChunkHead | None = None
    end: End | None = None

    @property
    def last_frame_ticks(self) -> int:
        """Duration of the last frame, in units of the time base; 0 if it is not known."""
        return self.end.last_frame_ticks if self.end else 0


class ContainerReader:
    """Reads a file from front to back: iterating yields its groups and never seeks, so a pipe will do.

    In a faulty file, the complete groups before the fault come first, then the error: TruncatedError if the data ends
    too early, ChecksumError if it was changed, another FormatError if it makes no sense.

    Attributes:
        header: The file's header.
        body_byte_offset: Byte offset of the chunk after the header.
        progress: Totals of the groups that iterating has yielded so far.
        totals: Totals of the file; None until iterating has reached its end chunk.
        last_frame_ticks: Duration of the last frame, in units of the time base; 0 until iterating has reached the end
            chunk, or if it is not known.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read the header of `file`; the caller has to close it.

        Raises:
            UnsupportedVersionError: A newer reader is needed.
            FormatError: The file is not a `.vtok` file, or its beginning is damaged.
        """
        self.progress = Totals()
        self.totals: Totals | None = None
        self.last_frame_ticks = 0
        self._file = file
        self._is_done = False
        self._chunks = ChunkReader(file)
        self._chunks.read_preamble()
        head = self._chunks.read_head()
        if head.kind != chunks.HEAD:
            raise FormatError(f"{head.place} is the first chunk: it must be HEAD")
        self.header = FileHeader.from_bytes(_read_payload(self._chunks, head))
        self.body_byte_offset = self._chunks.byte_offset

    def __iter__(self) -> Iterator[VideoGroup]:
        """The groups that were not read yet, in order; each is checked, and so is everything between them.

        Raises:
            FormatError: The file is damaged; the class says how.
        """
        return (item for item in self.items() if isinstance(item, VideoGroup))

    def items(self) -> Iterator[VideoGroup | PacketChunk]:
        """Yield the groups and the chunks of packets that were not read yet, in the order of the file.

        Raises:
            FormatError: The file is damaged; the class says how.
        """
        while not self._is_done:
            try:
                head = self._chunks.read_head()
                payload = _read_payload(self._chunks, head, self.header)
            except TruncatedError as error:
                num_frames, num_groups, _ = self.progress
                raise TruncatedError(f"{error}; complete are {num_groups} groups with {num_frames} frames") from None
            if head.kind == chunks.GROUP:
                group = self._parse_group(head, payload)
                if group.first_frame != self.progress.num_frames:
                    raise FormatError(
                        f"{head.place} begins with frame {group.first_frame}: expected {self.progress.num_frames}"
                    )
                self.progress = self.progress.plus(group)
                yield group
            elif head.kind == chunks.PACKETS and head.is_known:
                yield read_packet_chunk(head, payload, self.header)
            elif head.kind == chunks.DONE:
                self._end(head, payload)
            elif not head.is_ancillary:
                raise FormatError(f"{head.place} is a second header: there must be one")

    def read_index(self) -> Index:
        """The place of each group, for `read_group`. Needs a file that can seek, and keeps its position.

        The result comes from the index if that is sound, else from a walk over the chunk headers, which gives the same.
        For a file that was cut off, it has the complete groups.

        Raises:
            FormatError: There is no sound index, and the walk met damage.
        """
        with self._position_kept():
            try:
                return self._index_before(self._done_head())
            except FormatError:
                return self.walk()

    def walk(self) -> Index:
        """The result of `read_index`, from the headers of all complete chunks, whatever the index says.

        Raises:
            FormatError: One of these headers is damaged.
        """
        with self._position_kept():
            size = self._file.seek(0, 2)
            locations: list[GroupLocation] = []
            byte_offset, sequence = self.body_byte_offset, 1
            while byte_offset + chunks.CHUNK_HEAD_BYTES <= size:
                reader = self._chunks_at(byte_offset, sequence)
                head = reader.read_head()
                if head.end_offset > size:
                    break
                if head.kind == chunks.GROUP:
                    group = GroupHead.from_bytes(self._file.read(min(head.length, GROUP_HEAD_BYTES)))
                    expected = locations[-1].end_frame if locations else 0
                    if group.first_frame != expected:
                        raise FormatError(f"{head.place} begins with frame {group.first_frame}: expected {expected}")
                    locations.append(GroupLocation(sequence, byte_offset, group.first_frame, group.num_frames))
                elif head.kind == chunks.DONE:
                    return Index(locations, head, parse_done(head, _read_payload(reader, head)))
                byte_offset, sequence = head.end_offset, sequence + 1
        return Index(locations)

    def check_index(self) -> None:
        """Compare the index, if there is one, with the groups. Needs a sound file that can seek.

        Raises:
            FormatError: The index does not agree with the groups.
        """
        walked = self.walk()
        if walked.done is None or walked.end is None or not walked.end.index_offset:
            return
        with self._position_kept():
            try:
                # Take the end chunk from the walk, not from the end of the file: later versions may have a longer one.
                indexed = self._index_before(walked.done)
            except FormatError as error:
                raise type(error)(f"the index is not sound: {error}") from None
        if indexed != walked:
            raise FormatError("the index does not agree with the groups")

    def read_group(self, location: GroupLocation) -> VideoGroup:
        """The group at a place from `read_index`, checked; keeps the position of the file.

        Raises:
            FormatError: The group is damaged, or is not the one that `location` describes.
        """
        with self._position_kept():
            reader = self._chunks_at(location.byte_offset, location.sequence)
            head = reader.read_head()
            payload = _read_payload(reader, head)
        if head.kind != chunks.GROUP:
            raise FormatError(f"{head.place} is where the index promises a group")
        group = self._parse_group(head, payload)
        if (group.first_frame, group.num_frames) != location[2:]:
            raise FormatError(f"{head.place} is not that of {frame_range(*location[2:])}, as the index promises")
        return group

    def read_group_head(self, location: GroupLocation) -> GroupHead:
        """The fixed part of a group, checked, without the rest of it; keeps the position of the file.

        Raises:
            FormatError: The fixed part is damaged, or there is no group.
        """
        with self._position_kept():
            head = self._chunks_at(location.byte_offset, location.sequence).read_head()
            if head.kind != chunks.GROUP:
                raise FormatError(f"{head.place} is where the index promises a group")
            try:
                return GroupHead.from_bytes(self._file.read(min(head.length, GROUP_HEAD_BYTES)))
            except FormatError as error:
                raise type(error)(f"{head.place}: {error}") from None

    def read_coded_start(self, location: GroupLocation, num_bytes: int) -> bytes:
        """The first of a group's entropy-coded bytes, without a check of the CRC that covers them.

        Raises:
            FormatError: The fixed part is damaged, or there is no group.
        """
        start = GROUP_HEAD_BYTES + self.read_group_head(location).pts_length
        with self._position_kept():
            head = self._chunks_at(location.byte_offset, location.sequence).read_head()
            self._file.seek(start, 1)
            return self._file.read(max(0, min(num_bytes, head.length - start)))

    def _parse_group(self, head: ChunkHead, payload: bytes) -> VideoGroup:
        try:
            group = VideoGroup.from_bytes(payload)
            self.header.check_group(group.num_frames, group.num_latent_frames)
        except FormatError as error:
            raise type(error)(f"{head.place}: {error}") from None
        return group

    def _end(self, head: ChunkHead, payload: bytes) -> None:
        """Check the end of the file against what came before."""
        end = parse_done(head, payload)
        if end.totals != self.progress:
            raise FormatError(f"{head.place} promises {end.totals}, but the file has {self.progress}")
        if not self._chunks.is_at_end():
            raise FormatError(f"data follows {head.place}, which must be the last")
        self.totals, self.last_frame_ticks = end.totals, end.last_frame_ticks
        self._is_done = True

    def _index_before(self, done: ChunkHead) -> Index:
        """The index before the end chunk; FormatError if there is no sound one."""
        reader = self._chunks_at(done.byte_offset, done.sequence)
        end = parse_done(done, _read_payload(reader, reader.read_head()))
        reader = self._chunks_at(end.index_offset, done.sequence - 1)
        head = reader.read_head()
        payload = _read_payload(reader, head)
        if (
            head.kind != chunks.INDEX
            or not head.is_known
            or head.end_offset != done.byte_offset
            or len(payload) % LOCATION.size
        ):
            raise FormatError(f"{head.place} is no index")
        locations = [GroupLocation(*fields) for fields in LOCATION.iter_unpack(payload)]
        num_frames = 0
        for location in locations:
            if location.first_frame != num_frames or not 1 <= location.num_frames <= MAX_FRAMES_PER_GROUP:
                raise FormatError(f"{head.place} has a gap before or after frame {location.first_frame}")
            num_frames += location.num_frames
        if (num_frames, len(locations)) != end.totals[:2]:
            raise FormatError(f"{head.place} is not complete")
        return Index(locations, done, end)

    def _done_head(self) -> ChunkHead:
        """The header of the end chunk, found from the end of the file."""
        size = self._file.seek(0, 2)
        for payload_bytes in DONE_PAYLOAD_BYTES:
            byte_offset = size - chunks.CHUNK_HEAD_BYTES - payload_bytes - chunks.CRC_BYTES
            self._file.seek(max(byte_offset, 0))
            head = parse_head(self._file.read(chunks.CHUNK_HEAD_BYTES), byte_offset)
            if head is not None and head.kind == chunks.DONE:
                return head
        raise FormatError("no end chunk of this version at the end of the file")

    def _chunks_at(self, byte_offset: int, sequence: int) -> ChunkReader:
        """A reader of chunk `sequence` and the chunks after it; FormatError beyond the end of the file."""
        if not 0 <= byte_offset < self._file.seek(0, 2):
            raise FormatError(f"no chunk at byte offset {byte_offset}: the file ends before it")
        self._file.seek(byte_offset)
        return ChunkReader(self._file, byte_offset=byte_offset, sequence=sequence)

    @contextmanager
    def _position_kept(self) -> Iterator[None]:
        position = self._file.tell()
        try:
            yield
        finally:
            self._file.seek(position)


def read_packet_chunk(head: ChunkHead, payload: bytes, header: FileHeader) -> PacketChunk:
    """The packets in the payload of the chunk that begins with `head`; a FormatError names the chunk."""
    try:
        return PacketChunk.from_bytes(payload, len(header.tracks))
    except FormatError as error:
        raise type(error)(f"{head.place}: {error}") from None


def _read_payload(reader: ChunkReader, head: ChunkHead, header: FileHeader | None = None) -> bytes:
    """The payload after `head`; a ChecksumError names the lost frames or the time of lost packets, if known."""
    payload, is_intact = reader.read_payload(head)
    if is_intact:
        return payload
    lost = ""
    if head.kind == chunks.GROUP:
        with suppress(FormatError):
            group = GroupHead.from_bytes(payload)
            lost = f": {frame_range(group.first_frame, group.num_frames)} are lost"
    elif head.kind == chunks.PACKETS and header is not None:
        with suppress(FormatError):
            lost = f": {PacketHead.from_bytes(payload).loss(header.tracks, header.time_base)}"
    raise ChecksumError(f"{head.place} is damaged{lost}")
