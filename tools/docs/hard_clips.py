"""Short clips that are hard to compress, each for one reason, for tools/docs/generate_model_card.py.

They are drawn by NumPy and Pillow, some from a frame of `sample_videos/`, and are the same in every run.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vtok.media.pixels import planes_420, rgb_from_planes
from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter
from vtok.video.frame import BT601, LIMITED_RANGE, Frame, VideoInfo

SAMPLES = Path(__file__).parents[2] / "sample_videos"
SIZE = WIDTH, HEIGHT = 320, 192
WORDS = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8").split()
CUT_AT = 28
"""Number of the first frame after the cut, in the middle of eight frames that are coded together."""

Picture = NDArray[np.uint8]
"""RGB, uint8 `[HEIGHT, WIDTH, 3]`."""


def scrolling_page(num_frames: int) -> Iterator[Picture]:
    """Small black text on white that moves up by two pixels a frame."""
    page = _page_of_text(HEIGHT + 2 * num_frames)
    for n in range(num_frames):
        yield page[2 * n : 2 * n + HEIGHT]


def still_page(num_frames: int) -> Iterator[Picture]:
    """The text of `scrolling_page` at rest."""
    yield from [_page_of_text(HEIGHT)] * num_frames


def panning_texture(num_frames: int) -> Iterator[Picture]:
    """Gravel that moves by 2.7 pixels a frame: noise without its lowest and highest frequencies."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH + 3 * num_frames), np.uint8))
    fine, coarse = (np.asarray(noise.filter(ImageFilter.GaussianBlur(radius)), float) for radius in (0.8, 4))
    luma = 120 + 0.9 * (fine - coarse)
    yield from _pan(np.rint(np.clip(luma[..., None] * (1.05, 1.0, 0.85), 0, 255)).astype(np.uint8), 2.7, num_frames)


def film_grain(num_frames: int) -> Iterator[Picture]:
    """A photograph at rest under noise that is new in every frame."""
    rng, photo = np.random.default_rng(0), _photograph().astype(float)
    for _ in range(num_frames):
        grain = rng.normal(0, 8, (HEIGHT, WIDTH, 1))
        yield np.rint(np.clip(photo + grain, 0, 255)).astype(np.uint8)


def hard_cut(num_frames: int) -> Iterator[Picture]:
    """A cut from the photograph to the frame of the film, both at rest."""
    film = _sample_frame("bigbuckbunny.mp4")[100 : 100 + HEIGHT, 160 : 160 + WIDTH]
    yield from ([_photograph()] * CUT_AT + [film] * num_frames)[:num_frames]


def dark_gradient(num_frames: int) -> Iterator[Picture]:
    """A dim light that moves slowly across a dark wall, without noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for n in range(num_frames):
        distance = np.hypot(x - 80 - n, y - 60) / WIDTH
        light = 6 + 40 * np.exp(-3 * distance**2)
        yield np.rint(light[..., None] * (0.8, 0.9, 1.2)).astype(np.uint8)


def moving_ball(num_frames: int) -> Iterator[Picture]:
    """A small, fast ball in front of the photograph."""
    photo = Image.fromarray(_photograph())
    for n in range(num_frames):
        picture = photo.copy()
        x, y = 7 * n % WIDTH, HEIGHT // 2 + 60 * np.sin(n / 5)
        ImageDraw.Draw(picture).ellipse(
            (x - 14, y - 14, x + 14, y + 14), fill=(240, 200, 30), outline=(0, 0, 0), width=3
        )
        yield np.asarray(picture)


def write_clip(path: Path, pictures: Iterator[Picture]) -> None:
    """Write pictures to a lossless file, 25 a second."""
    info = VideoInfo(
        width=WIDTH,
        height=HEIGHT,
        time_base=Fraction(1, 25),
        average_rate=Fraction(25),
        color_range=LIMITED_RANGE,
        color_matrix=BT601,
    )
    reformatter = VideoReformatter()
    with VideoWriter(path, info, codec="ffv1") as writer:
        for pts, picture in enumerate(pictures):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            writer.write(Frame(*planes_420(frame, reformatter), pts=pts))


def _pan(picture: Picture, speed: float, num_frames: int) -> Iterator[Picture]:
    """Windows of a wide picture, `speed` pixels apart. `speed` may be fractional, as with a camera."""
    wide = Image.fromarray(picture)
    for n in range(num_frames):
        yield np.asarray(wide.resize(SIZE, Image.Resampling.BICUBIC, (speed * n, 0, speed * n + WIDTH, HEIGHT)))


def _page_of_text(height: int) -> Picture:
    """As much text as fits, in letters of a usual screen size; uint8 `[height, WIDTH, 3]`."""
    page = Image.new("RGB", (WIDTH, height), "white")
    pen, font, words = ImageDraw.Draw(page), ImageFont.load_default(11), iter(WORDS * 20)
    for top in range(4, height, 14):
        line = next(words)
        while pen.textlength(longer := f"{line} {next(words)}", font=font) < WIDTH - 8:
            line = longer
        pen.text((4, top), line, fill="black", font=font)
    return np.asarray(page)


def _sample_frame(name: str) -> Picture:
    """The first frame of a sample video, uint8 `[h, w, 3]`."""
    with VideoReader(SAMPLES / name) as reader:
        return rgb_from_planes(next(iter(reader)), reader.info, VideoReformatter())


def _photograph() -> Picture:
    return _sample_frame("astronaut_vfr_odd.mkv")[:HEIGHT, :WIDTH]
