"""A pack of clips: clip caches compressed to a few files, for a machine that has no videos.

A pack is a folder of `train.av1` and `validation.av1`, which hold clips one after the other, each as its own AV1
stream, and `pack.json`, which has the number of bytes of each clip and says what the caches were made from. The motion
of the clips is in `train.motion.xz` and `validation.motion.xz`.
"""

import hashlib
import json
import lzma
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from vtok.errors import ConfigError, MediaError, writing
from vtok.system.atomic import write_atomically
from vtok.training.clip_cache import ClipCache
from vtok.training.clip_motion import MOTION, motion_shape
from vtok.training.config import ClipCacheConfig
from vtok.video.frame import Plane

SPLITS = ("train", "validation")
MANIFEST = "pack.json"
MOTION_SUFFIX = ".motion.xz"
VALIDATION_SHARE = 0.25  # of a pack, at most
ENCODER, DECODER = "libsvtav1", "libdav1d"
PRESET = "4"  # slower presets save a few percent
PEAK = 255.0


@dataclass(frozen=True, slots=True)
class PackedClips:
    """Result of packing one cache.

    Attributes:
        count: Number of clips in the pack.
        available: Number of clips in the cache.
        num_bytes: Size of the packed file.
        psnr: Mean PSNR of the packed clips in dB, over all samples of luma and chroma alike.
    """

    count: int
    available: int
    num_bytes: int
    psnr: float


