"""A preview: one frame of a video at five qualities, and what the whole file would come to at each of them.

look     counts frames and bytes that are no codes                       no networks
price    codes up to four groups at the middle quality                   --> sizes; a group of usual bytes
show     codes this group at all qualities                               --> how sizes and errors change with it
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from vtok.errors import ConfigError
from vtok.files.estimate import MAX_SAMPLED
from vtok.files.options import EncodeOptions, encode_options
from vtok.files.passes import Look, Passes, SourceGroup
from vtok.files.trials import NUM_COSTS, Coder, Costs, Forecast, errors_of, psnr_yuv
from vtok.measure.comparison import check_pillow
from vtok.model.loading import shared_model
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.atomic import check_target, open_atomically
from vtok.system.paths import StrPath
from vtok.system.standard_streams import local_file
from vtok.video.frame import Frame, Progress
from vtok.video.times import exact_seconds

QUALITIES = (1, 3, 5, 7, 9)
SUFFIXES = (".png", ".html")
_MIDDLE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewPoint:
    """One quality of a preview.

    Attributes:
        quality: The quality.
        num_bytes: Bytes that the whole file would have, about.
        kbit_per_second: Its bitrate; None for a single frame without a rate.
        psnr_yuv: Its PSNR-YUV in dB, about.
        frame_psnr_yuv: PSNR-YUV of the frame that is shown, in dB.
    """

    quality: int
    num_bytes: int
    kbit_per_second: float | None
    psnr_yuv: float
    frame_psnr_yuv: float

    def label(self) -> str:
        """The quality and the file in a few words."""
        rate = f", {self.kbit_per_second:.0f} kbit/s" if self.kbit_per_second else ""
        return f"quality {self.quality}: {self.num_bytes / 1e6:.3g} MB{rate}, {self.psnr_yuv:.1f} dB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Result of `preview_file`.

    Attributes:
        source: The video.
        target: The page or image that was written.
        seconds: Time of the frame that is shown, after the first frame.
        points: The qualities.
        notices: Conversions and omissions, one line each.
        incomplete: The reason why the source could not be read to its end, or None.
    """

    source: str
    target: str
    seconds: float
    points: list[PreviewPoint]
    notices: list[str]
    incomplete: str | None

    def summary(self) -> str:
        """Some lines for people."""
        labels = [f"about {point.label()}" for point in self.points]
        return "\n".join([f"{self.target}: {self.source} at {self.seconds:.3g} s", *labels])


@dataclass(frozen=True, slots=True)
class Shown:
    """The frame that is drawn, at one quality.

    Attributes:
        original: The frame of the source.
        decoded: The frame as it decodes.
        errors: `errors_of` the two.
        costs: Costs of the group around it.
    """

    original: Frame
    decoded: Frame
    errors: Costs
    costs: Costs


