"""Opens a video file, or the images of a sequence, with FFmpeg; never a URL."""

import os
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import InputContainer

from vtok.errors import MediaError
from vtok.media.images import ImageSequence


def opened(path: Path, images: ImageSequence | None, image_rate: Fraction, name: str) -> InputContainer:
    """Open a file, or the images that its pattern names; nothing that it refers to is fetched from a network.

    Args:
        path: The file or pattern.
        images: The images of the pattern; None if `path` is a file.
        image_rate: Frames per second of the images.
        name: Name of the file in messages.

    Raises:
        MediaError: FFmpeg cannot open it.
    """
    options = {"protocol_whitelist": "file"}
    try:
        if images is None:
            return av.open(f"file:{path}", options=options, metadata_errors="replace")
        rate = f"{image_rate.numerator}/{image_rate.denominator}"
        options |= {"framerate": rate, "start_number": str(images.first_number), "pattern_type": "sequence"}
        folder = str(path.parent).replace("%", "%%")  # only the name is a pattern
        return av.open(f"file:{folder}/{path.name}", format="image2", options=options)
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"{name}: {cause_of(error)}. Is it a video, and whole?") from error


def check_file(path: Path, name: str) -> None:
    """Refuse a path that is no file or an empty one, in clearer words than FFmpeg's.

    Raises:
        MediaError: It is.
    """
    if path.is_dir():
        raise MediaError(
            f"{name}: is a folder, not a video file. Images in it are named by a pattern, as {name}/%04d.png"
        )
    if not path.exists():
        raise MediaError(f"{name}: no such file")
    if path.is_file() and path.stat().st_size == 0:
        raise MediaError(f"{name}: the file is empty")
    if not os.access(path, os.R_OK):
        raise MediaError(f"{name}: may not be read: permission denied")


def cause_of(error: Exception) -> str:
    """Return the cause of an FFmpeg error in FFmpeg's words, in one line."""
    return str(getattr(error, "strerror", None) or error).partition("\n")[0]
