"""Cuts clips out of a video: windows of consecutive frames, scaled down and cropped at random."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation

from vtok.errors import MediaError
from vtok.training.config import ClipCacheConfig
from vtok.video.frame import Plane

SHORTEST_TAIL = 8  # frames; a shorter rest of a video is left out


def cut_video(path: Path, config: ClipCacheConfig) -> Plane:
    """All clips of one video, uint8 `[N, t, 3 * s * s / 2]`; the draws depend on the file's name and the seed only."""
    name_hash = hashlib.sha256(path.name.encode()).digest()
    rng = np.random.default_rng([config.seed, int.from_bytes(name_hash[:8], "little")])
    clips = [clip for window in _windows(path, config) for clip in _cut_window(window, config, rng)]
    shape = (config.num_frames, 3 * config.size**2 // 2)
    return np.stack(clips) if clips else np.empty((0, *shape), np.uint8)


def _windows(path: Path, config: ClipCacheConfig) -> Iterator[list[VideoFrame]]:
    """Windows of consecutive frames. A last window of at least eight frames is filled by playing it back and forth."""
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        num_frames = stream.frames or int(float(stream.average_rate or 25) * float(container.duration or 0) / 1e6)
        stride = max(1, -(-num_frames // config.num_frames) // config.max_windows_per_video)
        window: list[VideoFrame] = []
        try:
            for index, frame in enumerate(container.decode(stream)):
                if (index // config.num_frames) % stride == 0:
                    window.append(frame)
                if len(window) == config.num_frames:
                    yield window
                    window = []
        except av.FFmpegError:
            pass  # a source that breaks off still gives the clips before the break
        if len(window) >= SHORTEST_TAIL:
            there_and_back = window + window[-2:0:-1]
            yield [there_and_back[i % len(there_and_back)] for i in range(config.num_frames)]


def _open(path: Path) -> InputContainer:
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise MediaError(f"{path}: cannot be read as a video: {error.strerror}. Take it out of the folder.") from error
    if not container.streams.video:
        raise MediaError(f"{path}: has no video stream. Take it out of the folder.")
    return container


def _cut_window(window: list[VideoFrame], config: ClipCacheConfig, rng: np.random.Generator) -> Iterator[Plane]:
    width, height = window[0].width, window[0].height
    largest = min(config.max_downscale, min(width, height) / config.size)
    for _ in range(config.scales_per_window):
        factor = rng.uniform(1.0, max(1.0, largest))
        w, h = (max(config.size, round(side / factor / 2) * 2) for side in (width, height))
        frames = [
            frame.reformat(
                width=w,
                height=h,
                format="yuv420p",
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC,
            ).to_ndarray()
            for frame in window
        ]
        scaled = np.stack(frames).astype(np.uint8, copy=False)
        for _ in range(config.crops_per_scale):
            top = 2 * int(rng.integers(0, (h - config.size) // 2 + 1))
            left = 2 * int(rng.integers(0, (w - config.size) // 2 + 1))
            yield _crop_i420(scaled, h, w, top, left, config.size)


def _crop_i420(frames: Plane, h: int, w: int, top: int, left: int, size: int) -> Plane:
    """A square crop of packed I420 frames `[t, 3h/2, w]` as `[t, 3 * size * size / 2]`."""
    t = len(frames)
    flat = frames.reshape(t, -1)
    y = flat[:, : h * w].reshape(t, h, w)[:, top : top + size, left : left + size]
    chroma = flat[:, h * w :].reshape(t, 2, h // 2, w // 2)
    uv = chroma[:, :, top // 2 : (top + size) // 2, left // 2 : (left + size) // 2]
    return np.concatenate([y.reshape(t, -1), uv.reshape(t, -1)], axis=1)
