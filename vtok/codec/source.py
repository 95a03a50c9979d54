"""A source as the encoder takes it: a range of time, moved to the beginning, in chunks of frames and of packets.

A chunk has eight frames, or those that are left before a scene cut or the end. Both end a group.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain, repeat
from typing import NamedTuple

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.codec.group_encoder import chunks_per_group
from vtok.codec.packet_queue import PacketQueue
from vtok.errors import ConfigError
from vtok.media.reader import VideoReader
from vtok.video.chapters import shifted_chapters
from vtok.video.frame import Frame, VideoInfo
from vtok.video.scene_cuts import scene_starts
from vtok.video.times import Span, exact_seconds
from vtok.video.tracks import Extras


class SourceChunk(NamedTuple):
    """Up to eight frames on their way into a group, and the chunks of packets that come before the group's end.

    Fewer than eight only end a group, and the last chunk always does.
    """

    frames: list[Frame]
    audio: list[bytes]
    ends_group: bool


class SourcePart:
    """The frames that begin in a range of time, counted from the first frame; without times, the whole video.

    Earlier frames are decoded and dropped: a frame may depend on any number of them. Pictures, packets and chapters are
    moved together, by whole units of the video's time base.

    Attributes:
        info: Description of the part.
        extras: Tags, tracks, and chapters at their new times.

    Args:
        reader: The reader of the video; nothing may have been read from it.
        packets: The queue that holds the sound and subtitles of the video; None if there are none.
        start_seconds: Begin of the range.
        end_seconds: End of the range; None for the end of the video.

    Raises:
        ConfigError: No frame begins in that range; raised while iterating.
    """

    def __init__(
        self,
        reader: VideoReader,
        packets: PacketQueue | None = None,
        start_seconds: Fraction | float = 0,
        end_seconds: Fraction | float | None = None,
    ) -> None:
        self._reader = reader
        self._packets = packets or PacketQueue()
        self._ticks_of_last: int | None = None
        self.info: VideoInfo = reader.info
        self.extras: Extras = reader.extras
        frames = iter(reader)
        if not start_seconds and end_seconds is None:
            self._frames = frames
            return
        first = next(frames)
        unit = reader.info.time_base
        self._ticks = round(exact_seconds(start_seconds) / unit)
        self._begin = first.pts + exact_seconds(start_seconds) / unit
        self._end = None if end_seconds is None else first.pts + exact_seconds(end_seconds) / unit
        span = Span(self._begin * unit if start_seconds else None, None if self._end is None else self._end * unit)
        shift = -self._ticks * unit
        self._packets.keep(span, shift)
        self.info = replace(reader.info, num_frames_from_header=None)
        self.extras = replace(
            reader.extras, chapters=shifted_chapters(reader.extras.chapters, span.begin, span.end, shift)
        )
        self._frames = self._moved(chain([first], frames))

    def chunks(self, keyframe_seconds: float, *, scene_cuts: bool = True) -> Iterator[SourceChunk]:
        """Yield the chunks, each with the packets that are due.

        Args:
            keyframe_seconds: Length of a group, at most; see `chunks_per_group`.
            scene_cuts: Whether groups end at scene cuts too.
        """
        longest = chunks_per_group(self.info, keyframe_seconds)
        num_chunks, frames = 1, list[Frame]()
        for frame, is_cut in scene_starts(self._frames) if scene_cuts else zip(self._frames, repeat(False)):
            if frames and (is_cut or len(frames) == FRAMES_PER_CHUNK):
                ends_group = is_cut or num_chunks == longest
                yield self._chunk(frames, ends_group=ends_group)
                num_chunks, frames = 1 if ends_group else num_chunks + 1, []
            frames.append(frame)
        if frames:
            yield self._chunk(frames, ends_group=True)

    def rest_of_packets(self) -> Iterator[bytes]:
        """Yield the packets that come after the last frame, as payloads of chunks."""
        return self._packets.take()

    @property
    def last_frame_ticks(self) -> int:
        """Duration of the last frame in units of the time base, 0 if unknown; final once that frame was read."""
        return self._reader.last_frame_ticks if self._ticks_of_last is None else self._ticks_of_last

    def _chunk(self, frames: list[Frame], *, ends_group: bool) -> SourceChunk:
        is_due = ends_group or self._packets.is_due
        return SourceChunk(frames, list(self._packets.take()) if is_due else [], ends_group)

    def _moved(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        last: Frame | None = None
        for frame in frames:
            if self._end is not None and frame.pts >= self._end:
                if last is not None:
                    self._ticks_of_last = frame.pts - last.pts
                break
            if frame.pts >= self._begin:
                last = frame
                yield replace(frame, pts=frame.pts - self._ticks)
        if last is None:
            raise ConfigError(f"{self._reader.name}: no frame begins in that range")
