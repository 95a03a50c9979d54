"""Frames to be looked at: the source, vtok, and x264 at the same bitrate, with maps of their errors.

x264 is encoded anew for this; its crf is fitted until the stream has the size of vtok's file. Pictures are WebP files
named by their contents. Error maps show the mean absolute error of luma over blocks of 4x4 pixels, computed from the
decoded pixels, in 64 colours from 0 to `MAX_ERROR`.
"""

import hashlib
import io
import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from vtok.benchmark.codecs import FAMILIES, Coding, code_with_ffmpeg, code_with_vtok
from vtok.measure.psnr_ssim import QualityMeter
from vtok.measure.stats import pairs
from vtok.media.pixels import rgb_from_planes
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.atomic import write_atomically
from vtok.video.frame import Frame, VideoInfo

MAX_ERROR = 24
"""Luma levels at which the colours of an error map end."""
PICTURE_QUALITY = 90
RATE_TOLERANCE = 0.01
_MAX_TRIALS = 8
_BLOCK = 4
_FOCUS_BLOCKS = 8  # 32 pixels: about what the eye sees as one spot
_COLOURS = ((0, 0, 4), (59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))
"""Colours of the map magma (van der Walt and Smith, CC0), whose lightness rises evenly."""


def measure_viewer(
    quality: int,
    reference: Path,
    folder: Path,
    *,
    preset: str,
    num_pictures: int,
    pictures: Path,
    tokenizer: VideoTokenizer | None,
    threads: int,
) -> dict[str, Any]:
    """Encode with both codecs, write the pictures of some frames to the folder `pictures`, and return a record."""
    vtok = code_with_vtok(quality, reference, folder, tokenizer=tokenizer)
    x264, crf = fit_x264(vtok.num_bytes, reference, folder, preset=preset, threads=threads)
    series = [_frame_psnr(reference, coding.decoded) for coding in (vtok, x264)]
    chosen, median = choose_frames(series[0], num_pictures), median_frame(series[0])
    with VideoReader(reference) as source:
        info = source.info
    frames = []
    for number, (original, *coded) in enumerate(_side_by_side([reference, vtok.decoded, x264.decoded])):
        if number not in chosen:
            continue
        maps = [error_map(original, frame) for frame in coded]
        frames.append(
            {
                "number": number,
                "is_median": number == median,
                "psnr_yuv": [values[number] for values in series],
                "pictures": [_keep(picture_bytes(frame, info), pictures, "webp") for frame in (original, *coded)],
                "maps": [_keep(map_bytes(errors), pictures, "png") for errors in maps],
                "focus": focus_of(maps[0], info),
            }
        )
    bits = 8 / (info.width * info.height * len(series[0]))
    return {
        "width": info.width,
        "height": info.height,
        "x264_preset": preset,
        "x264_crf": crf,
        "bpp": vtok.num_bytes * bits,
        "x264_bpp": x264.num_bytes * bits,
        "frames": sorted(frames, key=lambda frame: frame["psnr_yuv"][0]),
    }


def fit_x264(num_bytes: int, reference: Path, folder: Path, *, preset: str, threads: int) -> tuple[Coding, float]:
    """Encode with the crf whose stream size comes closest to `num_bytes`, within a hundredth if x264 can do that.

    The bytes fall almost exponentially with the crf, so their logarithm is interpolated between the crfs tried.
    """
    errors: dict[float, float] = {}  # by crf: logarithm of bytes over wanted bytes
    low, high, crf = 0.0, float(FAMILIES["x264"].highest_crf), 34.0
    while crf not in errors and len(errors) < _MAX_TRIALS:
        coding = code_with_ffmpeg("x264", preset, crf, reference, folder, threads=threads)
        error = errors[crf] = math.log(coding.num_bytes / num_bytes)
        if abs(error) <= RATE_TOLERANCE:
            return coding, crf
        low, high = (crf, high) if error > 0 else (low, crf)
        if low < high and low in errors and high in errors:
            share = errors[low] / (errors[low] - errors[high])
            crf = low + (high - low) * min(max(share, 0.1), 0.9)
        else:  # about 6 crf halve the bytes
            crf = min(max(crf + 6 * error / math.log(2), low), high)
        crf = round(crf, 2)
    best = min(errors, key=lambda crf: abs(errors[crf]))
    return code_with_ffmpeg("x264", preset, best, reference, folder, threads=threads), best