def preview_file(
    source: StrPath,
    target: StrPath = "preview.png",
    *,
    at_seconds: Fraction | float | None = None,
    tokenizer: VideoTokenizer | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Preview:
    """Draw one frame of a video beside what it decodes to at five qualities, with the size of the whole file at each.

    Args:
        source: A video, as `encode_file` takes it.
        target: The image (.png) or the page that needs no other file (.html) to write.
        at_seconds: Time after the first frame of the frame to show; default: the middle of a group of usual size.
        tokenizer: The tokenizer that encodes; default: the pretrained one of this package.
        overwrite: Replace an existing target.
        progress: Called with the video's description and the name of each pass; see `encode_file`.
        options: Those of `encode_file` that say what is encoded and how, such as `effort` and `with_audio`.

    Raises:
        VtokError: The source cannot be read, there is no such time, the target cannot be written, or Pillow is missing.
    """
    given = encode_options(**options)
    return preview_with(
        given, source, target, at_seconds=at_seconds, tokenizer=tokenizer, overwrite=overwrite, progress=progress
    )


def preview_with(
    options: EncodeOptions,
    source: StrPath,
    target: StrPath,
    *,
    at_seconds: Fraction | float | None = None,
    tokenizer: VideoTokenizer | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Preview:
    """Do the same as `preview_file`, with an options object, of which the quality has no effect."""
    if Path(target).suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{target}: unknown suffix. Choose one of {', '.join(SUFFIXES)}")
    check_target(target, [source], overwrite=overwrite)
    check_pillow()
    from vtok.benchmark.preview_drawing import drawn

    model = shared_model(options.model) if tokenizer is None else tokenizer.pretrained
    with local_file(source) as path:
        passes = Passes(path, source, options, model, progress)
        look = passes.look()
        at = None if at_seconds is None else _ticks(look, at_seconds, str(source))
        usual, total = _priced(passes, look)
        wanted = usual if at is None else bisect_right(look.begins, at) - 1
        group, info, advance = next(passes.groups("show", {wanted}))
        coder = passes.coder(info, sees=True)
        frames = [frame.pts for chunk in group.chunks for frame in chunk.frames]
        number = len(frames) // 2 if at is None else bisect_right(frames, at) - 1
        shown = {quality: _shown(coder, group, quality, number, advance) for quality in QUALITIES}
    points = [_point(look, quality, total * _ratio(shown, quality), shown[quality]) for quality in QUALITIES]
    preview = Preview(
        source=str(source),
        target=str(target),
        seconds=float((frames[number] - look.begins[0]) * info.time_base),
        points=points,
        notices=look.notices,
        incomplete=look.incomplete,
    )
    data = drawn(preview, info, list(shown.values()))
    with open_atomically(target, overwrite=overwrite) as file:
        file.write(data)
    return preview


def _ticks(look: Look, seconds: Fraction | float, name: str) -> int:
    """The timestamp at a time after the first frame."""
    if not 0 <= seconds < max(look.seconds, 1e-9):
        raise ConfigError(f"{name}: no frame is shown at {float(seconds):g} s; it lasts {look.seconds:g} s")
    return look.begins[0] + int(exact_seconds(seconds) / look.info.time_base)


def _priced(passes: Passes, look: Look) -> tuple[int, Costs]:
    """Code some groups at the middle quality; return the one of median bytes per frame, and the costs of all groups."""
    forecast, per_frame = Forecast(look.num_frames), {}
    for group, info, advance in passes.groups("price", look.spread(MAX_SAMPLED)):
        _, costs = passes.coder(info, sees=True).code(group.chunks, _MIDDLE, 0, advance)
        forecast.add(group.number, _MIDDLE, costs)
        per_frame[group.number] = float(costs[0]) / look.num_frames[group.number]
    usual = median_low((value, number) for number, value in per_frame.items())[1]
    return usual, forecast.costs(range(len(look.num_frames)), _MIDDLE)


def _shown(coder: Coder, group: SourceGroup, quality: int, number: int, advance: Callable[[int], None]) -> Shown:
    """Code a group, and keep one of its frames."""
    coded = coder.encode(group.chunks, quality, 0, advance)
    costs = np.zeros(NUM_COSTS)
    costs[0] = len(coded.coded)
    kept: tuple[Frame, Frame] | None = None
    for index, (frame, decoded) in enumerate(coder.pairs(group.chunks, coded)):
        costs[1:-1] += errors_of(frame, decoded)
        if index == number:
            kept = frame, decoded
    assert kept is not None  # the number is one of the group's
    return Shown(*kept, errors_of(*kept), costs)


def _ratio(shown: dict[int, Shown], quality: int) -> Costs:
    """What the group costs at a quality, over what it costs at the middle one."""
    ratio: Costs = shown[quality].costs / np.maximum(shown[_MIDDLE].costs, 1e-9)
    return ratio


def _point(look: Look, quality: int, total: Costs, shown: Shown) -> PreviewPoint:
    num_bytes = round(look.num_bytes(float(total[0])))
    return PreviewPoint(
        quality=quality,
        num_bytes=num_bytes,
        kbit_per_second=8e-3 * num_bytes / look.seconds if look.seconds else None,
        psnr_yuv=psnr_yuv(total, sum(look.num_frames)),
        frame_psnr_yuv=psnr_yuv(np.array([0.0, *shown.errors]), 1),
    )
