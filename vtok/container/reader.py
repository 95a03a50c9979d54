"""What a `.vtok` file holds: a header, groups of frames, and an end. `docs/format.md` is the specification.

    file      16 bytes, HEAD, [apkt], VGRP, ..., [head], [indx], DONE  (chunks.py draws what is around a payload)
    HEAD      JSON (header.py); head is a copy of it
    VGRP      a group of frames: its numbers, its timestamps, its entropy-coded codes (groups.py)
    apkt      audio packets of about the time of the group after it (audio.py)
    indx      where each group is, DONE how much there is (footer.py)

The writer (`vtok/container/writer.py`) never seeks, and the reader seeks only when asked for a single group. Groups
need nothing but the header, and nothing at the end of a file is needed to read what comes before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from vtok.container import chunks
from vtok.container.audio import AudioChunk, AudioHead
from vtok.container.chunks import ChunkHead, ChunkReader, find_next_chunk, parse_head
from vtok.container.footer import DONE_PAYLOAD_BYTES, LOCATION, GroupLocation, Totals, parse_done
from vtok.container.groups import HEAD_BYTES as GROUP_HEAD_BYTES
from vtok.container.groups import GroupHead, VideoGroup, frame_range
from vtok.container.header import MAX_FRAMES_PER_GROUP, FileHeader
from vtok.errors import ChecksumError, FormatError, MediaError, TruncatedError, naming

__all__ = [
    "MAX_FRAMES_PER_GROUP",
    "AudioChunk",
    "ContainerReader",
    "FileHeader",
    "GroupLocation",
    "Totals",
    "VideoGroup",
    "find_next_chunk",
    "opened",
]


class ContainerReader:
    """Reads a file from front to back: iterating gives its groups and never seeks, so a pipe will do.

    Whatever is wrong with a file, the complete groups before it come first, then the error: TruncatedError where the
    data ends too early, ChecksumError where it was changed, another FormatError where it makes no sense.

    Attributes:
        header: The file's header.
        body_byte_offset: Where the chunk after the header begins.
        progress: What iterating has given so far.
        totals: What the file contains; None until iterating or `read_index` has come to its end chunk.
        last_frame_ticks: How long its last frame is shown, in units of the time base; 0 until then, or if not known.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read the header of `file`, which stays the caller's to close.

        Raises:
            UnsupportedVersionError: A newer reader is needed.
            FormatError: This is not a `.vtok` file, or its beginning is damaged.
        """
        self.progress = Totals()
        self.totals: Totals | None = None
        self.last_frame_ticks = 0
        self._file = file
        self._is_done = False
        self._done: ChunkHead | None = None
        self._index_byte_offset = 0
        self._chunks = ChunkReader(file)
        self._chunks.read_preamble()
        head = self._chunks.read_head()
        if head.kind != chunks.HEAD:
            raise FormatError(f"{head.place} is the first chunk: it must be HEAD")
        self.header = FileHeader.from_bytes(_read_payload(self._chunks, head))
        self.body_byte_offset = self._chunks.byte_offset

    def __iter__(self) -> Iterator[VideoGroup]:
        """The groups that were not read yet, in order, each checked, and all that lies between them.

        Raises:
            FormatError: See the class.
        """
        return (item for item in self.items() if isinstance(item, VideoGroup))

    def items(self) -> Iterator[VideoGroup | AudioChunk]:
        """The groups and the chunks of audio packets that were not read yet, in the order of the file.

        Raises:
            FormatError: See the class.
        """
        while not self._is_done:
            try:
                head = self._chunks.read_head()
                payload = _read_payload(self._chunks, head, self.header.time_base)
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
            elif head.kind == chunks.AUDIO and head.is_known:
                yield read_audio_chunk(head, payload, self.header)
            elif head.kind == chunks.DONE:
                self._end(head, payload)
            elif not head.is_ancillary:
                raise FormatError(f"{head.place} is a second header: there must be one")

    def read_index(self) -> list[GroupLocation]:
        """Where each group is, for `read_group`. Needs a file that can seek, and leaves its position as it was.

        Taken from the index if there is a sound one, else from a walk over the chunk headers, with the same answer. Of
        a file that was cut off: its complete groups, and `totals` stays None.

        Raises:
            FormatError: There is no index, and the walk came upon damage.
        """
        with self._position_kept():
            try:
                return self._indexed_groups()
            except FormatError:
                return self._walked_groups()

    def walk(self) -> list[GroupLocation]:
        """The same as `read_index`, from the chunk headers alone, whatever the index says."""
        with self._position_kept():
            return self._walked_groups()

    def check_index(self) -> None:
        """Compare the index, if there is one, with the groups. Needs a sound file that can seek.

        Raises:
            FormatError: It says something else.
        """
        walked = self.walk()
        with self._position_kept():
            try:
                # Where the walk ended, not at the end of the file: an end chunk of a later version may be longer.
                is_right = not (self._done and self._index_byte_offset) or self._index_before(self._done) == walked
            except FormatError as error:
                raise type(error)(f"the index is not sound: {error}") from None
        if not is_right:
            raise FormatError("the index does not agree with the groups")

    def read_group(self, location: GroupLocation) -> VideoGroup:
        """The group at a place that `read_index` gave, checked; leaves the position of the file as it was.

        Raises:
            FormatError: The group is damaged, or not the one that `location` says.
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
        """What a group says of itself, checked, without the rest of it; leaves the position of the file as it was.

        Raises:
            FormatError: It is damaged, or there is no group.
        """
        with self._position_kept():
            head = self._chunks_at(location.byte_offset, location.sequence).read_head()
            if head.kind != chunks.GROUP:
                raise FormatError(f"{head.place} is where the index promises a group")
            try:
                return GroupHead.from_bytes(self._file.read(min(head.length, GROUP_HEAD_BYTES)))
            except FormatError as error:
                raise type(error)(f"{head.place}: {error}") from None

    def _parse_group(self, head: ChunkHead, payload: bytes) -> VideoGroup:
        try:
            group = VideoGroup.from_bytes(payload, is_restart=head.is_restart)
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

    def _indexed_groups(self) -> list[GroupLocation]:
        """The groups according to the index, found from the end of the file; FormatError if that cannot be done."""
        return self._index_before(self._done_head())

    def _index_before(self, done: ChunkHead) -> list[GroupLocation]:
        """The groups according to the index before the end chunk; FormatError if there is none, or it is not sound."""
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
        self.totals, self.last_frame_ticks = end.totals, end.last_frame_ticks
        return locations

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

    def _walked_groups(self) -> list[GroupLocation]:
        """The groups according to the headers of the chunks that are completely there."""
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
                self._done = head
                self.totals, self._index_byte_offset, self.last_frame_ticks = parse_done(
                    head, _read_payload(reader, head)
                )
                break
            byte_offset, sequence = head.end_offset, sequence + 1
        return locations

    def _chunks_at(self, byte_offset: int, sequence: int) -> ChunkReader:
        """A reader of chunk `sequence` and those after it; FormatError where the file does not reach."""
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


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The file at `path`, for reading; errors while it is open say its name.

    Raises:
        MediaError: It cannot be opened or read.
    """
    with naming(path):
        try:
            with Path(path).open("rb") as file:
                yield file
        except OSError as error:
            raise MediaError(f"{path}: cannot be opened: {error.strerror or error}") from error


def read_audio_chunk(head: ChunkHead, payload: bytes, header: FileHeader) -> AudioChunk:
    """The packets in the payload of the chunk that begins with `head`, or FormatError, which says what is wrong."""
    try:
        return AudioChunk.from_bytes(payload, len(header.audio))
    except FormatError as error:
        raise type(error)(f"{head.place}: {error}") from None


def _read_payload(reader: ChunkReader, head: ChunkHead, time_base: Fraction | None = None) -> bytes:
    """The payload after `head`, or ChecksumError, with the frames or the sound that are lost if that is known."""
    payload, is_intact = reader.read_payload(head)
    if is_intact:
        return payload
    lost = ""
    if head.kind == chunks.GROUP:
        with suppress(FormatError):
            group = GroupHead.from_bytes(payload)
            lost = f": {frame_range(group.first_frame, group.num_frames)} are lost"
    elif head.kind == chunks.AUDIO and time_base is not None:
        with suppress(FormatError):
            lost = f": {AudioHead.from_bytes(payload).place(time_base)} is lost"
    raise ChecksumError(f"{head.place} is damaged{lost}")
