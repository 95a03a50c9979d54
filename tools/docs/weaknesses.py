"""Codes clips that are hard for vtok, by vtok and by x264 at the same bytes; see generate_model_card.py."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hard_clips
import numpy as np
from av.video.reformatter import VideoReformatter
from generate_quality import side_by_side
from numpy.typing import NDArray
from PIL import Image

from vtok.benchmark.clips import make_reference
from vtok.benchmark.codecs import Coding, code_with_vtok
from vtok.benchmark.viewer import error_map, fit_x264
from vtok.measure.psnr_ssim import QualityMeter
from vtok.measure.stats import pairs
from vtok.media.pixels import rgb_from_planes
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.video.frame import Frame, VideoInfo

PRESET = "medium"
WINDOW = 128, 96
"""Columns and rows of the part that a picture shows; multiples of eight."""
_BLOCK = 4  # pixels per value of `error_map`, in both directions
_STEP = 2  # blocks from one candidate window to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A clip to be measured.

    Attributes:
        title: Content of the clip.
        write: Writes the lossless file of the clip, with the given number of frames.
        shown_quality: The quality of vtok in the picture; None for no picture.
        remark: What the picture shows, in a sentence.
        moves: Whether to look at the edges of its motion.
    """

    title: str
    write: Callable[[Path, int], None]
    shown_quality: int | None = None
    remark: str = ""
    moves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A clip as a codec decodes it: bits per pixel, PSNR-YUV in dB of all frames and of each, and the frames."""

    bpp: float
    psnr: float
    frame_psnr: list[float]
    frames: list[Frame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A clip at one quality of vtok, and by x264 at the same bytes."""

    subject: Subject
    quality: int
    vtok: Coded
    x264: Coded

    @property
    def behind(self) -> float:
        """The lead of x264 in dB of PSNR-YUV."""
        return self.x264.psnr - self.vtok.psnr


def made(pictures: Callable[[int], Iterator[hard_clips.Picture]]) -> Callable[[Path, int], None]:
    """`Subject.write` of a clip that is drawn."""
    return lambda path, num_frames: hard_clips.write_clip(path, pictures(num_frames))


def sample(name: str) -> Callable[[Path, int], None]:
    """`Subject.write` of a sample video."""
    clip = hard_clips.SAMPLES / name
    return lambda path, num_frames: make_reference(clip, path, num_frames=num_frames, max_width=640)


SUBJECTS = (
    Subject(
        title="Text that scrolls",
        write=made(hard_clips.scrolling_page),
        shown_quality=2,
        remark="Sharp edges in motion. Eight frames are coded as one block, where a moving edge takes many codes; "
        "letters run into each other as long as those are not paid for.",
    ),
    Subject(title="Text at rest", write=made(hard_clips.still_page)),
    Subject(
        title="Gravel that pans",
        write=made(hard_clips.panning_texture),
        shown_quality=5,
        remark="What the eight frames before show is expected, not copied: texture that moves by parts of a pixel is "
        "paid for again, and what is not paid for is smoothed away.",
        moves=True,
    ),
    Subject(title="A hard cut", write=made(hard_clips.hard_cut)),
    Subject(
        title="Something small and fast",
        write=made(hard_clips.moving_ball),
        shown_quality=5,
        remark="What crosses a block in fewer than eight frames leaves spots where it was and where it will be.",
    ),
    Subject(title="Film grain on a still scene", write=made(hard_clips.film_grain)),
    Subject(title="A dim light on a dark wall", write=made(hard_clips.dark_gradient)),
    Subject(
        title="A film, bigbuckbunny.mp4",
        write=sample("bigbuckbunny.mp4"),
        shown_quality=5,
        remark="Fine texture is smoothed, and what moves is blurred or doubled.",
        moves=True,
    ),
    Subject(
        title="A photograph with pan and zoom, astronaut_vfr_odd.mkv",
        write=sample("astronaut_vfr_odd.mkv"),
        moves=True,
    ),
)


def measure(
    subject: Subject, qualities: Sequence[int], num_frames: int, tokenizer: VideoTokenizer | None
) -> Iterator[tuple[Measured, Image.Image | None]]:
    """Code a clip with vtok at some qualities, and with x264 at the same bytes; yield the picture if one is shown."""
    with tempfile.TemporaryDirectory(prefix="vtok-card-") as temporary:
        folder = Path(temporary)
        reference = folder / "reference.mkv"
        subject.write(reference, num_frames)
        with VideoReader(reference) as reader:
            info, source = reader.info, list(reader)
        for quality in qualities:
            ours = code_with_vtok(quality, reference, folder, tokenizer=tokenizer)
            # With more threads, x264's bytes differ more from run to run.
            x264, _ = fit_x264(ours.num_bytes, reference, folder, preset=PRESET, threads=1)
            measured = Measured(
                subject=subject, quality=quality, vtok=compare(source, ours), x264=compare(source, x264)
            )
            yield measured, picture(measured, info, source) if quality == subject.shown_quality else None


def compare(source: list[Frame], coding: Coding) -> Coded:
    """Measure a codec's output against the source frames."""
    meter, frames = QualityMeter(), []
    with VideoReader(coding.decoded) as reader:
        for original, copy in pairs(source, reader, names=("source", coding.decoded.name)):
            meter.add(original, copy)
            frames.append(copy)
    bpp = 8 * coding.num_bytes / (source[0].y.size * len(source))
    return Coded(bpp=bpp, psnr=meter.result().psnr_yuv, frame_psnr=meter.frame_psnr_yuv(), frames=frames)


def worst_window(source: list[Frame], coded: list[Frame]) -> tuple[int, int, int]:
    """The frame number and the first column and row of the window with the largest mean absolute error of luma."""

    def means(errors: NDArray[np.float64]) -> NDArray[np.float64]:
        shape = min(WINDOW[1] // _BLOCK, errors.shape[0]), min(WINDOW[0] // _BLOCK, errors.shape[1])
        windows = np.lib.stride_tricks.sliding_window_view(errors, shape)
        result: NDArray[np.float64] = windows[::_STEP, ::_STEP].mean(axis=(2, 3))
        return result

    errors = np.stack([means(error_map(*pair)) for pair in zip(source, coded, strict=True)])
    number, row, column = np.unravel_index(int(errors.argmax()), errors.shape)
    return int(number), int(column) * _STEP * _BLOCK, int(row) * _STEP * _BLOCK


def picture(measured: Measured, info: VideoInfo, source: list[Frame]) -> Image.Image:
    """The window where vtok is worst, for source, vtok and x264, magnified twice."""
    number, left, top = worst_window(source, measured.vtok.frames)
    crops = []
    for frames in (source, measured.vtok.frames, measured.x264.frames):
        whole = Image.fromarray(rgb_from_planes(frames[number], info, VideoReformatter()))
        crop = whole.crop((left, top, left + WINDOW[0], top + WINDOW[1]))
        crops.append(crop.resize((2 * WINDOW[0], 2 * WINDOW[1]), Image.Resampling.NEAREST))
    labels = [["source"], [f"vtok, quality {measured.quality}"], [f"x264 {PRESET}"]]
    for label, coded in zip(labels[1:], (measured.vtok, measured.x264), strict=True):
        label.append(f"{coded.bpp:.4f} bits per pixel, {coded.psnr:.2f} dB")
    return side_by_side(crops, labels, f"frame {number}, {WINDOW[0]}x{WINDOW[1]} pixels from ({left}, {top}) on")
