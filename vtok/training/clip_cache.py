"""Turns videos into one memory-mapped array of uint8 clips: decoded, scaled and cropped once, not per training step.

A clip is `num_frames` consecutive frames of a square crop, in planar YCbCr 4:2:0 with limited range. On disk the cache
is `clips.bin`, uint8 `[N, t, 3 * s * s / 2]` (each frame is its Y plane, then U, then V), and `cache.json`, which says
what the clips were made from.
"""

import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from copy import copy
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import av
import numpy as np
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation
from einops import rearrange
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from vtok.errors import ConfigError, MediaError, writing
from vtok.networks.planes import Planes
from vtok.system.atomic import write_atomically
from vtok.system.paths import VIDEO_SUFFIXES
from vtok.video.frame import Plane
from vtok.video.motion import ANCHOR, BLOCK, NUM_FIELDS, motion_size

MOTION = "motion.npy"  # beside the clips: int8 [N, lagrangians, t / 8, 8, 2, rows, columns]
FRAMES_PER_CHUNK = 8
SHORTEST_TAIL = 8  # frames; a shorter rest of a video is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipCacheConfig:
    """Settings for cutting videos into clips.

    Attributes:
        num_frames: Frames per clip.
        size: Height and width of a clip in pixels; even.
        max_windows_per_video: Maximum number of windows of `num_frames` frames, evenly spread over the video, so that
            one long video of a still camera does not outweigh the rest.
        scales_per_window: Number of times that each window is scaled down, by a factor drawn from `[1, max_downscale]`.
        crops_per_scale: Number of crops drawn from each scaled window.
        max_downscale: Largest factor of scaling down, which hides the artefacts of the source's codec and gives finer
            detail.
        seed: Seed of all draws. The same videos and configuration give the same cache.
        motion_lagrangians: The motion of each clip is searched with each of these (see `vtok.motion.search`).
    """

    num_frames: int = 48
    size: int = 112
    max_windows_per_video: int = 16
    scales_per_window: int = 2
    crops_per_scale: int = 4
    max_downscale: float = 3.0
    seed: int = 0
    motion_lagrangians: tuple[float, ...] = (50.0, 300.0)

    def __post_init__(self) -> None:
        if not self.motion_lagrangians:
            raise ConfigError("motion_lagrangians is empty; expected at least one")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The configuration that a cache's manifest states."""
        given = dict(values)
        return cls(**given | {"motion_lagrangians": tuple(given.get("motion_lagrangians", ()))})


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
