"""Writes video files: encodes frames, times, colours and shape as a reader found them with one of FFmpeg's codecs."""

import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
from av.codec import codecs_available
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from vtok.errors import ConfigError, MediaError
from vtok.media.mp4_times import DecodingTimes
from vtok.media.pixels import frame_from_planes
from vtok.media.tags import describe, lost_tags
from vtok.media.track_writer import BESIDE_SUBTITLES, TrackWriter
from vtok.system.atomic import atomic_write
from vtok.video.frame import Frame, VideoInfo
from vtok.video.times import DEFAULT_RATE
from vtok.video.tracks import Extras, TrackPacket
from vtok.video.values import printable

CODECS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "12", "preset": "veryfast"},
    # No B-frames: with them, clips of one or two frames get random decoding times.
    "libx265": {"crf": "12", "preset": "fast", "x265-params": "log-level=none:bframes=0"},
    "libsvtav1": {"crf": "12", "preset": "8"},
    "libvpx-vp9": {"crf": "12", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    "ffv1": {"level": "3", "slicecrc": "1"},
}
"""The available encoders, with options that leave no visible loss (ffv1 has none at all)."""

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
"""Containers that keep a variable frame rate and the colour tags."""

_DEFAULT_CODECS = {".webm": "libvpx-vp9"}  # libx264 for the others
# Checked here, because x264 and x265 print a line of their own for an unknown preset, and encoders silently clamp a
# quality that is out of range.
_X26_PRESETS = [
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
]  # fmt: skip
_PRESETS = {
    "libx264": _X26_PRESETS,
    "libx265": _X26_PRESETS,
    "libsvtav1": [str(number) for number in range(-1, 14)],
}
_MP4_ONLY = ("libsvtav1", "libvpx-vp9")  # not in MOV, though FFmpeg's list of what MOV takes has them
_HIGHEST_CRF = {"libx264": 51, "libx265": 51, "libsvtav1": 63, "libvpx-vp9": 63}
_EVEN_SIZES_ONLY = ("libx264", "libx265")  # in 4:2:0
_SMALLEST_SLICED = 64 * 64  # pixels; below, ffv1 may refuse its own default of four slices or more
_MAX_TICKS = (1 << 31) - 1  # also of a frame in MP4
_SAFE_TICKS = 1 << 28  # of a frame in MP4; above, older FFmpeg takes offsets of times for damage
_SECONDS_FIELD_MIN = 1000  # least ticks per second in an MP4 movie header, as players expect
_END_OF_TIME = 1 << 63  # FFmpeg's timestamps have 64 bits


