"""Videos that several test modules work on: made here, or cut out of a sample."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from vtok.media import VideoReader, VideoWriter

ROOT = Path(__file__).parent.parent


def write_video(
    path,
    *,
    num_frames=16,
    size=(64, 48),
    codec="libx264",
    pixel_format="yuv420p",
    options=None,
    container_options=None,
):
    """A drifting pattern at 25 frames per second, by PyAV alone; `size` is width and height."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for t in range(num_frames):
            luma = 128 + 60 * np.sin((x + 3 * t) / 7) + 40 * np.cos((y - t) / 5)
            planes = [luma, *np.full((2, height // 2, width // 2), (110 + t % 30))]
            packed = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, width)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(packed.astype(np.uint8), format="yuv420p")))
        container.mux(stream.encode())
    return path


def cut_sample(target, *, num_frames=16, codec="libx264"):
    """The first frames of the sample video."""
    with (
        VideoReader(ROOT / "sample_videos" / "bigbuckbunny.mp4") as reader,
        VideoWriter(target, reader.info, codec=codec) as writer,
    ):
        for frame in islice(reader, num_frames):
            writer.write(frame)
    return target


def truncated(path, target, *, share):
    """Only the first part of a file."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target
