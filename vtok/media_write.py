"""Video files out: the frames, times, colours and shape that a reader found, encoded by one of FFmpeg's codecs."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
from av.codec import codecs_available
from av.container import OutputContainer
from av.video.stream import VideoStream

from vtok.atomic import atomic_write
from vtok.errors import ConfigError, MediaError
from vtok.media_frame import Frame, VideoInfo, frame_from_planes

CODECS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "12", "preset": "veryfast"},
    # Without B-frames, because clips of one or two frames get random decoding times with them.
    "libx265": {"crf": "12", "preset": "fast", "x265-params": "log-level=none:bframes=0"},
    "libsvtav1": {"crf": "12", "preset": "8"},
    "libvpx-vp9": {"crf": "12", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    "ffv1": {"level": "3", "slicecrc": "1"},
}
"""The encoders on offer, with options that leave no loss to be seen (with ffv1 there is none)."""

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
"""Containers that keep a variable frame rate and the colour tags."""

_DEFAULT_RATE = Fraction(25)  # only a hint to rate control and header when the true one is unknown
# x264 and x265 print a line of their own for a preset that they do not know, so they are not asked.
_PRESETS = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"]
_EVEN_SIZES_ONLY = ("libx264", "libx265")  # in 4:2:0
_SMALLEST_SLICED = 64 * 64  # pixels; below, ffv1 may refuse its own default of four slices or more
_SECONDS_FIELD_MIN = 1000  # ticks per second in an MP4 movie header, at least, as players expect
_END_OF_TIME = 1 << 63  # FFmpeg's timestamps have 64 bits


class VideoWriter:
    """Writes a video that appears under its name only when it is complete (see `atomic_write`).

    Timestamps are kept exactly in MP4 and MOV; Matroska and WebM have milliseconds. They have to increase. A video
    that starts before zero is moved to zero, which no container could hold otherwise. Odd sizes become 4:4:4, with
    every chroma sample repeated, for encoders that cannot do them in 4:2:0; `VideoReader` undoes that exactly.

    Example:
        >>> with VideoReader("in.mp4") as reader, VideoWriter("out.mkv", reader.info, codec="ffv1") as writer:
        ...     for frame in reader:
        ...         writer.write(frame)

    Attributes:
        notices: One line for each thing that the file cannot hold as it was.

    Args:
        path: The file to write; its suffix, one of `SUFFIXES`, chooses the container.
        info: Size, time base, rate, aspect ratio and colours to write.
        codec: One of `CODECS`.
        options: FFmpeg options of the encoder, over those of `CODECS`.

    Raises:
        MediaError: The codec or suffix is unknown or they do not fit together, the encoder refuses options or size,
            or the file cannot be written. Then nothing is left behind and an existing file is untouched.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        info: VideoInfo,
        *,
        codec: str = "libx264",
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.info = info
        self.codec = codec
        self.notices: list[str] = []
        available = [name for name in CODECS if name in codecs_available]
        if codec not in available:
            raise MediaError(f"{self.path}: unknown codec {codec!r}. Choose one of {', '.join(available)}.")
        if self.path.suffix.lower() not in SUFFIXES:
            raise MediaError(f"{self.path}: unknown suffix {self.path.suffix!r}. Choose one of {', '.join(SUFFIXES)}.")
        self._options = CODECS[codec] | dict(options or {})
        preset = self._options.get("preset")
        if codec in ("libx264", "libx265") and preset not in _PRESETS:
            raise MediaError(f"{self.path}: unknown preset {preset!r}. Choose one of {', '.join(_PRESETS)}.")
        self._pixel_format = "yuv420p"
        if codec in _EVEN_SIZES_ONLY and (info.width % 2 or info.height % 2):
            self._pixel_format = "yuv444p"
        if codec == "ffv1" and info.width * info.height < _SMALLEST_SLICED:
            self._options.setdefault("slices", "1")
        self._num_frames = 0
        self._last_pts: int | None = None
        self._shift = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_write(self.path))
            with self._errors("cannot be written"):
                self._container = av.open(f"file:{temporary}", "w", options=self._container_options())
            stack.push(self._finish)
            size = f"{self.info.width}x{self.info.height}"
            with self._errors(f"{self.codec} with {self._options} cannot encode {size} into {self.path.suffix}"):
                self._stream = self._add_stream(self._container)
                self._stream.codec_context.open()
                if unused := self._stream.codec_context.options:
                    raise ValueError(f"no option {', '.join(unused)}")
                self._container.start_encoding()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, frame: Frame) -> None:
        """Encode one frame, of the size in `info` and later than the one before.

        Raises:
            ConfigError: The planes have another size, or the timestamp is not later.
            MediaError: The encoder or the disk fails.
        """
        height, width = self.info.height, self.info.width
        chroma = ((height + 1) // 2, (width + 1) // 2)
        if (frame.y.shape, frame.u.shape, frame.v.shape) != ((height, width), chroma, chroma):
            raise ConfigError(
                f"planes of {frame.y.shape}, {frame.u.shape}, {frame.v.shape} in a {width}x{height} video"
            )
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise ConfigError(f"timestamp {frame.pts} after {self._last_pts}: they have to increase")
        self._last_pts = frame.pts
        if self._num_frames == 0 and frame.pts < 0:
            self._shift = -frame.pts
            seconds = float(self._shift * self.info.time_base)
            self.notices.append(f"all timestamps moved by {seconds:g} s, for none may be below zero")
        if frame.pts + self._shift >= _END_OF_TIME:
            raise MediaError(
                f"{self.path}: timestamp {frame.pts + self._shift} of frame {self._num_frames} is too large"
            )
        picture = frame_from_planes(frame, self._pixel_format)
        picture.pts = frame.pts + self._shift
        picture.time_base = self.info.time_base
        with self._errors(f"writing failed at frame {self._num_frames}"):
            self._container.mux(self._stream.encode(picture))
        self._num_frames += 1

    def _container_options(self) -> dict[str, str]:
        """Make MP4 and MOV keep times and colours; by default they round the start and drop colours half known."""
        if self.path.suffix.lower() not in (".mp4", ".mov"):
            return {}
        ticks = self.info.time_base.denominator
        movie_ticks = ticks * -(-_SECONDS_FIELD_MIN // ticks)
        options = {"video_track_timescale": str(ticks), "movie_timescale": str(movie_ticks)}
        info = self.info
        if (info.color_range, info.color_matrix, info.color_primaries, info.color_transfer) != (0, 2, 2, 2):
            options["movflags"] = "write_colr"
        return options

    def _add_stream(self, container: OutputContainer) -> VideoStream:
        """Describe the video track."""
        info = self.info
        os.environ.setdefault("SVT_LOG", "1")  # else SVT-AV1 prints its configuration to stderr, by itself
        stream = container.add_stream(
            self.codec, rate=info.average_rate or _DEFAULT_RATE, options=self._options, time_base=info.time_base
        )
        assert isinstance(stream, VideoStream)
        # PyAV's default would cut each frame into slices for its threads, which costs 1 to 2 % of the bytes.
        stream.codec_context.thread_type = "FRAME"
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, self._pixel_format
        stream.codec_context.sample_aspect_ratio = info.sample_aspect_ratio
        stream.codec_context.color_range = info.color_range
        stream.codec_context.colorspace = info.color_matrix
        stream.codec_context.color_primaries = info.color_primaries
        stream.codec_context.color_trc = info.color_transfer
        in_bitstream = self.codec in ("libx264", "libx265")
        if info.sample_aspect_ratio != 1 and not in_bitstream and self.path.suffix.lower() in (".mkv", ".webm"):
            # PyAV cannot set the field of the stream that FFmpeg's Matroska muxer takes it from.
            self.notices.append(
                f"sample aspect ratio {info.sample_aspect_ratio} is lost: {self.codec} keeps it in .mp4 only"
            )
        return stream

    def _finish(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what the encoder still holds and the trailer, if all went well so far; close the file in any case."""
        try:
            if kind is not None:
                return
            if not self._num_frames:
                raise MediaError(f"{self.path}: no frame was written to it")
            with self._errors("writing failed at the end"):
                self._container.mux(self._stream.encode(None))
                self._container.close()
        finally:
            with suppress(av.error.FFmpegError):  # it would only hide what went wrong before
                self._container.close()

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turn errors of FFmpeg and PyAV into one line."""
        try:
            yield
        except (av.error.FFmpegError, ValueError, OverflowError) as error:
            cause = str(getattr(error, "strerror", None) or error).partition("\n")[0]
            raise MediaError(f"{self.path}: {what}: {cause}") from error
