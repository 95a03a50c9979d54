"""Decode what is left of a damaged `.vtok` file; lost frames hold the picture before, so that time goes on."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import BinaryIO

from vtok.codec.compressed_video import CompressedVideo, LatentFrame
from vtok.codec.file_index import GroupSource
from vtok.container.packet_index import PacketLocation
from vtok.container.reader import GroupLocation, VideoGroup
from vtok.container.survey import read_surveyed_group, survey
from vtok.errors import FormatError
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import Arithmetic
from vtok.system.closing import Closing
from vtok.system.sources import ByteSource, Readable
from vtok.video.frame import Frame
from vtok.video.times import DEFAULT_RATE

_LONGEST_GAP = 1 << 20  # frames, 9 hours or more; a hostile file may declare any number


class SurveyedGroups(GroupSource):
    """The intact groups of a damaged file, and its intact packets of sound and subtitles.

    Attributes:
        faults: The faults of the file, one line each.
        lacks_packets: Whether sound or subtitles are lost.

    Args:
        source: The `.vtok` file.

    Raises:
        FormatError: Nothing can be recovered: no header or no group is intact.
    """

    def __init__(self, source: ByteSource) -> None:
        super().__init__(source)
        with source.opened() as file:
            found = survey(file)
            self.faults = [fault.message for fault in found.faults]
            self.lacks_packets = found.lacks_packets
            if found.header is None:
                raise FormatError("nothing can be recovered: no header is intact")
            if found.faults and not found.groups:
                raise FormatError("nothing can be recovered: no group of frames is intact")
        self.header, self._locations = found.header, found.groups
        self._num_frames, self._packet_locations = found.num_frames, found.packets

    @property
    def locations(self) -> list[GroupLocation]:
        """The places of the intact groups; groups that fail to decode are taken out."""
        return self._locations

    def groups(self) -> Iterator[VideoGroup]:
        """The intact groups, in order."""
        return map(self.read_group, list(self.locations))

    def read_group(self, location: GroupLocation) -> VideoGroup:
        """The group at a place.

        Raises:
            FormatError: The group is no longer there.
        """
        with self._source.opened() as file:
            return read_surveyed_group(file, location)

    def leave_out(self, group: VideoGroup) -> None:
        """Count a group as lost."""
        self._locations[:] = [x for x in self._locations if x.first_frame != group.first_frame]

    @property
    def num_frames(self) -> int:
        """Number of frames in the file as it was written, as far as that is known."""
        return self._num_frames

    @property
    def total_frames(self) -> int:
        """Number of frames in the file as it was written, as far as that is known."""
        return self._num_frames

    def ticks_shown(self, index: int) -> int:
        """0, which means unknown, as frames may have been lost."""
        return 0

    def _packets(self, file: BinaryIO, needed: range) -> Iterable[PacketLocation]:
        return self._packet_locations


class RecoveredVideo(Closing):
    """A damaged `.vtok` file as frames: all intact groups, and held pictures in place of the others.

    A held picture is the last good one before the gap, or the first good one after a gap at the start. Its timestamps
    are spread evenly.

    Attributes:
        index: The places of the intact groups and packets.
        header: The header, or its copy.
        info: The header as the description of a video.
        faults: The faults of the file, one line each; complete when all frames were asked for.
        num_held_frames: Number of held pictures among the frames so far.

    Args:
        source: The `.vtok` file: a path, bytes, or a binary file object that can seek.
        tokenizer: The tokenizer that decodes; default: the one in this package that the file names.
        arithmetic: Device and arithmetic of the networks; see `ChunkDecoder`.

    Raises:
        FormatError: Nothing can be recovered: no header or no group is intact.
        ModelMismatchError: The file was written with other weights than those of the tokenizer.
    """

    def __init__(
        self,
        source: Readable | ByteSource,
        *,
        tokenizer: VideoTokenizer | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        self.num_held_frames = 0
        with ExitStack() as stack:
            self.index = SurveyedGroups(stack.enter_context(ByteSource.of(source).held()))
            self._intact = CompressedVideo(self.index, tokenizer=tokenizer, arithmetic=arithmetic)
            self._resources = stack.pop_all()
        self.header, self.info, self.faults = self.index.header, self._intact.info, self.index.faults

    def close(self) -> None:
        """Close the file, if it was opened here."""
        self._resources.close()

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def latent_frames(self) -> Iterator[LatentFrame]:
        """The latent frames of all intact groups, in order; no network runs."""
        return self._intact.latent_frames()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames `start` to `stop` (exclusive; default: the end), good or held."""
        stop = self.index.num_frames if stop is None else min(stop, self.index.num_frames)
        position, last = start, None
        for number, frame in self._good_frames(start, stop):
            yield from self._held(number - position, last, frame)
            yield frame
            position, last = number + 1, frame
        yield from self._held(stop - position, last, None)

    def _good_frames(self, start: int, stop: int) -> Iterator[tuple[int, Frame]]:
        """Yield intact frames with their numbers."""
        position, locations = start, self.index.locations
        while position < stop:
            place = bisect_right(locations, position, key=lambda location: location.end_frame)
            if place == len(locations) or locations[place].first_frame >= stop:
                return
            position = max(position, locations[place].first_frame)
            end = self._end_of_run(place, stop)
            num_groups = len(locations)
            try:
                for frame in self._intact.frames(position, end):
                    yield position, frame
                    position += 1
            except FormatError as error:
                if len(locations) == num_groups:
                    raise
                self.faults.append(str(error).removeprefix(f"{self.index.path}: "))

    def _end_of_run(self, place: int, stop: int) -> int:
        """One past the last frame before `stop` that no gap separates from those of group `place`."""
        locations = self.index.locations
        end = locations[place].end_frame
        while end < stop and place + 1 < len(locations) and locations[place + 1].first_frame == end:
            place += 1
            end = locations[place].end_frame
        return min(end, stop)

    def _held(self, num_frames: int, before: Frame | None, after: Frame | None) -> Iterator[Frame]:
        """Yield the picture before a gap of `num_frames`, or the one after it, once per free timestamp."""
        picture = before or after
        if picture is None or not num_frames:
            return
        if num_frames > _LONGEST_GAP:
            self.faults.append(f"{num_frames} frames lost in one place are too many to be believed, and are left out")
            return
        step = max(1, round(1 / (self.header.average_rate or DEFAULT_RATE) / self.header.time_base))
        for i in range(num_frames):
            if before is None:
                pts = picture.pts - step * (num_frames - i)
            elif after is None:
                pts = picture.pts + step * (i + 1)
            else:
                duration = after.pts - before.pts
                pts = before.pts + duration * (i + 1) // (num_frames + 1)
                if duration * i // (num_frames + 1) == duration * (i + 1) // (num_frames + 1) or pts >= after.pts:
                    continue
            self.num_held_frames += 1
            yield replace(picture, pts=pts)
