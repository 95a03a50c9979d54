"""What is left of a damaged `.vtok` file, as frames: lost ones hold the picture before, so that time goes on."""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import BinaryIO

from vtok.codec.compressed_video import CompressedVideo, LatentFrame
from vtok.container.audio_index import AudioLocation
from vtok.container.reader import FileHeader, GroupLocation, VideoGroup
from vtok.container.survey import read_surveyed_group, survey
from vtok.errors import FormatError
from vtok.model.tokenizer import VideoTokenizer
from vtok.networks.arithmetic import Arithmetic
from vtok.video.frame import Frame
from vtok.video.times import DEFAULT_RATE

_LONGEST_GAP = 1 << 20  # frames, 9 hours or more; a hostile file may declare any number


class RecoveredVideo(CompressedVideo):
    """A damaged `.vtok` file as frames: every group that is intact, and held pictures in place of the others.

    A held picture is the last good one before the gap, or the first good one after it at the start; its timestamps are
    spread evenly. The first frames after a gap may differ a little from those of the sound file, as the networks do not
    know what was before them.

    Attributes:
        faults: What is wrong with the file, one line each; complete when all frames were asked for.
        num_held_frames: How many of the frames so far were held pictures.

    Args:
        path: The `.vtok` file.
        tokenizer: As for `CompressedVideo`.
        name: As for `CompressedVideo`.

    Raises:
        FormatError: There is nothing to recover: no header or no group is intact.
        ModelMismatchError: As for `CompressedVideo`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tokenizer: VideoTokenizer | None = None,
        name: str | os.PathLike[str] | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        self.faults: list[str] = []
        self.num_held_frames = 0
        super().__init__(path, tokenizer=tokenizer, name=name, arithmetic=arithmetic)

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def latent_frames(self) -> Iterator[LatentFrame]:
        """The latent frames of all intact groups, in order; no network runs."""
        for location in list(self.locations):
            yield from self._latent_frames_of(self._read_group(location))

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames `start` to `stop` (exclusive; default: the end), good or held."""
        stop = self.num_frames if stop is None else min(stop, self.num_frames)
        position, last = start, None
        for number, frame in self._good_frames(start, stop):
            yield from self._held(number - position, last, frame)
            yield frame
            position, last = number + 1, frame
        yield from self._held(stop - position, last, None)

    @property
    def num_frames(self) -> int:
        """Frames in the file as it was written, as far as that is known."""
        return self._survey.num_frames

    @cached_property
    def locations(self) -> list[GroupLocation]:
        """Where the intact groups are; those that turn out not to decode are taken out."""
        return list(self._survey.groups)

    def _read_header(self) -> FileHeader:
        self._survey = survey(self._file)
        self.faults += [fault.message for fault in self._survey.faults]
        if self._survey.header is None:
            raise FormatError("nothing can be recovered: no header is intact")
        if self.faults and not self._survey.groups:
            raise FormatError("nothing can be recovered: no group of frames is intact")
        return self._survey.header

    def _read_group(self, location: GroupLocation) -> VideoGroup:
        return read_surveyed_group(self._file, location)

    def _first_pts(self, location: GroupLocation) -> int:
        return self._read_group(location).pts[0]

    def ticks_shown(self, index: int) -> int:
        """0: not known, for frames may have been lost."""
        return 0

    def _audio(self, file: BinaryIO, part: range | None) -> Iterable[AudioLocation]:
        return self._survey.audio

    def _total_frames(self) -> int:
        return self.num_frames

    def _good_frames(self, start: int, stop: int) -> Iterator[tuple[int, Frame]]:
        """Frames that are intact, with their numbers."""
        position = start
        while position < stop:
            place = bisect_right(self.locations, position, key=lambda location: location.end_frame)
            if place == len(self.locations) or self.locations[place].first_frame >= stop:
                return
            position = max(position, self.locations[place].first_frame)
            end = self._end_of_run(place, stop)
            num_groups = len(self.locations)
            try:
                for frame in super().frames(position, end):
                    yield position, frame
                    position += 1
            except FormatError as error:
                if len(self.locations) == num_groups:
                    raise
                self.faults.append(str(error).removeprefix(f"{self.path}: "))

    def _end_of_run(self, place: int, stop: int) -> int:
        """Behind the last frame before `stop` that no gap parts from those of group `place`."""
        end = self.locations[place].end_frame
        while end < stop and place + 1 < len(self.locations) and self.locations[place + 1].first_frame == end:
            place += 1
            end = self.locations[place].end_frame
        return min(end, stop)

    def _latent_frames_of(self, group: VideoGroup) -> list[LatentFrame]:
        try:
            return super()._latent_frames_of(group)
        except FormatError:
            self.locations[:] = [x for x in self.locations if x.first_frame != group.first_frame]
            raise

    def _held(self, num_frames: int, before: Frame | None, after: Frame | None) -> Iterator[Frame]:
        """The picture before a gap of `num_frames`, or the one after it, as often as timestamps have room for it."""
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
