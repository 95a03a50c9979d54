"""The part of a source video that is to be encoded: pictures and sound of a stretch of time, moved to its beginning."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain

from vtok.container.audio_index import Span
from vtok.errors import ConfigError
from vtok.media import Frame, VideoInfo, VideoReader
from vtok.video.times import exact_seconds
from vtok.video.tracks import Extras, shifted_chapters


class SourcePart:
    """Frames that begin from one time to another, counted from the first; without times, all of the video.

    What comes before is decoded and left out: a frame may need any number of those before it. Pictures, sound and
    chapters are moved together, by whole units of the video's time base.

    Attributes:
        info: Description of the part.
        extras: Tags, audio tracks, and chapters at their new times.

    Args:
        reader: Of which nothing was read yet.
        start_seconds: The first time.
        end_seconds: The second; None for the end.

    Raises:
        ConfigError: No frame begins in that range; while iterating.
    """

    def __init__(
        self, reader: VideoReader, start_seconds: Fraction | float = 0, end_seconds: Fraction | float | None = None
    ) -> None:
        self._reader = reader
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
        reader.audio.keep(span, shift)
        self.info = replace(reader.info, num_frames_from_header=None)
        self.extras = replace(
            reader.extras, chapters=shifted_chapters(reader.extras.chapters, span.begin, span.end, shift)
        )
        self._frames = self._moved(chain([first], frames))

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    @property
    def last_frame_ticks(self) -> int:
        """How long the last frame is shown, in units of the time base, 0 if that is not known; final after it."""
        return self._reader.last_frame_ticks if self._ticks_of_last is None else self._ticks_of_last

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
