"""Frames that are made here, and files of them: by our own writer, or by PyAV alone in whatever form a test needs."""

from fractions import Fraction

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter
from vtok.video.frame import Frame


def make_frames(info, pts, seed=0):
    rng = np.random.default_rng(seed)
    half = ((info.height + 1) // 2, (info.width + 1) // 2)
    sizes = ((info.height, info.width), half, half)
    return [Frame(*(rng.integers(0, 256, size, np.uint8) for size in sizes), pts=p) for p in pts]


def write(path, info, frames, *, last_frame_ticks=0, **options):
    with VideoWriter(path, info, **options) as writer:
        for frame in frames:
            writer.write(frame)
        writer.last_frame_ticks = last_frame_ticks
    return writer


def read(path, **options):
    with VideoReader(path, **options) as reader:
        frames = list(reader)
    return reader, frames


def encode(
    path, codec, pixel_format, pictures, pts=None, size=None, time_base=Fraction(1, 100), container=None, **tags
):
    """Write a file with PyAV alone; `pictures` are lists of uint8 or uint16 planes, shaped as FFmpeg stores them."""
    with av.open(str(path), "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=25, time_base=time_base)
        width, height = size or (pictures[0][0].shape[1], pictures[0][0].shape[0])
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for index, planes in enumerate(pictures):
            picture = av.VideoFrame(width, height, pixel_format)
            for target, source in zip(picture.planes, planes, strict=True):
                lines = np.frombuffer(target, source.dtype).reshape(target.height, -1)
                lines[:, : source.shape[1]] = source
            picture.pts, picture.time_base = (pts[index] if pts else 4 * index), time_base
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return path


def ramp(height, width, seed=0):
    rows, columns = np.mgrid[:height, :width]
    return ((3 * rows + 2 * columns + 40 * seed) % 220 + 16).astype(np.uint8)


def video_420(num_frames, height=48, width=64):
    return [
        [ramp(height, width, i), ramp(height // 2, width // 2, i), ramp(height // 2, width // 2, i)]
        for i in range(num_frames)
    ]


def assert_same(frames, others):
    assert [f.pts for f in frames] == [f.pts for f in others]
    for frame, other in zip(frames, others, strict=True):
        for name in "yuv":
            np.testing.assert_array_equal(getattr(frame, name), getattr(other, name))


def assert_one_line(caught, path):
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def color_bars(info, num_frames=1):
    """Eight bars of flat colours, as `Frame`s: primaries and mixtures at 75 %, by the matrix and range of `info`."""
    red, blue = {1: (0.2126, 0.0722)}.get(info.color_matrix, (0.299, 0.114))
    rgb = 0.75 * np.array([[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    luma = rgb @ [red, 1 - red - blue, blue]
    cb, cr = (rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)
    black, span, chroma_span = (0, 255, 255) if info.is_full_range else (16, 219, 224)
    levels = [black + span * luma, 128 + chroma_span * cb, 128 + chroma_span * cr]
    planes = []
    for level, width, height in zip(
        levels, [info.width, info.width // 2, info.width // 2], [info.height, info.height // 2, info.height // 2],
        strict=True,
    ):  # fmt: skip
        planes.append(np.tile(level.round().astype(np.uint8).repeat(width // 8), (height, 1)))
    return [Frame(*planes, pts=t) for t in range(num_frames)], (255 * rgb).round()


def filtered(path, source, bitstream_filter):
    """A copy of a video whose packets one of FFmpeg's filters has changed."""
    with av.open(str(source)) as taken, av.open(str(path), "w") as output:
        stream = taken.streams.video[0]
        copied = output.add_stream_from_template(stream)
        changing = BitStreamFilterContext(bitstream_filter, stream, copied)
        for packet in taken.demux(stream):
            for changed in changing.filter(packet if packet.size else None):
                changed.stream = copied
                output.mux(changed)
    return path
