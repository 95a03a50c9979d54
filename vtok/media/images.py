"""Images in place of a video: a single one, or one per frame, numbered by a pattern such as `frames/%04d.png`."""

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Self

import av
import av.error
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vtok.errors import ConfigError, MediaError, writing
from vtok.media.pixels import jpeg_from_planes, rgb_from_planes
from vtok.media.timeline import Cadence
from vtok.system.atomic import atomic_write, move_together
from vtok.video.frame import Frame, VideoInfo

IMAGE_NAMES = {
    ".png": "png",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""Suffixes of images that can be written, with FFmpeg's encoders for them."""

_JPEG_OPTIONS = {"qmin": "1", "qmax": "2"}  # FFmpeg's best quality; its default is meant for video
_NUMBER = re.compile(r"%(0\d+)?d")


def is_pattern(path: Path) -> bool:
    """Whether a path names a sequence of images: its name has one `%d`, `%04d` or similar."""
    return len(_NUMBER.findall(path.name)) == 1 and not path.exists()


@dataclass(frozen=True, slots=True)
class ImageSequence:
    """Existing images, numbered without a gap."""

    files: list[Path]
    first_number: int

    @classmethod
    def find(cls, path: Path, name: str) -> Self | None:
        """Find the images that a pattern stands for; None if `path` is no pattern.

        Raises:
            MediaError: There are no such images, or one in between is missing.
        """
        if not is_pattern(path):
            return None
        numbers = _numbers(path)
        if not numbers:
            raise MediaError(f"{name}: there are no images of that name")
        for number, following in pairwise(numbers):
            if following != number + 1:
                raise MediaError(
                    f"{name}: {path.name % (number + 1)} is missing, and {path.name % following} exists. "
                    "Number the images without a gap."
                )
        return cls([path.with_name(path.name % number) for number in numbers], numbers[0])


class ImageWriter:
    """Writes frames as images, numbered from 1.

    Attributes:
        path: A pattern, or the name of a single image; its suffix is one of `IMAGE_NAMES`.
        notices: One line for each thing that images cannot hold.
        num_frames: Number of images written so far.
        last_frame_ticks: Has no effect, as images have no duration; all writers take it.

    Args:
        path: Final name of the images.
        target: Their name until they are complete; a pattern if `path` is one.
        info: Size, colours and times of the frames.
    """

    def __init__(self, path: Path, target: Path, info: VideoInfo) -> None:
        self.path = path
        self.num_frames = 0
        self.last_frame_ticks = 0
        self._target = target
        self._info = info
        self._is_sequence = is_pattern(path)
        self._cadence = Cadence(info)
        self.notices: list[str] = []
        if info.sample_aspect_ratio != 1:
            self.notices.append(f"sample aspect ratio {info.sample_aspect_ratio} is lost: pixels of images are square")
        self._reformatter = VideoReformatter()
        name = IMAGE_NAMES[path.suffix.lower()]
        self._is_jpeg = name == "mjpeg"
        encoder = av.CodecContext.create(name, "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.time_base = info.width, info.height, Fraction(1, 25)
        encoder.pix_fmt = {"mjpeg": "yuvj420p", "bmp": "bgr24"}.get(name, "rgb24")
        if self._is_jpeg:
            encoder.options = _JPEG_OPTIONS
            encoder.color_range = 2
        self._encoder = encoder

    def write(self, frame: Frame) -> None:
        """Write the next image.

        Raises:
            ConfigError: It is the second image, and `path` names a single one.
            MediaError: Writing fails, for example because the disk is full.
        """
        if self.num_frames and not self._is_sequence:
            raise ConfigError(
                f"{self.path}: is one image, and there is more than one frame. Name a pattern, as "
                f"{self.path.with_suffix('')}-%04d{self.path.suffix}, or choose one frame with start_seconds=... "
                "and end_seconds=..."
            )
        if self._is_jpeg:
            picture = jpeg_from_planes(frame, self._info, self._reformatter)
        else:
            picture = VideoFrame.from_ndarray(rgb_from_planes(frame, self._info, self._reformatter), "rgb24")
            if self._encoder.pix_fmt == "bgr24":
                picture = picture.reformat(format="bgr24")
        picture.pts, picture.time_base = self.num_frames, Fraction(1, 25)
        try:
            data = b"".join(bytes(packet) for packet in self._encoder.encode(picture))
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(f"{self.path}: cannot be encoded: {error}") from error
        self.num_frames += 1
        self._cadence.add(frame.pts, self.notices)
        target = self._target
        if self._is_sequence:
            target = target.with_name(target.name % self.num_frames)
        with writing(self.path):
            target.write_bytes(data)


@contextmanager
def images_output(path: Path, info: VideoInfo, *, overwrite: bool) -> Iterator[ImageWriter]:
    """Yield a writer of images, which appear under their names when all of them are complete, together.

    The folder of a sequence is made if it does not exist. Its parent folder must exist. `move_together` says what a run
    that is killed while images are replaced may leave.

    Raises:
        ConfigError: An image that would be replaced exists, or came into being meanwhile, and `overwrite` is false.
        MediaError: The folder cannot be made or written to.
    """
    if not is_pattern(path):
        with atomic_write(path, overwrite=overwrite) as temporary:
            yield ImageWriter(path, temporary, info)
        return
    folder = path.parent
    place = folder if folder.exists() else folder.parent
    if not place.is_dir():
        hint = "is not a folder" if place.exists() else "does not exist. Create it first"
        raise MediaError(f"{path}: the folder {place} {hint}")
    older = _numbers(path)
    if older and not overwrite:
        raise ConfigError(f"{path}: {path.name % older[0]} exists already. Overwrite it with overwrite=True")
    if folders := [number for number in older if not (folder / (path.name % number)).is_file()]:
        raise MediaError(f"{path}: {path.name % folders[0]} is not a regular file, and only those can be replaced")
    temporary = place / f".vtok-{secrets.token_hex(8)}"
    with writing(path):
        temporary.mkdir()
    try:
        writer = ImageWriter(path, temporary / path.name, info)
        yield writer
        if left := [number for number in older if not 1 <= number <= writer.num_frames]:
            writer.notices.append(f"{len(left)} older images of that name were left, first {path.name % left[0]}")
        with writing(path):
            if place != folder:
                temporary.rename(folder)
            else:
                images = (path.name % number for number in range(1, writer.num_frames + 1))
                move_together({temporary / image: folder / image for image in images}, overwrite=overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _numbers(path: Path) -> list[int]:
    """The numbers of the existing images that match a pattern."""
    before, after = _NUMBER.split(path.name)[0], _NUMBER.split(path.name)[-1]
    numbered = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    matches = [match for match in map(numbered.fullmatch, names) if match]
    return sorted(int(match[1]) for match in matches if path.name % int(match[1]) == match[0])
