"""Source videos of known frames, written without loss and read back."""

from dataclasses import replace
from fractions import Fraction
from itertools import chain

import numpy as np

from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter
from vtok.video.frame import Frame, VideoInfo


def make_frames(num_frames, height, width, *, pts=None, seed=0):
    rng = np.random.default_rng(seed)
    half = (-(-height // 2), -(-width // 2))
    y, x = np.mgrid[:height, :width]
    frames = []
    for t in range(num_frames):
        luma = 128 + 60 * np.sin((x + 3 * t) / 7) + 40 * np.cos((y - t) / 5) + rng.normal(0, 2, (height, width))
        u, v = (np.full(half, level, np.uint8) for level in (100 + t % 40, 150))
        frames.append(Frame(luma.clip(0, 255).astype(np.uint8), u, v, t if pts is None else pts[t]))
    return frames


def panned(height, width, num_frames, *, speed, seed=0):
    """A smooth random texture that moves to the left by `speed` pixels a frame."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [(rng.uniform(0.02, 0.6), rng.uniform(-0.5, 0.5), rng.uniform(0, 6), rng.uniform(4, 14)) for _ in range(24)]

    def texture(moved, scale):
        return sum(a * np.sin(scale * (i * (x + moved / scale) + j * y) + p) for i, j, p, a in waves)

    frames = []
    for t in range(num_frames):
        luma = 128 + texture(speed * t, 1)
        chroma = (128 + 0.4 * texture(speed * t, 2))[: -(-height // 2), : -(-width // 2)]
        planes = [plane.round().clip(16, 235).astype(np.uint8) for plane in (luma, chroma, 256 - chroma)]
        frames.append(Frame(*planes, t))
    return frames


def scenes(height, width, lengths, *, speed=1, first_seed=0):
    """Textures one after the other, each of its own, that move by `speed` pixels a frame; cuts between them."""
    textures = (panned(height, width, n, speed=speed, seed=seed) for seed, n in enumerate(lengths, first_seed))
    return [replace(frame, pts=t) for t, frame in enumerate(chain.from_iterable(textures))]


def write_source(path, frames, *, time_base=Fraction(1, 25), codec="ffv1", **info):
    height, width = frames[0].y.shape
    fields = {"width": width, "height": height, "time_base": time_base, "average_rate": 1 / time_base}
    with VideoWriter(path, VideoInfo(**(fields | info)), codec=codec) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def read(path):
    with VideoReader(path) as reader:
        return list(reader)
