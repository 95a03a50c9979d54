"""Crops and scales pictures and changes their rate, by FFmpeg's filters, as the first step of reading a video."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av.error
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vtok.errors import ConfigError, MediaError
from vtok.media.pixels import frame_from_planes, planes_420
from vtok.media.timeline import LONG_GAP
from vtok.video.frame import MAX_SIDE, UNSPECIFIED, Frame, VideoInfo, guessed_matrix
from vtok.video.times import DEFAULT_RATE, MAX_RATE, parse_rate
from vtok.video.values import MAX_TERM

_PIXELS = "yuv420p"
_SCALING = "flags=bicubic+accurate_rnd+bitexact"  # every machine gets the same pixels
_SIMPLER_TERM = 1 << 16  # of an aspect ratio that has larger terms than a header holds
_EXPECTED = {
    "scale": f"WIDTH:HEIGHT, each 1 to {MAX_SIDE}, or one of them -2, which keeps the shape in even numbers",
    "crop": f"WIDTH:HEIGHT:X:Y of 1 to {MAX_SIDE}, X and Y even, or WIDTH:HEIGHT for the middle",
    "fps": f"frames per second, above 0 and at most {MAX_RATE}, as 24 or 30000/1001",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is done to the pictures of a video, in this order; make it with `filters_of`.

    Attributes:
        fps: Frames per second: frames are repeated and left out; each is the one nearest in time. None keeps all times.
        crop: Width, height, and the place of the upper left corner, or None twice for the middle.
        scale: Width and height; one of them may be -n, which means a multiple of n that keeps the shape.
    """

    fps: Fraction | None = None
    crop: tuple[int, int, int | None, int | None] | None = None
    scale: tuple[int, int] | None = None


def filters_of(
    *, scale: str | None = None, fps: Fraction | float | str | None = None, crop: str | None = None
) -> Filters | None:
    """Return the filters whose values are given as FFmpeg writes them; None if there is none.

    Example:
        >>> filters_of(scale="1280:-2", fps=24)
        Filters(fps=Fraction(24, 1), crop=None, scale=(1280, -2))

    Raises:
        ConfigError: A value cannot be read or is outside its range.
    """
    if scale is None and fps is None and crop is None:
        return None
    return Filters(
        fps=None if fps is None else _rate(fps),
        crop=None if crop is None else _crop(crop),
        scale=None if scale is None else _scale(scale),
    )


def _scale(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(-?[0-9]{1,5}):(-?[0-9]{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(1 <= abs(length) <= MAX_SIDE for length in size) or max(size) < 0:
        raise ConfigError(f"scale is {text!r}; expected {_EXPECTED['scale']}")
    return size


def _crop(text: str) -> tuple[int, int, int | None, int | None]:
    match = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})(?::([0-9]{1,5}):([0-9]{1,5}))?", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    x, y = (int(match[3]), int(match[4])) if match and match[3] else (None, None)
    # Colour has one sample for 2x2 pixels, so an odd corner would move it against luma.
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE) or (x or 0) % 2 or (y or 0) % 2:
        raise ConfigError(f"crop is {text!r}; expected {_EXPECTED['crop']}")
    return width, height, x, y


def _rate(value: Fraction | float | str) -> Fraction:
    try:
        rate = parse_rate(value) if isinstance(value, str) else Fraction(str(value))
    except (ConfigError, ValueError):
        rate = Fraction(0)
    if not 0 < rate <= MAX_RATE or max(rate.numerator, rate.denominator) > MAX_TERM:
        raise ConfigError(f"fps is {value!r}; expected {_EXPECTED['fps']}")
    return rate


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
