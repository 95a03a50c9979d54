"""Turns videos into one memory-mapped array of uint8 clips: decoded, scaled and cropped once, not per training step.

A clip is `num_frames` consecutive frames of a square crop, in planar YCbCr 4:2:0 with limited range. On disk the cache
is `clips.bin`, uint8 `[N, t, 3 * s * s / 2]` (each frame is its Y plane, then U, then V), and `cache.json`, which says
what the clips were made from.
"""

import json
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from copy import copy
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from vtok.errors import MediaError, writing
from vtok.networks.planes import Planes
from vtok.system.atomic import write_atomically
from vtok.system.paths import VIDEO_SUFFIXES
from vtok.training.clip_cutting import cut_video
from vtok.training.clip_motion import FRAMES_PER_CHUNK, MOTION, search_clips
from vtok.training.config import ClipCacheConfig
from vtok.video.frame import Plane
from vtok.video.motion import BLOCK


def find_videos(folder: Path) -> list[Path]:
    """Every video below `folder`, in a stable order.

    Raises:
        MediaError: There is none.
    """
    videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise MediaError(f"{folder}: no videos found; expected files ending in {', '.join(sorted(VIDEO_SUFFIXES))}")
    return videos


def build_clip_cache(
    videos: list[Path], folder: Path, config: ClipCacheConfig, *, num_workers: int = 2, quiet: bool = False
) -> "ClipCache":
    """Cut `videos` into clips, or reuse the cache in `folder` if it was made from the same files and configuration."""
    made_from = {"config": asdict(config), "videos": [[p.name, p.stat().st_size] for p in videos]}
    description = json.loads(json.dumps(made_from))  # with lists for tuples, as it is read
    manifest = folder / "cache.json"
    if manifest.exists() and json.loads(manifest.read_text())["made_from"] == description:
        return ClipCache(folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest.unlink(missing_ok=True)
    sources: list[list[object]] = []
    with (
        (folder / "clips.bin").open("wb") as file,
        ProcessPoolExecutor(num_workers) as pool,
        Progress(console=Console(stderr=True), disable=quiet) as progress,
    ):
        task = progress.add_task("cutting clips", total=len(videos))
        for path, clips in _cut_in_order(pool, videos, config, num_ahead=num_workers):
            with writing(file.name):
                file.write(clips.data)
            sources.append([path.name, len(clips)])
            progress.advance(task)
        with writing(file.name):
            file.flush()
            os.fsync(file.fileno())  # before a manifest exists, which marks the clips as complete
        task = progress.add_task("searching motion", total=sum(int(str(count)) for _, count in sources))
        search_clips(folder, config, pool, lambda: progress.advance(task))
    write_atomically(manifest, json.dumps({"made_from": description, "clips_per_video": sources}).encode())
    return ClipCache(folder)


def _cut_in_order(
    pool: Executor, videos: list[Path], config: ClipCacheConfig, *, num_ahead: int
) -> Iterator[tuple[Path, Plane]]:
    """Each video and its clips. At most `num_ahead` others are cut or wait meanwhile."""
    waiting: deque[Future[Plane]] = deque()
    following = iter(videos)
    for path in videos:
        waiting.extend(
            pool.submit(cut_video, video, config) for video in islice(following, 1 + num_ahead - len(waiting))
        )
        yield path, waiting.popleft().result()


class ClipBatch(NamedTuple):
    """Clips for a training step, on the cache's device.

    Attributes:
        planes: Planes of float32 in about [-1, 1], luma `[b, t, h, w]`.
        fields: Their motion for each lagrangian of the cache, as in `vtok.video.motion.ChunkMotion`, int16 `[b,
            lagrangians, t / 8, 8, 2, rows, columns]`.
    """

    planes: Planes
    fields: Tensor


class ClipCache:
    """A clip cache on disk, read through a memory map, or its copy on a GPU.

    Attributes:
        device: The device where the cache's planes are computed.
    """

    def __init__(self, folder: Path) -> None:
        meta = json.loads((folder / "cache.json").read_text())
        config = ClipCacheConfig.from_json(meta["made_from"]["config"])
        self.num_frames, self.size = config.num_frames, config.size
        self.clips_per_video: list[tuple[str, int]] = [(name, n) for name, n in meta["clips_per_video"]]
        frame_bytes = 3 * self.size**2 // 2
        flat = np.memmap(folder / "clips.bin", np.uint8, "c")  # writable for PyTorch's sake; nothing is written
        self.clips = flat.reshape(-1, self.num_frames, frame_bytes)
        self.device = torch.device("cpu")
        self._packed = torch.from_numpy(self.clips)
        self.motion_lagrangians = config.motion_lagrangians
        self._fields = torch.from_numpy(np.load(folder / MOTION, "c"))

    def __len__(self) -> int:
        return len(self.clips)

    def on(self, device: torch.device) -> "ClipCache":
        """The same cache for `device`, with a copy of all clips there if half of its free memory holds them.

        Otherwise clips are cropped here, and only the crops of a batch go there.
        """
        moved = copy(self)
        moved.device = device
        if device.type == "cuda" and self.clips.nbytes <= torch.cuda.mem_get_info(device)[0] // 2:
            moved._packed = self._packed.to(device)
            moved._fields = self._fields.to(device)
        return moved

    def planes(self, start: int, stop: int) -> Planes:
        """Whole clips `start` to `stop` (exclusive) as float `Planes` on the cache's device."""
        return unpack_i420(self._packed[start:stop].to(self.device), self.size)

    def fields(self, start: int, stop: int) -> Tensor:
        """The motion of whole clips `start` to `stop` (exclusive); see `ClipBatch`."""
        return self._fields[start:stop].to(self.device)

    def batch(
        self,
        rng: np.random.Generator,
        *,
        batch_size: int,
        num_frames: int,
        size: int,
        flip: bool = True,
        share: range | None = None,
    ) -> "ClipBatch":
        """A random batch: random clips, a random range of frames, a random crop, mirrored at random.

        Ranges start at chunks and crops at blocks of the motion.

        Args:
            rng: Source of all draws, which are those of the whole batch for any `share`.
            batch_size: Number of clips in the batch.
            num_frames: Number of frames of each clip.
            size: Height and width of each clip in pixels.
            flip: Mirror half of the clips.
            share: Numbers of the clips to return; default: all.
        """
        draws = []
        for _ in range(batch_size):
            clip = int(rng.integers(len(self)))
            start = FRAMES_PER_CHUNK * int(rng.integers(0, (self.num_frames - num_frames) // FRAMES_PER_CHUNK + 1))
            top, left = (BLOCK * int(rng.integers(0, (self.size - size) // BLOCK + 1)) for _ in range(2))
            draws.append((clip, start, top, left, flip and rng.random() < 0.5))
        wanted = draws if share is None else [draws[number] for number in share]
        samples = [self._crop(*draw, num_frames=num_frames, size=size) for draw in wanted]
        y, u, v = (to_device(torch.stack(parts), self.device) for parts in zip(*samples, strict=True))
        planes = Planes.from_uint8(y, u, v, full_range=False)
        fields = [self._crop_motion(*draw, num_frames=num_frames, size=size) for draw in wanted]
        return ClipBatch(planes, to_device(torch.stack(fields), self.device))

    def _crop_motion(
        self, clip: int, start: int, top: int, left: int, is_flipped: bool, *, num_frames: int, size: int
    ) -> Tensor:
        """The motion of a crop, `[lagrangians, T, 8, 2, rows, columns]`, on the device of the clips."""
        chunks = slice(start // FRAMES_PER_CHUNK, (start + num_frames) // FRAMES_PER_CHUNK)
        rows, columns = (slice(n // BLOCK, n // BLOCK + -(-size // BLOCK)) for n in (top, left))
        crop = self._fields[clip, :, chunks, :, :, rows, columns]
        if not is_flipped:
            return crop
        mirrored = crop.flip(-1)
        return torch.stack([-mirrored[..., 0, :, :], mirrored[..., 1, :, :]], dim=-3)

    def _crop(
        self, clip: int, start: int, top: int, left: int, is_flipped: bool, *, num_frames: int, size: int
    ) -> list[Tensor]:
        """The planes of a crop, uint8 `[t, size, size]` and chroma of half that size, on the device of the clips."""
        planes = split_i420(self._packed[clip, start : start + num_frames], self.size)
        halves = ((top, left, size), *[(top // 2, left // 2, size // 2)] * 2)
        crops = [p[:, y : y + side, x : x + side] for p, (y, x, side) in zip(planes, halves, strict=True)]
        return [crop.flip(-1) for crop in crops] if is_flipped else crops


def split_i420(packed: Tensor, size: int) -> list[Tensor]:
    """Views of the planes of packed frames `[..., 3 * size * size / 2]`: `[..., size, size]`, and two of half that."""
    planes = torch.split(packed, [size**2, size**2 // 4, size**2 // 4], dim=-1)
    sides = (size, size // 2, size // 2)
    return [rearrange(p, "... (h w) -> ... h w", h=side) for p, side in zip(planes, sides, strict=True)]


def unpack_i420(clips: Plane | Tensor, size: int) -> Planes:
    """Convert packed uint8 clips `[b, t, 3 * size * size / 2]`, limited range, to float `Planes`."""
    packed = clips if isinstance(clips, Tensor) else torch.from_numpy(np.asarray(clips))
    y, u, v = split_i420(packed, size)
    return Planes.from_uint8(y, u, v, full_range=False)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move `tensor` to `device`. A GPU gets it through pinned memory, so that nothing waits for the GPU's work."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
