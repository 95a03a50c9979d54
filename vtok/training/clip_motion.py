"""Searches the motion of the clips in a cache's folder, once, and keeps it beside them."""

import io
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtok.system.atomic import write_atomically
from vtok.training.config import ClipCacheConfig
from vtok.video.frame import Plane
from vtok.video.motion import ANCHOR, NUM_FIELDS, motion_size

MOTION = "motion.npy"  # beside the clips: int16 [N, lagrangians, t / 8, 8, 2, rows, columns]
FRAMES_PER_CHUNK = 8


def search_clips(folder: Path, config: ClipCacheConfig, pool: Executor, advance: Callable[[], object]) -> None:
    """Search the motion of all clips in a cache's folder, and keep it there as `motion.npy`."""
    num_clips = len(_luma_of_clips(folder, config))
    jobs = [pool.submit(_search_clip, folder, config, number) for number in range(num_clips)]
    fields = []
    for job in jobs:
        fields.append(job.result())
        advance()
    data = io.BytesIO()
    np.save(data, np.stack(fields))
    write_atomically(folder / MOTION, data.getbuffer())


def _luma_of_clips(folder: Path, config: ClipCacheConfig) -> Plane:
    """The luma of all clips in a cache's folder, uint8 `[N, t, s, s]`."""
    flat = np.memmap(folder / "clips.bin", np.uint8, "r")
    clips = flat.reshape(-1, config.num_frames, 3 * config.size**2 // 2)
    return clips[..., : config.size**2].reshape(-1, config.num_frames, config.size, config.size)


def _search_clip(folder: Path, config: ClipCacheConfig, number: int) -> NDArray[np.int16]:
    """The motion of one clip without its last incomplete chunk, int16 as in `ClipBatch.fields`."""
    from vtok.motion.search import MotionSearch  # loads OpenCV

    luma = np.array(_luma_of_clips(folder, config)[number])
    search = MotionSearch(config.size, config.size)
    fields = np.zeros(motion_shape(config), np.int16)
    for place, lagrangian in enumerate(config.motion_lagrangians):
        for chunk, start in enumerate(range(0, len(luma) - FRAMES_PER_CHUNK + 1, FRAMES_PER_CHUNK)):
            frames = luma[start : start + FRAMES_PER_CHUNK]
            alignment = search.alignment(frames, lagrangian)
            fields[place, chunk, :-1] = alignment
            if start:
                before = luma[start - FRAMES_PER_CHUNK + ANCHOR]
                fields[place, chunk, -1] = search.displacement(frames[ANCHOR], before, alignment, lagrangian)
    return fields


def motion_shape(config: ClipCacheConfig) -> tuple[int, ...]:
    """The shape of the motion of one clip, see `ClipBatch.fields`."""
    size = motion_size(config.size, config.size)
    return len(config.motion_lagrangians), config.num_frames // FRAMES_PER_CHUNK, NUM_FIELDS, 2, *size
