"""The places of everything in a `.vtok` file: groups by frame, latent frame and time, and the packets beside them."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO

from vtok.container.groups import mean_quality
from vtok.container.packet_index import PacketLocation, bytes_around, locate_packets, read_packets
from vtok.container.reader import ContainerReader, FileHeader, GroupLocation, Index, VideoGroup
from vtok.entropy.group_payload import ENTROPY_CODER, LENGTH, motion_length
from vtok.errors import ConfigError, FormatError
from vtok.system.sources import ByteSource
from vtok.video.times import Span
from vtok.video.tracks import TrackPacket

_EVERYWHERE = range(1 << 62)


class GroupSource(ABC):
    """The groups and the packets of a file, for any number of threads: each access has its own file position.

    Errors name the file.

    Attributes:
        path: Path of the file, or its name in messages if it has no path.
        header: The file's header.
    """

    header: FileHeader

    def __init__(self, source: ByteSource) -> None:
        self.path = Path(source.name)
        self._source = source
        self._last_group_pts: tuple[GroupLocation | None, tuple[int, ...]] = None, ()

    @property
    @abstractmethod
    def locations(self) -> list[GroupLocation]:
        """The places of the groups, in the order of their frames."""

    @abstractmethod
    def groups(self) -> Iterator[VideoGroup]:
        """All groups, in order."""

    @abstractmethod
    def read_group(self, location: GroupLocation) -> VideoGroup:
        """The group at a place, checked.

        Raises:
            FormatError: The group is damaged, or no longer there.
        """

    @property
    @abstractmethod
    def total_frames(self) -> int | None:
        """Number of frames of the whole file, as far as that is known."""

    def leave_out(self, group: VideoGroup) -> None:  # noqa: B027 (most sources have no use for it)
        """Note that the codes of a group are not those that were written."""

    @property
    def num_frames(self) -> int:
        """Number of frames in the file, as far as its groups can be found."""
        return self.locations[-1].end_frame if self.locations else 0

    def place_of_frame(self, index: int) -> int:
        """Number of the last group that begins with frame `index` or before it; -1 if there is none."""
        return bisect_right(self.locations, index, key=lambda location: location.first_frame) - 1

    def first_pts_of(self, location: GroupLocation) -> int:
        """Timestamp of the first frame of a group."""
        return self.group_pts(location)[0]

    def group_pts(self, location: GroupLocation) -> tuple[int, ...]:
        """Timestamps of the frames of a group; those of the last group stay in memory."""
        kept = self._last_group_pts
        if kept[0] != location:
            kept = self._last_group_pts = location, self.read_group(location).pts
        return kept[1]

    @property
    def quality(self) -> float:
        """The mean quality of the frames; 0 if there are none."""
        return mean_quality((quality, x.num_frames) for quality, x in zip(self.qualities, self.locations, strict=True))

    @cached_property
    def qualities(self) -> list[float]:
        """The quality of each group.

        Raises:
            FormatError: The beginning of a group is damaged.
        """
        return [self.read_group(location).quality for location in self.locations]

    @property
    def first_pts(self) -> int:
        """Timestamp of the first frame; 0 if there is none."""
        return self.first_pts_of(self.locations[0]) if self.locations else 0

    @cached_property
    def last_pts(self) -> int:
        """Timestamp of the last frame; 0 if there is none."""
        return self.group_pts(self.locations[-1])[-1] if self.locations else 0

    @property
    def duration(self) -> Fraction:
        """Seconds from the begin of the first frame to the end of the last."""
        if not self.locations:
            return Fraction(0)
        return self.header.seconds_shown(self.first_pts, self.last_pts, self.ticks_shown(self.num_frames - 1))

    @abstractmethod
    def ticks_shown(self, index: int) -> int:
        """Duration of a frame, in units of the time base; 0 if the file, or its intact part, does not say."""

    def frame_range(self, start_seconds: Fraction, end_seconds: Fraction | None) -> range:
        """The frames that begin at or after `start_seconds` and before `end_seconds`, both counted from frame 0.

        Raises:
            ConfigError: There are no such frames.
        """
        start = self.first_frame_at(start_seconds)
        stop = self.num_frames if end_seconds is None else self.first_frame_at(end_seconds)
        if start >= stop:
            end = "the end" if end_seconds is None else f"{float(end_seconds):g} s"
            raise ConfigError(
                f"{self.path}: no frame begins from {float(start_seconds):g} s to {end}; its {self.num_frames} frames "
                f"last {float(self.duration):g} s"
            )
        return range(start, stop)

    def first_frame_at(self, seconds: Fraction) -> int:
        """The first frame that begins `seconds` after frame 0 or later; one past the last if there is none."""
        if not self.locations:
            return 0
        target = math.ceil(self.first_pts + seconds / self.header.time_base)
        place = bisect_left(self.locations, target, key=self.first_pts_of) - 1
        if place < 0:
            return 0
        location = self.locations[place]
        return location.first_frame + bisect_left(self.group_pts(location), target)

    def packets(self, span: Span, part: range | None = None) -> Iterator[TrackPacket]:
        """Yield packets that begin in a stretch of time, in the order of the file, independently of the frames.

        Args:
            span: The stretch of time.
            part: The frames of that time; if given, damage far from them does no harm.

        Raises:
            FormatError: Some of these packets are damaged.
        """
        needed = _EVERYWHERE if part is None else bytes_around(self.locations, part)
        with self._source.opened() as file:
            yield from read_packets(file, self.header, self._packets(file, needed), span)

    @property
    def num_track_bytes(self) -> int:
        """Number of bytes of sound and subtitles in the file, as far as they can be found."""
        with self._source.opened() as file:
            return sum(chunk.end_offset - chunk.byte_offset for chunk, _ in self._packets(file, range(0)))

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        with self._source.opened() as file:
            return file.seek(0, 2)

    @abstractmethod
    def _packets(self, file: BinaryIO, needed: range) -> Iterable[PacketLocation]:
        """The chunks of packets, as `locate_packets` finds them."""


class FileIndex(GroupSource):
    """The index of an intact file, or of the intact part of one.

    Making a `FileIndex` reads the header. The index is read when it is first asked for.

    Args:
        source: The `.vtok` file.

    Raises:
        FormatError: The file is not a `.vtok` file, or its beginning is damaged.
    """

    def __init__(self, source: ByteSource) -> None:
        super().__init__(source)
        self._first_pts: dict[int, int] = {}  # of each group, by the number of its first frame
        with source.opened() as file:
            reader = ContainerReader(file)
            self.header, self._body_byte_offset = reader.header, reader.body_byte_offset

    @property
    def locations(self) -> list[GroupLocation]:
        """The places of the groups, in the order of their frames.

        Raises:
            FormatError: There is no sound index, and a walk over the chunks met damage.
        """
        return self._index.locations

    @property
    def is_complete(self) -> bool:
        """Whether the file has its end; if it was cut off, `locations` are the complete groups."""
        return self._index.end is not None

    @property
    def last_frame_ticks(self) -> int:
        """Duration of the last frame, in units of the time base; 0 if it is not known."""
        return self._index.last_frame_ticks

    @property
    def total_frames(self) -> int | None:
        """Number of frames of the whole file; None if it was cut off or its groups cannot be found."""
        with suppress(FormatError):  # reading the groups reports the damage, after the groups before it
            return self._index.end.totals.num_frames if self._index.end else None
        return None

    def groups(self) -> Iterator[VideoGroup]:
        """Yield all groups, in order; a damaged file gives the groups before the damage, then the error."""
        with self._reader() as reader:
            yield from reader

    def read_group(self, location: GroupLocation) -> VideoGroup:
        """The group at a place, checked.

        Raises:
            FormatError: The group is damaged, or the file is no longer the one that was opened.
        """
        with self._reader() as reader:
            return reader.read_group(location)

    def first_pts_of(self, location: GroupLocation) -> int:
        """Timestamp of the first frame of a group; reads only the beginning of the group."""
        if location.first_frame not in self._first_pts:
            with self._reader() as reader:
                self._first_pts[location.first_frame] = reader.read_group_head(location).first_pts
        return self._first_pts[location.first_frame]

    def ticks_shown(self, index: int) -> int:
        """Duration of a frame, in units of the time base; 0 if the file, or its intact part, does not say."""
        if index + 1 >= self.num_frames:
            return self.last_frame_ticks
        with suppress(FormatError):  # the next frame's group may be damaged, though this frame is not
            return max(0, self._pts_of(index + 1) - self._pts_of(index))
        return 0

    @property
    def num_motion_bytes(self) -> int | None:
        """Number of bytes of motion in the file; None if its entropy coder is not that of this version.

        Raises:
            FormatError: The beginning of a group is damaged.
        """
        if self.header.entropy_coder != ENTROPY_CODER:
            return None
        with self._reader() as reader:
            starts = (reader.read_coded_start(location, LENGTH.size) for location in self.locations)
            return sum(motion_length(start) for start in starts)

    @cached_property
    def qualities(self) -> list[float]:
        """The quality of each group; reads only the beginnings of the groups.

        Raises:
            FormatError: The beginning of a group is damaged.
        """
        with self._reader() as reader:
            return [reader.read_group_head(location).quality for location in self.locations]

    @cached_property
    def latent_starts(self) -> list[int]:
        """Number of the first latent frame of each group, and one past the last latent frame of the file."""
        counts = (self.header.num_latent_frames(location.num_frames) for location in self.locations)
        return list(accumulate(counts, initial=0))

    @cached_property
    def latent_runs(self) -> list[range]:
        """Latent frames in a row of which only the last may stand for fewer frames than the others."""
        ends = [
            end
            for location, end in zip(self.locations, self.latent_starts[1:], strict=True)
            if location.num_frames % self.header.frames_per_latent or end == self.latent_starts[-1]
        ]
        return [range(start, end) for start, end in pairwise([0, *ends])]

    def place_of_latent(self, index: int) -> int:
        """Number of the group that latent frame `index` is in."""
        return bisect_right(self.latent_starts, index) - 1

    @cached_property
    def _index(self) -> Index:
        with self._reader() as reader:
            return reader.read_index()

    def _pts_of(self, index: int) -> int:
        location = self.locations[self.place_of_frame(index)]
        return self.group_pts(location)[index - location.first_frame]

    def _packets(self, file: BinaryIO, needed: range) -> Iterable[PacketLocation]:
        return locate_packets(file, self._body_byte_offset, needed)

    @contextmanager
    def _reader(self) -> Iterator[ContainerReader]:
        """A new reader; opening takes a fraction of a millisecond, and threads and processes share nothing."""
        with self._source.opened() as file:
            reader = ContainerReader(file)
            if reader.header != self.header:
                raise FormatError("is not the file any more that was opened")
            yield reader
