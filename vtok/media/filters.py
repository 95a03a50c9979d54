"""Crops and scales pictures and changes their rate, by FFmpeg's filters, before anything else sees them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import av.error
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vtok.errors import MediaError
from vtok.media.pixels import frame_from_planes, planes_420
from vtok.media.timeline import LONG_GAP
from vtok.video.filters import Filters
from vtok.video.frame import UNSPECIFIED, Frame, VideoInfo, guessed_matrix
from vtok.video.times import DEFAULT_RATE
from vtok.video.values import MAX_SIDE, MAX_TERM

_PIXELS = "yuv420p"
_SCALING = "flags=bicubic+accurate_rnd+bitexact"  # every machine gets the same pixels
_SIMPLER_TERM = 1 << 16  # of an aspect ratio that has larger terms than a header holds


class FrameFilter:
    """Filters the frames of one video, once or, after a seek, again.

    Attributes:
        info: Description of the filtered video.

    Args:
        filters: What is done.
        info: Description of the source.
        name: Name of the source in messages.

    Raises:
        MediaError: The part to crop is not within the pictures, or what comes out has a size that no file holds.
    """

    def __init__(self, filters: Filters, info: VideoInfo, name: str) -> None:
        self._filters, self._source, self._name = filters, info, name
        self._steps = self._sizing()
        self.info = self._described()

    def __call__(self, frames: Iterator[Frame], last_frame_ticks: Callable[[], int]) -> Iterator[Frame]:
        """Yield the filtered frames.

        Args:
            frames: The frames of the source.
            last_frame_ticks: Called after the last of them: its duration in units of the source's time base, 0 if
                unknown.

        Raises:
            MediaError: A gap in the timestamps would have to be filled with frames for more than an hour.
        """
        graph = self._graph([*([("fps", str(self._filters.fps))] if self._filters.fps else []), *self._steps])
        reformatter = VideoReformatter()
        first = held = None  # the last frame waits for its duration, which says when the video ends
        for frame in frames:
            if held is not None:
                self._check_gap(frame.pts - held.pts)
                graph.vpush(self._picture(held, 0))
                yield from _pulled(graph, reformatter)
            first, held = first or frame, frame
        if held is None or first is None:
            return
        ticks = last_frame_ticks() or round(1 / (self._source.average_rate or DEFAULT_RATE) / self._source.time_base)
        if self._filters.fps:  # the shortest video has a frame
            ticks = max(ticks, first.pts - held.pts - -1 // (self._filters.fps * self._source.time_base))
        graph.vpush(self._picture(held, max(1, ticks)))
        yield from _pulled(graph, reformatter)
        graph.vpush(None)
        yield from _pulled(graph, reformatter)

    def last_frame_ticks(self, ticks: int) -> int:
        """Duration of the last filtered frame, where the last of the source has `ticks`, each in its time base."""
        return 1 if self._filters.fps else ticks

    def source_pts(self, pts: int) -> int:
        """The time of a filtered frame in units of the source's time base."""
        return round(pts * self.info.time_base / self._source.time_base)

    def _sizing(self) -> list[tuple[str, str]]:
        """FFmpeg's filters for crop and scale."""
        steps, (width, height) = [], (self._source.width, self._source.height)
        if self._filters.crop:
            w, h, x, y = self._filters.crop
            # FFmpeg would move a part that reaches beyond the picture.
            if w + (x or 0) > width or h + (y or 0) > height:
                part = f"{w}x{h}" + ("" if x is None else f" at {x},{y}")
                raise MediaError(f"{self._name}: crop {part} is not within its pictures of {width}x{height}")
            x, y = (width - w) // 4 * 2 if x is None else x, (height - h) // 4 * 2 if y is None else y
            steps.append(("crop", f"{w}:{h}:{x}:{y}:exact=1"))
        if self._filters.scale:
            w, h = self._filters.scale
            steps.append(("scale", f"{w}:{h}:{_SCALING}"))
        return steps

    def _described(self) -> VideoInfo:
        source, rate = self._source, self._filters.fps
        cropped = self._filters.crop[:2] if self._filters.crop else (source.width, source.height)
        width, height = self._size(cropped) if self._filters.scale else cropped
        aspect = source.sample_aspect_ratio * Fraction(cropped[0] * height, cropped[1] * width)
        if max(aspect.numerator, aspect.denominator) > MAX_TERM:
            aspect = aspect.limit_denominator(_SIMPLER_TERM)
        info = replace(source, width=width, height=height, sample_aspect_ratio=aspect)
        if source.color_matrix == UNSPECIFIED and guessed_matrix(source.height) != guessed_matrix(height):
            # Players would guess another matrix from the new size.
            info = replace(info, color_matrix=guessed_matrix(source.height))
        if rate:
            seconds = source.duration_seconds_from_header
            num_frames = None if seconds is None else round(seconds * rate)
            info = replace(info, time_base=1 / rate, average_rate=rate, num_frames_from_header=num_frames)
        return info

    def _size(self, cropped: tuple[int, int]) -> tuple[int, int]:
        """Size of the scaled pictures. Only FFmpeg knows, so it is given one."""
        assert self._filters.scale is not None
        try:
            graph = self._graph(self._steps)
            picture = VideoFrame(self._source.width, self._source.height, _PIXELS)
            picture.pts, picture.time_base = 0, self._source.time_base
            graph.vpush(picture)
            scaled = graph.vpull()
        except (av.error.FFmpegError, MemoryError, ValueError):
            scaled = None
        if scaled is None or not (0 < scaled.width <= MAX_SIDE and 0 < scaled.height <= MAX_SIDE):
            wanted, size = ":".join(map(str, self._filters.scale)), "x".join(map(str, cropped))
            raise MediaError(f"{self._name}: scale {wanted} of {size} gives no size from 1x1 to {MAX_SIDE}x{MAX_SIDE}")
        return scaled.width, scaled.height

    def _graph(self, steps: list[tuple[str, str]]) -> Graph:
        graph = Graph()
        graph.threads = 1
        info = self._source
        pixels = VideoFormat(_PIXELS)
        last = graph.add_buffer(width=info.width, height=info.height, format=pixels, time_base=info.time_base)
        for name, arguments in [*steps, ("buffersink", "")]:
            step = graph.add(name, arguments or None)
            last.link_to(step)
            last = step
        graph.configure()
        return graph

    def _picture(self, frame: Frame, ticks: int) -> VideoFrame:
        picture = frame_from_planes(frame, _PIXELS)
        picture.pts, picture.time_base, picture.duration = frame.pts, self._source.time_base, ticks
        return picture

    def _check_gap(self, ticks: int) -> None:
        seconds = ticks * self._source.time_base
        if self._filters.fps and seconds > LONG_GAP:
            raise MediaError(
                f"{self._name}: a gap of {float(seconds):.0f} s in the timestamps is not filled at "
                f"{self._filters.fps} frames/s. Leave out fps=..., or take the part before or behind it"
            )


def _pulled(graph: Graph, reformatter: VideoReformatter) -> Iterator[Frame]:
    """Yield the frames that a graph has ready."""
    while True:
        try:
            picture = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        assert picture.pts is not None
        yield Frame(*planes_420(picture, reformatter), pts=picture.pts)
