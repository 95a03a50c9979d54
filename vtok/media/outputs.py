"""Chooses the writer of an output: by suffix, or by the name of a format for standard output."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from vtok.errors import ConfigError, MediaError, VtokError
from vtok.media.gif import gif_output
from vtok.media.images import IMAGE_NAMES, images_output
from vtok.media.raw import RAW_SUFFIXES, RawWriter
from vtok.media.writer import SUFFIXES, VideoWriter
from vtok.system.atomic import open_atomically
from vtok.system.standard_streams import STANDARD, copy_to_standard_output, is_standard, standard_output
from vtok.video.frame import Frame, VideoInfo
from vtok.video.tracks import Extras, TrackPacket

FORMATS = {suffix[1:]: suffix for suffix in (*SUFFIXES, ".gif", ".y4m", ".png", ".jpg")} | {"raw": ".yuv"}
"""Names of formats for standard output, with their suffixes."""


class FrameWriter(Protocol):
    """The interface of all writers; `VideoWriter` explains its attributes."""

    notices: list[str]
    last_frame_ticks: int

    def write(self, frame: Frame) -> None:
        """Write one frame, which must be later than the one before."""


@runtime_checkable
class PacketWriter(FrameWriter, Protocol):
    """The interface of writers that hold sound and subtitles too."""

    def write_packet(self, packet: TrackPacket) -> None:
        """Write a packet of one of the tracks, after the first frame."""


@contextmanager
def open_output(
    path: str | os.PathLike[str],
    info: VideoInfo,
    *,
    codec: str | None = None,
    options: Mapping[str, str] | None = None,
    output_format: str | None = None,
    overwrite: bool = False,
    extras: Extras | None = None,
) -> Iterator[FrameWriter]:
    """Write a video, a GIF, images or raw frames. All appear under their names when they are complete, or not at all.

    Args:
        path: The file to write, a pattern of images such as `frames/%04d.png`, or `-` for standard output.
        info: Size, times and colours of the frames.
        codec: Codec of a video; see `VideoWriter`.
        options: FFmpeg options of that codec.
        output_format: One of `FORMATS`, for standard output.
        overwrite: Replace what exists. Images are checked at once; of other outputs, the caller has checked that there
            is none, and here none is replaced that comes into being meanwhile.
        extras: Tags, chapters, and tracks of sound and subtitles of a video; other outputs cannot hold them.

    Raises:
        ConfigError: Suffix, format, codec and options do not fit together, or the output exists.
        MediaError: The output cannot be written.
    """
    if is_standard(path):
        suffix = _suffix_of_format(output_format)
    elif output_format is not None:
        raise ConfigError(f"{path}: its suffix says the format; output_format=... is for the output - only")
    else:
        suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES and (codec or options):
        raise ConfigError(f"{path}: codec, crf and preset are for {', '.join(SUFFIXES)} only")
    if is_standard(path):
        with _standard_output(suffix, info, codec, options, extras) as writer:
            yield writer
        return
    with _output(Path(path), suffix, info, codec, options, overwrite, extras) as writer:
        yield writer


@contextmanager
def _output(
    path: Path,
    suffix: str,
    info: VideoInfo,
    codec: str | None,
    options: Mapping[str, str] | None,
    overwrite: bool,
    extras: Extras | None,
) -> Iterator[FrameWriter]:
    if suffix in SUFFIXES:
        with VideoWriter(path, info, codec=codec, options=options, extras=extras, overwrite=overwrite) as video:
            yield video
    elif suffix == ".gif":
        with gif_output(path, info, overwrite=overwrite) as gif:
            yield gif
    elif suffix in IMAGE_NAMES:
        with images_output(path, info, overwrite=overwrite) as images:
            yield images
    elif suffix in RAW_SUFFIXES:
        with open_atomically(path, overwrite=overwrite) as file:
            yield RawWriter(file, str(path), info, has_headers=suffix == ".y4m")
    else:
        known = ", ".join((*SUFFIXES, ".gif", *IMAGE_NAMES, *RAW_SUFFIXES))
        raise MediaError(f"{path}: unknown suffix {Path(path).suffix!r}. Choose one of {known}.")


@contextmanager
def _standard_output(
    suffix: str, info: VideoInfo, codec: str | None, options: Mapping[str, str] | None, extras: Extras | None
) -> Iterator[FrameWriter]:
    """Pass raw frames on as they come. Write anything else to a file first, because most formats require one."""
    if suffix in RAW_SUFFIXES:
        with standard_output() as file:
            yield RawWriter(file, STANDARD, info, has_headers=suffix == ".y4m")
        return
    with tempfile.TemporaryDirectory(prefix="vtok-") as folder:
        path = Path(folder) / f"stdout{suffix}"
        try:
            with _output(path, suffix, info, codec, options, overwrite=False, extras=extras) as writer:
                yield writer
        except VtokError as error:
            raise type(error)(str(error).replace(str(path), STANDARD)) from error
        copy_to_standard_output(path)


def _suffix_of_format(name: str | None) -> str:
    if name not in FORMATS:
        what = f"unknown format {name!r}" if name else "the output - needs output_format=..."
        raise ConfigError(f"{STANDARD}: {what}. Choose one of {', '.join(FORMATS)}")
    return FORMATS[name]
