"""The clips of a benchmark, and the lossless file of each that all codecs read, so that all code the same pixels."""

import dataclasses
import hashlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from av.video.reformatter import Interpolation, VideoReformatter

from vtok.errors import ConfigError
from vtok.media.pixels import frame_from_planes, planes_420
from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter
from vtok.system.paths import VIDEO_SUFFIXES
from vtok.video.frame import Frame


def find_clips(paths: Iterable[Path]) -> list[Path]:
    """Find the clips: files as given, and the videos in each folder by name.

    Raises:
        ConfigError: There are none, or a path does not exist.
    """
    paths, clips = list(paths), []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path}: does not exist. Give video files or folders of them")
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        clips += [file for file in inside if file == path or file.suffix.lower() in VIDEO_SUFFIXES]
    if not clips:
        raise ConfigError(f"{', '.join(map(str, paths))}: no videos. Give video files or folders of them")
    return list(dict.fromkeys(clips))


def clip_sha256(clip: Path) -> str:
    """SHA-256 of the file, which identifies its measurements even if the file is renamed."""
    with clip.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_reference(clip: Path, reference: Path, *, num_frames: int, max_width: int) -> None:
    """Write the first frames of a clip, at most `max_width` wide, to a lossless file; pts and colours as in the clip.

    The filter is bicubic. Sizes are made even, as libx264 requires; the aspect ratio is kept as far as that allows.
    """
    reformatter = VideoReformatter()
    with VideoReader(clip) as reader:
        info = reader.info
        w = max(2, min(info.width, max_width) // 2 * 2)
        h = max(2, round(info.height * w / info.width / 2) * 2)
        with VideoWriter(reference, dataclasses.replace(info, width=w, height=h), codec="ffv1") as writer:
            for frame in islice(reader, num_frames):
                writer.write(scaled(frame, reformatter, w=w, h=h))


def scaled(frame: Frame, reformatter: VideoReformatter, *, w: int, h: int) -> Frame:
    """A frame at another size: bicubic, in exact arithmetic, so that every machine has the same pixels."""
    if frame.y.shape == (h, w):
        return frame
    flags = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)
    picture = reformatter.reformat(frame_from_planes(frame, "yuv420p"), width=w, height=h, interpolation=flags)
    return Frame(*planes_420(picture, reformatter), pts=frame.pts)