class VideoWriter:
    """Writes a video that appears under its name only when it is complete (see `atomic_write`).

    Timestamps have to increase. MP4 and MOV keep them exactly; Matroska and WebM have milliseconds. A video that starts
    before zero is moved to zero, because no container could hold it otherwise. Odd sizes become 4:4:4, with every
    chroma sample repeated, for encoders that cannot encode them in 4:2:0; `VideoReader` undoes that exactly.

    Example:
        >>> with VideoReader("in.mp4") as reader, VideoWriter("out.mkv", reader.info, codec="ffv1") as writer:
        ...     for frame in reader:
        ...         writer.write(frame)

    Attributes:
        notices: One line for each thing that the file cannot hold as it was.
        last_frame_ticks: Duration of the last frame in units of the time base, to be set before the end if known;
            otherwise the average rate gives it.

    Args:
        path: The file to write; its suffix, one of `SUFFIXES`, chooses the container.
        info: Size, time base, rate, aspect ratio and colours to write.
        codec: One of `CODECS` that the container takes; default: libx264, or libvpx-vp9 in WebM.
        options: FFmpeg options of the encoder, which override those in `CODECS`.
        extras: Tags, chapters, and tracks of sound and subtitles, whose packets go to `write_packet`.
        overwrite: Replace a file that is there in the end; see `atomic_write`.

    Raises:
        MediaError: The codec or suffix is unknown or they do not fit together, the encoder refuses options or size,
            or the file cannot be written. Then nothing is left behind and an existing file is unchanged.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        info: VideoInfo,
        *,
        codec: str | None = None,
        options: Mapping[str, str] | None = None,
        extras: Extras | None = None,
        overwrite: bool = True,
    ) -> None:
        self.path = Path(path)
        self.info = info
        self.notices: list[str] = []
        self.last_frame_ticks = 0
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise MediaError(f"{self.path}: unknown suffix {self.path.suffix!r}. Choose one of {', '.join(SUFFIXES)}.")
        self.codec = codec = codec or _DEFAULT_CODECS.get(suffix, "libx264")
        if codec not in (available := container_codecs(suffix)):
            raise MediaError(f"{self.path}: unknown codec {codec!r} in {suffix}. Choose one of {', '.join(available)}.")
        self._options = CODECS[codec] | dict(options or {})
        _check_options(self.path, codec, self._options)
        self._pixel_format = "yuv420p"
        if codec in _EVEN_SIZES_ONLY and (info.width % 2 or info.height % 2):
            self._pixel_format = "yuv444p"
        if codec == "ffv1" and info.width * info.height < _SMALLEST_SLICED:
            self._options.setdefault("slices", "1")
        self._extras = extras or Extras()
        self._overwrite = overwrite
        self._num_frames = 0
        self._waiting: Frame | None = None  # until the next frame says how long this one is shown
        self._ticks: dict[int, int] = {}  # durations of the frames that the encoder holds, by timestamp
        self._shift = 0
        self._decoding_times = DecodingTimes() if suffix in (".mp4", ".mov") else None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_write(self.path, overwrite=self._overwrite))
            with self._errors("cannot be written"):
                self._container = av.open(f"file:{self._temporary}", "w", options=self._container_options())
            stack.push(self._finish)
            size = f"{self.info.width}x{self.info.height}"
            with self._errors(f"{self.codec} with {self._options} cannot encode {size} into {self.path.suffix}"):
                self._stream = self._add_stream(self._container)
                self._stream.codec_context.open()
                if unused := self._stream.codec_context.options:
                    raise ValueError(f"no option {', '.join(unused)}")
                suffix = self.path.suffix.lower()
                self._tracks = TrackWriter(self._container, suffix, self._extras.tracks, self.notices)
                stack.callback(self._tracks.close)
                describe(self._container, self._extras)
                self._container.start_encoding()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, frame: Frame) -> None:
        """Encode one frame. It must have the size in `info` and be later than the one before.

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
        if frame.pts + self._shift >= _END_OF_TIME:
            number = self._num_frames + (self._waiting is not None)
            raise MediaError(f"{self.path}: timestamp {frame.pts + self._shift} of frame {number} is too large")
        if self._waiting is not None:
            if frame.pts <= self._waiting.pts:
                raise ConfigError(f"timestamp {frame.pts} after {self._waiting.pts}: they have to increase")
            self._encode(self._waiting, frame.pts - self._waiting.pts)
        elif frame.pts < 0:
            self._shift = -frame.pts
            seconds = float(self._shift * self.info.time_base)
            self.notices.append(f"all timestamps moved by {seconds:g} s, for none may be below zero")
        self._waiting = frame

    def _encode(self, frame: Frame, ticks: int) -> None:
        if ticks > _SAFE_TICKS and self._decoding_times is not None:
            self._note_long_frame(ticks)
        picture = frame_from_planes(frame, self._pixel_format)
        picture.pts = frame.pts + self._shift
        picture.time_base = self.info.time_base
        self._ticks[picture.pts] = ticks
        with self._errors(f"frame {self._num_frames} cannot be encoded"):
            self._mux(self._stream.encode(picture))
        self._num_frames += 1

    def _note_long_frame(self, ticks: int) -> None:
        """Say that the next frame is shown for longer than all players of MP4 know, or refuse it.

        Raises:
            MediaError: MP4 cannot hold its duration.
        """
        suffix = self.path.suffix
        shown = f"frame {self._num_frames} is shown for {float(ticks * self.info.time_base):.6g} s"
        if ticks > _MAX_TICKS:
            raise MediaError(f"{self.path}: {shown}, which {suffix} cannot hold; .mkv can")
        self.notices.append(f"{shown}, which some players misread in {suffix}; .mkv has no such limit")

    def write_packet(self, packet: TrackPacket) -> None:
        """Write a packet of one of the tracks, after the first frame.

        Raises:
            MediaError: The disk fails.
        """
        kind, option = self._extras.tracks[packet.track].kind, self._extras.tracks[packet.track].option
        with self._errors(f"writing {kind} failed at frame {self._num_frames} ({option}=False leaves it out)"):
            self._tracks.write(packet, self._shift * self.info.time_base)

    def _mux(self, packets: "Iterable[Packet[VideoStream]]") -> None:
        """Write packets with their durations, which not all encoders pass on."""
        for packet in packets:
            packet.duration = self._ticks.pop(packet.pts or 0, packet.duration or 0)
            for ready in [packet] if self._decoding_times is None else self._decoding_times.push(packet):
                self._container.mux(ready)

    def _container_options(self) -> dict[str, str]:
        """Make MP4 and MOV keep times and colours. By default they round the start and drop partly known colours."""
        options = dict(BESIDE_SUBTITLES) if self._extras.subtitles else {}
        if self.path.suffix.lower() not in (".mp4", ".mov"):
            return options
        ticks = self.info.time_base.denominator
        movie_ticks = ticks * -(-_SECONDS_FIELD_MIN // ticks)
        exact_for_tracks = math.lcm(movie_ticks, *(track.rate for track in self._extras.tracks))
        if exact_for_tracks <= _MAX_TICKS:
            movie_ticks = exact_for_tracks
        options |= {"video_track_timescale": str(ticks), "movie_timescale": str(movie_ticks)}
        info = self.info
        if (info.color_range, info.color_matrix, info.color_primaries, info.color_transfer) != (0, 2, 2, 2):
            options["movflags"] = "write_colr"
        return options

    def _add_stream(self, container: OutputContainer) -> VideoStream:
        """Describe the video track."""
        info = self.info
        os.environ.setdefault("SVT_LOG", "1")  # else SVT-AV1 prints its configuration to stderr
        stream = container.add_stream(
            self.codec, rate=info.average_rate or DEFAULT_RATE, options=self._options, time_base=info.time_base
        )
        assert isinstance(stream, VideoStream)
        # PyAV would cut each frame into slices for its threads by default, which costs 1 to 2 % of the bytes.
        stream.codec_context.thread_type = "FRAME"
        describe_frames(stream, info, self._pixel_format)
        in_bitstream = self.codec in ("libx264", "libx265")
        if info.sample_aspect_ratio != 1 and not in_bitstream and self.path.suffix.lower() in (".mkv", ".webm"):
            # FFmpeg's Matroska muxer takes it from a field of the stream that PyAV cannot set.
            self.notices.append(
                f"sample aspect ratio {info.sample_aspect_ratio} is lost: {self.codec} keeps it in .mp4 only"
            )
        return stream

    def _finish(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """If all went well, write the frames that the encoder still holds and the trailer. Always close the file."""
        try:
            if kind is not None:
                return
            if self._waiting is None:
                raise MediaError(f"{self.path}: no frame was written to it")
            rate = self.info.average_rate or DEFAULT_RATE
            ticks = self.last_frame_ticks or max(1, round(1 / rate / self.info.time_base))
            self._encode(self._waiting, ticks)
            ways = dict.fromkeys(f"{track.option}=False leaves the {track.kind} out" for track in self._extras.tracks)
            hint = f" ({', '.join(ways)})" if ways else ""
            with self._errors(f"its end cannot be written{hint}"):
                self._mux(self._stream.encode(None))
                if self._decoding_times is not None:
                    for packet in self._decoding_times.finish(self._waiting.pts + self._shift + ticks):
                        self._container.mux(packet)
                self._container.close()
                self.notices += self._tracks.refused
                if lost := lost_tags(self._temporary, self._extras.tags):
                    hint = "" if self.path.suffix.lower() == ".mkv" else "; .mkv can"
                    self.notices.append(f"tags that {self.path.suffix} cannot hold: {printable(', '.join(lost))}{hint}")
        finally:
            with suppress(av.error.FFmpegError):  # it would hide the first error
                self._container.close()

    def _errors(self, what: str) -> AbstractContextManager[None]:
        return ffmpeg_errors(self.path, what)


def describe_frames(stream: VideoStream, info: VideoInfo, pixel_format: str) -> None:
    """Tell an encoder the size, the shape of pixels and the colours of its frames."""
    stream.width, stream.height, stream.pix_fmt = info.width, info.height, pixel_format
    stream.codec_context.sample_aspect_ratio = info.sample_aspect_ratio
    stream.codec_context.color_range = info.color_range
    stream.codec_context.colorspace = info.color_matrix
    stream.codec_context.color_primaries = info.color_primaries
    stream.codec_context.color_trc = info.color_transfer


@contextmanager
def ffmpeg_errors(path: Path, what: str) -> Iterator[None]:
    """Turn errors of FFmpeg and PyAV into one line that says what failed with the file at `path`.

    System errors always come from the disk, so they are reported as failed writing.
    """
    try:
        yield
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        cause = str(getattr(error, "strerror", None) or error).partition("\n")[0]
        failed = "cannot be written" if isinstance(error, OSError) else what
        raise MediaError(f"{path}: {failed}: {cause}") from error


def container_codecs(suffix: str) -> list[str]:
    """The `CODECS` that this build of FFmpeg has and can write into the container of a suffix."""
    with av.open(io.BytesIO(), "w", format={".mkv": "matroska"}.get(suffix, suffix[1:])) as container:
        wanted = [name for name in CODECS if name not in _MP4_ONLY or suffix != ".mov"]
        return [name for name in wanted if name in codecs_available and name in container.supported_codecs]


def _check_options(path: Path, codec: str, options: Mapping[str, str]) -> None:
    """Refuse a preset or quality that the encoder does not know."""
    preset, crf = options.get("preset"), options.get("crf")
    if preset is not None and codec in _PRESETS and preset not in _PRESETS[codec]:
        raise MediaError(f"{path}: unknown preset {preset!r} of {codec}. Choose one of {', '.join(_PRESETS[codec])}.")
    if crf is None or codec not in _HIGHEST_CRF:
        return
    try:
        is_in_range = -1 <= float(crf) <= _HIGHEST_CRF[codec]  # -1: not used
    except ValueError:
        is_in_range = False
    if not is_in_range:
        raise MediaError(f"{path}: crf {crf} is out of the range of {codec}: 0 to {_HIGHEST_CRF[codec]}")