def choose_frames(psnr: list[float], count: int) -> list[int]:
    """Choose `count` frame numbers: the worst frames, at least eight apart, and last the one of median PSNR."""
    by_psnr = sorted(range(len(psnr)), key=lambda number: psnr[number])
    worst: list[int] = []
    for number in by_psnr:
        if len(worst) < max(1, count - 1) and all(abs(number - other) >= 8 for other in worst):
            worst.append(number)
    median = median_frame(psnr)
    return worst if count == 1 or median in worst else [*worst, median]


def median_frame(psnr: list[float]) -> int:
    """Number of the frame of median PSNR; the better one of two."""
    return sorted(range(len(psnr)), key=lambda number: psnr[number])[len(psnr) // 2]


def error_map(original: Frame, coded: Frame) -> NDArray[np.float64]:
    """Mean absolute error of luma, `[ceil(h/4), ceil(w/4)]`, in levels of 0 to 255; edges are repeated."""
    errors = np.abs(original.y.astype(np.int16) - coded.y)
    h, w = errors.shape
    errors = np.pad(errors, ((0, -h % _BLOCK), (0, -w % _BLOCK)), mode="edge")
    blocks = errors.reshape(errors.shape[0] // _BLOCK, _BLOCK, errors.shape[1] // _BLOCK, _BLOCK)
    means: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return means


def focus_of(errors: NDArray[np.float64], info: VideoInfo) -> list[float]:
    """The place of the largest error, as shares of width and height in [0, 1]."""
    windows = np.lib.stride_tricks.sliding_window_view(
        errors, (min(_FOCUS_BLOCKS, errors.shape[0]), min(_FOCUS_BLOCKS, errors.shape[1]))
    ).mean(axis=(2, 3))
    row, column = np.unravel_index(int(windows.argmax()), windows.shape)
    middle = _FOCUS_BLOCKS * _BLOCK / 2
    x, y = (int(column) * _BLOCK + middle) / info.width, (int(row) * _BLOCK + middle) / info.height
    return [round(min(x, 1), 4), round(min(y, 1), 4)]


def picture_bytes(frame: Frame, info: VideoInfo) -> bytes:
    """Encode the frame as WebP."""
    target = io.BytesIO()
    pixels = rgb_from_planes(frame, info, VideoReformatter())
    Image.fromarray(pixels).save(target, "WEBP", quality=PICTURE_QUALITY, method=4)
    return target.getvalue()


def map_bytes(errors: NDArray[np.float64]) -> bytes:
    """Encode an error map as PNG, one pixel per block."""
    levels = np.minimum(errors * (63 / MAX_ERROR), 63).round().astype(np.uint8)
    image = Image.fromarray(levels, "L")
    image.putpalette(palette().tobytes())
    target = io.BytesIO()
    image.save(target, "PNG", optimize=True)
    return target.getvalue()


def palette() -> NDArray[np.uint8]:
    """Colours of error maps, uint8 `[64, 3]`, from no error to `MAX_ERROR`."""
    anchors = np.array(_COLOURS, float)
    positions = np.linspace(0, len(anchors) - 1, 64)
    channels = [np.interp(positions, range(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def _keep(data: bytes, folder: Path, suffix: str) -> str:
    """Write a picture once, named by its contents, and return the name."""
    name = f"{hashlib.sha256(data).hexdigest()[:16]}.{suffix}"
    folder.mkdir(exist_ok=True)
    if not (folder / name).exists():
        write_atomically(folder / name, data)  # atomically: a partial file would never be replaced
    return name


def _frame_psnr(reference: Path, decoded: Path) -> list[float]:
    meter = QualityMeter()
    with VideoReader(reference) as source, VideoReader(decoded) as copy:
        for pair in pairs(source, copy, names=(str(reference), str(decoded))):
            meter.add(*pair)
    return meter.frame_psnr_yuv()


def _side_by_side(paths: list[Path]) -> Iterator[tuple[Frame, ...]]:
    """Yield the frames of all videos together; the videos have the same number of frames."""
    with ExitStack() as stack:
        yield from zip(*(stack.enter_context(VideoReader(path)) for path in paths), strict=True)
