"""Animated GIFs. FFmpeg gives each frame its own palette and dithers it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import OutputContainer
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vtok.errors import MediaError
from vtok.media.pixels import rgb_from_planes
from vtok.media.writer import ffmpeg_errors
from vtok.system.atomic import atomic_write
from vtok.video.frame import Frame, VideoInfo
from vtok.video.times import DEFAULT_RATE

_TICK = Fraction(1, 100)  # seconds; the only unit that GIF has


class GifWriter:
    """Writes frames into a GIF; see `gif_output`.

    Attributes:
        notices: One line for each thing that the file cannot hold as it was.
        last_frame_ticks: Duration of the last frame in units of the time base, to be set before the end if known.
    """

    def __init__(self, path: Path, info: VideoInfo, container: OutputContainer) -> None:
        self.notices: list[str] = []
        self.last_frame_ticks = 0
        self._path = path
        self._info = info
        self._container = container
        self._reformatter = VideoReformatter()
        self._palettes = _Palettes(info)
        self._waiting: tuple[VideoFrame, int] | None = None  # until the next frame says how long this one is shown
        self._pts = (0, 0)  # of the first and the last frame
        self._num_dropped = 0
        stream = container.add_stream("gif", rate=info.average_rate or DEFAULT_RATE, time_base=_TICK)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, "pal8"
        self._stream = stream
        if info.sample_aspect_ratio != 1:
            self.notices.append(f"sample aspect ratio {info.sample_aspect_ratio} is lost: pixels of a GIF are square")

    def write(self, frame: Frame) -> None:
        """Encode one frame, which must be later than the one before.

        Raises:
            MediaError: Writing fails, for example because the disk is full.
        """
        self._pts = (frame.pts if self._waiting is None else self._pts[0]), frame.pts
        start = self._hundredths(frame.pts)
        if self._waiting is not None and start <= self._waiting[1]:
            self._num_dropped += 1
            return
        self._flush(start)
        picture = VideoFrame.from_ndarray(rgb_from_planes(frame, self._info, self._reformatter), "rgb24")
        with ffmpeg_errors(self._path, "no palette can be made"):
            self._waiting = self._palettes.apply(picture), start

    def finish(self) -> None:
        """Encode the frames that are left. The container can be closed afterwards."""
        if self._waiting is None:
            raise MediaError(f"{self._path}: no frame was written to it")
        ticks = self.last_frame_ticks or round(1 / (self._info.average_rate or DEFAULT_RATE) / self._info.time_base)
        self._flush(max(self._hundredths(self._pts[1] + ticks), self._waiting[1] + 1))
        with ffmpeg_errors(self._path, "the last pictures cannot be encoded"):
            self._container.mux(self._stream.encode(None))
        if self._num_dropped:
            self.notices.append(f"{self._num_dropped} frames are left out: a GIF shows at most 100 a second")

    def _hundredths(self, pts: int) -> int:
        """The time of a frame after the first one, in hundredths of a second."""
        return round((pts - self._pts[0]) * self._info.time_base / _TICK)

    def _flush(self, end: int) -> None:
        """Encode the waiting frame, which is shown until `end`."""
        if self._waiting is None:
            return
        picture, start = self._waiting
        picture.pts, picture.time_base = start, _TICK
        with ffmpeg_errors(self._path, "a picture cannot be encoded"):
            for packet in self._stream.encode(picture):
                packet.duration = end - start
                self._container.mux(packet)


class _Palettes:
    """FFmpeg's filters that choose 256 colours for each picture and paint the picture with them."""

    def __init__(self, info: VideoInfo) -> None:
        graph = Graph()
        self._source = graph.add_buffer(
            width=info.width, height=info.height, format=VideoFormat("rgb24"), time_base=_TICK
        )
        split, generate = graph.add("split"), graph.add("palettegen", "stats_mode=single")
        use, self._sink = graph.add("paletteuse", "new=1"), graph.add("buffersink")
        self._source.link_to(split)
        split.link_to(generate, 0, 0)
        split.link_to(use, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(self._sink)
        graph.configure()
        self._graph = graph
        self._num_pictures = 0

    def apply(self, picture: VideoFrame) -> VideoFrame:
        """The picture as indices into its palette."""
        picture.pts, picture.time_base = self._num_pictures, _TICK
        self._num_pictures += 1
        self._source.push(picture)
        painted = self._sink.pull()
        assert isinstance(painted, VideoFrame)
        return painted


@contextmanager
def gif_output(path: Path, info: VideoInfo, *, overwrite: bool = True) -> Iterator[GifWriter]:
    """Yield a writer of a GIF, which appears under its name when it is complete; see `atomic_write`.

    Raises:
        ConfigError: `overwrite` is false, and the file came into being meanwhile.
        MediaError: The file cannot be written.
    """
    with atomic_write(path, overwrite=overwrite) as temporary:
        with ffmpeg_errors(path, "cannot be written"):
            container = av.open(f"file:{temporary}", "w", format="gif")
        try:
            with ffmpeg_errors(path, f"cannot hold {info.width}x{info.height}"):
                writer = GifWriter(path, info, container)
            yield writer
            writer.finish()
            with ffmpeg_errors(path, "the last pictures cannot be encoded"):
                container.close()
        finally:
            with suppress(av.error.FFmpegError):  # it would hide the first error
                container.close()