def pack(caches: dict[str, Path], folder: Path, *, crf: int, num_bytes: int) -> dict[str, PackedClips]:
    """Compress clip caches to a pack.

    Args:
        caches: Folders of the caches, by `SPLITS`.
        folder: The folder of the pack.
        crf: Constant rate factor of AV1, 1 to 63; lower is better.
        num_bytes: Maximum size of the pack's clips; each cache gives as many as fit, evenly spread.

    Raises:
        ConfigError: Not even one clip fits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest, packed, left = {}, {}, num_bytes
    for split in reversed(SPLITS):
        limit = int(VALIDATION_SHARE * num_bytes) if split == "validation" else left
        manifest[split], packed[split] = _pack_cache(caches[split], folder / f"{split}.av1", crf=crf, limit=limit)
        left -= packed[split].num_bytes
    write_atomically(folder / MANIFEST, json.dumps(manifest).encode())
    return packed


def _pack_cache(cache_folder: Path, path: Path, *, crf: int, limit: int) -> tuple[dict[str, Any], PackedClips]:
    cache = ClipCache(cache_folder)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(_encode_and_measure, cache_folder, number, crf) for number in range(len(cache))]
        streams, psnrs = zip(*(job.result() for job in jobs), strict=True)
    motion = _motion_of(cache)
    chosen = _evenly_chosen([len(stream) + len(each) for stream, each in zip(streams, motion, strict=True)], limit)
    if not chosen:
        raise ConfigError(f"{path}: not one clip fits into {limit} bytes at crf {crf}; take more megabytes")
    data = b"".join(streams[number] for number in chosen)
    write_atomically(path, data)
    write_atomically(path.with_name(f"{path.stem}{MOTION_SUFFIX}"), b"".join(motion[number] for number in chosen))
    manifest = {
        "made_from": json.loads((cache_folder / "cache.json").read_text())["made_from"],
        "clips_per_video": _clips_per_video(cache, chosen),
        "bytes": [len(streams[number]) for number in chosen],
        "motion_bytes": [len(motion[number]) for number in chosen],
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    psnr = float(np.mean([psnrs[number] for number in chosen]))
    num_bytes = len(data) + sum(manifest["motion_bytes"])
    return manifest, PackedClips(len(chosen), len(cache), num_bytes, psnr)


def _motion_of(cache: ClipCache) -> list[bytes]:
    """The motion of each clip, compressed."""
    return [lzma.compress(each.numpy().tobytes()) for each in cache.fields(0, len(cache))]


def _evenly_chosen(sizes: list[int], limit: int) -> list[int]:
    """As many evenly spread indices as possible, whose sizes sum to `limit` at most."""
    for count in range(len(sizes), 0, -1):
        chosen = [round(i * len(sizes) / count) for i in range(count)]
        if sum(sizes[number] for number in chosen) <= limit:
            return chosen
    return []


def _clips_per_video(cache: ClipCache, chosen: list[int]) -> list[tuple[str, int]]:
    names = [name for name, count in cache.clips_per_video for _ in range(count)]
    taken = [names[number] for number in chosen]
    return [(name, taken.count(name)) for name in dict.fromkeys(taken)]


def _encode_and_measure(cache_folder: Path, number: int, crf: int) -> tuple[bytes, float]:
    cache = ClipCache(cache_folder)
    clip = np.asarray(cache.clips[number])
    stream = encode_clip(clip, cache.size, crf)
    error = np.mean((clip.astype(np.float32) - decode_clip(stream)) ** 2)
    return stream, float(10 * np.log10(PEAK**2 / max(error, 1e-2)))


def encode_clip(clip: Plane, size: int, crf: int) -> bytes:
    """Encode a clip, uint8 `[t, 3 * size * size / 2]`, as an AV1 stream."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only
    encoder = cast(VideoCodecContext, av.CodecContext.create(ENCODER, "w"))
    encoder.width = encoder.height = size
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    encoder.color_range = ColorRange.MPEG
    encoder.options = {"crf": str(crf), "preset": PRESET, "svtav1-params": "tune=1:lp=1:keyint=-1"}  # tuned for PSNR
    packets = []
    for number, samples in enumerate(clip):
        frame = VideoFrame.from_ndarray(samples.reshape(3 * size // 2, size), format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    return b"".join(bytes(packet) for packet in packets + encoder.encode(None))


def decode_clip(stream: bytes) -> Plane:
    """Decode an AV1 stream to a clip, uint8 `[t, 3 * size * size / 2]`."""
    decoder = cast(VideoCodecContext, av.CodecContext.create(DECODER, "r"))
    decoder.thread_count = 1
    packets = decoder.parse(stream) + decoder.parse(None)
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.stack([frame.to_ndarray().reshape(-1) for frame in frames])


def unpack(folder: Path, caches: Path, *, num_workers: int | None = None) -> dict[str, ClipCache]:
    """Write the clip caches of a pack to `caches/train` and `caches/validation`.

    Args:
        folder: The pack.
        caches: The folder of the caches.
        num_workers: Number of processes that decode; default: one for each processor core.

    Raises:
        MediaError: The pack is incomplete.
    """
    manifest = _manifest(folder)
    with ProcessPoolExecutor(num_workers or os.cpu_count()) as pool:
        for split in SPLITS:
            entry, cache = manifest[split], caches / split
            cache.mkdir(parents=True, exist_ok=True)
            streams = _streams(folder / f"{split}.av1", entry)
            config = entry["made_from"]["config"]
            shape = config["num_frames"], 3 * config["size"] ** 2 // 2
            with (cache / "clips.bin").open("wb") as file, writing(file.name):
                for clip in pool.map(decode_clip, streams, chunksize=4):
                    if clip.shape != shape:
                        raise MediaError(f"{folder / split}.av1: a clip is {clip.shape}; expected {shape}")
                    file.write(clip.tobytes())
            _unpack_motion(folder / f"{split}{MOTION_SUFFIX}", entry, cache)
            # The hash keeps a run from taking these clips for all clips of the videos.
            made_from = entry["made_from"] | {"pack": entry["sha256"]}
            meta = {"made_from": made_from, "clips_per_video": entry["clips_per_video"]}
            write_atomically(cache / "cache.json", json.dumps(meta).encode())
    return {split: ClipCache(caches / split) for split in SPLITS}


def _unpack_motion(path: Path, entry: dict[str, Any], cache: Path) -> None:
    parts = _parts(path.read_bytes(), entry["motion_bytes"])
    shape = motion_shape(ClipCacheConfig.from_json(entry["made_from"]["config"]))
    fields = np.stack([np.frombuffer(lzma.decompress(part), np.int16).reshape(shape) for part in parts])
    with (cache / MOTION).open("wb") as file, writing(file.name):
        np.save(file, fields)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise MediaError(f"{folder / MANIFEST}: cannot be read: {error}; make it with pack_clips.py") from error
    return manifest


def _streams(path: Path, entry: dict[str, Any]) -> Iterator[bytes]:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise MediaError(f"{path}: is not the file that {MANIFEST} describes; copy the pack again")
    yield from _parts(data, entry["bytes"])


def _parts(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    for start, end in pairwise(accumulate(sizes, initial=0)):
        yield data[start:end]
