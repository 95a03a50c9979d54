"""Shows two videos in one picture, side by side or split down the middle, each with its name, bitrate and PSNR."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from vtok.codec.compressed_video import CompressedVideo
from vtok.errors import ConfigError, MediaError
from vtok.measure.psnr_ssim import QualityMeter
from vtok.measure.stats import pairs
from vtok.media.images import IMAGE_NAMES
from vtok.media.outputs import open_output
from vtok.media.reader import VideoReader
from vtok.media.writer import SUFFIXES
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.atomic import check_target
from vtok.system.paths import StrPath, is_vtok
from vtok.system.sources import refuse_pipe
from vtok.video.frame import Frame, Plane, Progress, VideoInfo
from vtok.video.times import played_seconds

_WHITE, _BLACK, _GREY = 235, 16, 128
_GAP = 4  # columns between the halves
_MAX_FONT_SIZE, _MIN_FONT_SIZE = 18, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Result of `compare_files`.

    Attributes:
        target: The file that was written.
        sources: The two videos.
        num_frames: Number of frames in the target.
        kbit_per_second: Bitrate of each source; None for a source that does not declare its duration.
        psnr_yuv: PSNR of each source against the reference, over the frames shown; None without a reference.
    """

    target: str
    sources: list[str]
    num_frames: int
    kbit_per_second: list[float | None]
    psnr_yuv: list[float | None]

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.target}: {' and '.join(self.sources)}, {self.num_frames} frame{'s' if self.num_frames != 1 else ''}"
        )


def compare_files(
    first: StrPath,
    second: StrPath,
    target: StrPath,
    *,
    at_seconds: Fraction | None = None,
    reference: StrPath | None = None,
    split: bool = False,
    tokenizer: VideoTokenizer | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Draw two videos of one size into an image or a video. The colour tags of the first apply to both.

    Args:
        first: A `.vtok` file (by its suffix) or any other video; shown on the left.
        second: A `.vtok` file (by its suffix) or any other video; shown on the right.
        target: An image, which shows one frame, or a video.
        at_seconds: Time after the first frame that an image shows; default: 0. Must be None for a video, which shows
            all frames.
        reference: The video that PSNR is measured against, frame by frame.
        split: Show the left half of the first and the right half of the second, not both whole.
        tokenizer: Default: for each file the one in this package that the file names.
        overwrite: Replace an existing target.
        progress: Called with the target's description for a video; see `vtok.encode_file`.

    Raises:
        VtokError: A file cannot be read, sizes or numbers of frames differ, there is no such time, or Pillow is
            missing. Then nothing is written.
    """
    paths = [first, second] if reference is None else [first, second, reference]
    check_target(target, paths, overwrite=overwrite)
    is_image = _is_image(target)
    if at_seconds is not None and not is_image:
        raise ConfigError(f"{target}: at_seconds=... is for images; a video shows all frames")
    with ExitStack() as stack:
        videos = [_Video(path, stack, tokenizer) for path in paths]
        info = videos[0].info
        for video in videos[1:]:
            if (video.info.width, video.info.height) != (info.width, info.height):
                raise MediaError(
                    f"{video.path}: is {video.info.width}x{video.info.height} and {first} {info.width}x{info.height}; "
                    "both must have the same size"
                )
        if split and info.width < 4:
            raise ConfigError(f"{first}: is {info.width} pixels wide, too narrow for split=True")
        sheet = _Sheet(info, split=split)
        meters = [QualityMeter(), QualityMeter()]
        advance = progress(info) if progress and not is_image else None
        writer = None
        num_frames = 0
        for shown in _shown(videos, at_seconds or Fraction(0) if is_image else None):
            labels = [
                video.label(meter, frame, shown[2] if reference is not None else None)
                for video, meter, frame in zip(videos, meters, shown, strict=False)
            ]
            picture = sheet.draw(shown[0], shown[1], labels)
            # Opened late, so that faults of the sources or of Pillow are reported before anything is written.
            writer = writer or stack.enter_context(open_output(target, sheet.info, overwrite=overwrite))
            writer.write(picture)
            num_frames += 1
            if advance:
                advance(1)
    return Comparison(
        target=str(target),
        sources=[str(first), str(second)],
        num_frames=num_frames,
        kbit_per_second=[video.kbit_per_second for video in videos[:2]],
        psnr_yuv=[meter.result().psnr_yuv if reference is not None else None for meter in meters],
    )


def _is_image(target: StrPath) -> bool:
    suffix = Path(target).suffix.lower()
    if suffix not in (*SUFFIXES, ".gif", *IMAGE_NAMES):
        raise ConfigError(f"{target}: unknown suffix. Choose one of {', '.join((*SUFFIXES, '.gif', *IMAGE_NAMES))}.")
    return suffix in IMAGE_NAMES


def _shown(videos: "list[_Video]", seconds: Fraction | None) -> Iterator[list[Frame]]:
    """Yield the frames of all videos together: those at one time, or all."""
    if seconds is not None:
        yield [video.frame_at(seconds) for video in videos]
        return
    first, second, *others = videos
    both = pairs(first.frames, second.frames, names=(str(first.path), str(second.path)))
    if not others:
        yield from map(list, both)
        return
    left, pairs_shown = tee(both)
    (reference,) = others
    with_reference = pairs((a for a, _ in left), reference.frames, names=(str(first.path), str(reference.path)))
    for (a, b), (_, original) in zip(pairs_shown, with_reference, strict=True):
        yield [a, b, original]


class _Video:
    """A `.vtok` file or another video."""

    def __init__(self, path: StrPath, stack: ExitStack, tokenizer: VideoTokenizer | None) -> None:
        refuse_pipe(path)  # its size is needed
        self.path = path
        self._reader: CompressedVideo | VideoReader
        if is_vtok(path):
            self._reader = video = stack.enter_context(CompressedVideo(path, tokenizer=tokenizer))
            num_bytes = video.index.num_bytes - video.index.num_track_bytes
            duration = float(video.index.duration)
        else:
            self._reader = reader = stack.enter_context(VideoReader(path))
            num_bytes, duration = reader.num_bytes, reader.info.duration_seconds_from_header or 0.0
        self.info = self._reader.info
        self.kbit_per_second = 8e-3 * num_bytes / duration if duration else None
        self.frames = iter(self._reader)

    def frame_at(self, seconds: Fraction) -> Frame:
        """The frame that is shown `seconds` after the first one."""
        first_pts, frames = None, self.frames
        if isinstance(self._reader, CompressedVideo):  # decoding need not start at its beginning
            first_pts = self._reader.index.first_pts
            number = self._reader.index.first_frame_at(seconds)
            frames = iter(self._reader.frames(max(0, number - 1), number + 1))
        shown = None
        for frame in frames:
            first_pts = frame.pts if first_pts is None else first_pts
            if (frame.pts - first_pts) * self.info.time_base > seconds:
                break
            shown = frame
        else:
            if shown is None or first_pts is None or seconds >= self._end(first_pts, shown):
                raise ConfigError(f"{self.path}: no frame is shown at {float(seconds):g} s; it ends before")
        assert shown is not None  # the first frame is at 0 seconds
        return shown

    def _end(self, first_pts: int, last: Frame) -> float:
        if isinstance(self._reader, CompressedVideo):
            return float(self._reader.index.duration)
        return played_seconds(self.info, first_pts, last.pts, self._reader.last_frame_ticks)

    def label(self, meter: QualityMeter, frame: Frame, reference: Frame | None) -> str:
        """Name, bitrate and, with a reference, PSNR of `frame`."""
        parts = [Path(self.path).name]
        if self.kbit_per_second:
            parts.append(f"{self.kbit_per_second:.0f} kbit/s")
        if reference is not None:
            meter.add(reference, frame)
            parts.append(f"{meter.frame_psnr_yuv()[-1]:.2f} dB")
        return ", ".join(parts)


class _Sheet:
    """Draws both frames into one, under a bar with the labels.

    Attributes:
        info: Description of the drawn frames.
    """

    def __init__(self, info: VideoInfo, *, split: bool) -> None:
        self._split = split
        self._size = (info.height, info.width)
        # Chroma has half the columns, so the right half begins at an even column.
        self._start = info.width // 4 * 2 if split else info.width + info.width % 2 + _GAP
        width = info.width if split else self._start + info.width
        self._bar = 2 * (_MAX_FONT_SIZE // 2 + 4)
        self._widths = (self._start if split else info.width, width - self._start)
        self.info = replace(info, width=width, height=info.height + self._bar)

    def draw(self, left: Frame, right: Frame, labels: list[str]) -> Frame:
        """One frame that shows both, with the timestamp of the left one."""
        height, width = self.info.height, self.info.width
        y = np.full((height, width), _BLACK, np.uint8)
        u, v = (np.full((-(-height // 2), -(-width // 2)), _GREY, np.uint8) for _ in range(2))
        for sheet, a, b, scale in ((y, left.y, right.y, 1), (u, left.u, right.u, 2), (v, left.v, right.v, 2)):
            start, top = self._start // scale, self._bar // scale
            if self._split:
                sheet[top:, :start], sheet[top:, start:] = a[:, :start], b[:, start:]
            else:
                sheet[top:, : a.shape[1]], sheet[top:, start:] = a, b
        for text, start, room in zip(labels, (0, self._start), self._widths, strict=True):
            y[: self._bar, start : start + room] = text_plane(text, room, self._bar)
        if self._split:
            y[:, self._start] = _WHITE
        return Frame(y, u, v, left.pts)


def text_plane(text: str, width: int, height: int) -> Plane:
    """White text on black, uint8 `[height, width]`; shrunk where too wide, and cut off at the smallest font size."""
    drawing, fonts = _pillow()
    from PIL import Image

    image = Image.new("L", (width, height), _BLACK)
    pen = drawing(image)
    sizes = range(_MAX_FONT_SIZE, _MIN_FONT_SIZE - 1, -1)
    fitting = (size for size in sizes if pen.textlength(text, font=fonts(size)) <= width - 8)
    pen.text((4, height // 2), text, fill=_WHITE, font=fonts(next(fitting, _MIN_FONT_SIZE)), anchor="lm")
    return np.asarray(image, np.uint8)


def check_pillow() -> None:
    """Raise ConfigError if labels cannot be drawn."""
    _pillow()


@cache
def _pillow() -> tuple[Callable[..., Any], Callable[[int], Any]]:
    """Pillow's drawing, and its own font by size.

    Raises:
        ConfigError: Pillow is missing.
    """
    try:
        from PIL import ImageDraw, ImageFont
    except ImportError:
        raise ConfigError("labels need Pillow. pip install pillow brings it.") from None
    return ImageDraw.Draw, cache(lambda size: ImageFont.load_default(size))
