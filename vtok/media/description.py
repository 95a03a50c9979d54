"""Describes the frames of a video by what its container, its stream and its first picture tell."""

from fractions import Fraction

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vtok.media.pixels import converted_colors
from vtok.media.rotation import Turn
from vtok.video.frame import UNSPECIFIED, VideoInfo, guessed_matrix
from vtok.video.times import DEFAULT_RATE, MAX_RATE

_NO_TIMESTAMPS = 1 << 7  # FFmpeg's AVFMT_NOTIMESTAMPS, of containers that are the bare stream


def described(container: InputContainer, stream: VideoStream, first: VideoFrame, turn: Turn) -> VideoInfo:
    """Describe upright frames.

    Args:
        container: The container.
        stream: The video track.
        first: Its first picture, as it is stored; only a picture tells the pixel format and the colours reliably.
        turn: What puts the pictures upright.
    """
    time_base = stream.time_base or 1 / DEFAULT_RATE
    duration = stream.duration * time_base if stream.duration else None
    if duration is None and container.duration:
        duration = Fraction(container.duration, av.time_base)
    color_range, color_matrix = converted_colors(first)
    width, height, aspect = first.width, first.height, stream.sample_aspect_ratio or Fraction(1)
    if turn.transposes:
        width, height, aspect = height, width, 1 / aspect
        if color_matrix == UNSPECIFIED and guessed_matrix(width) != guessed_matrix(height):
            color_matrix = guessed_matrix(width)  # players would guess another matrix from the upright picture
    return VideoInfo(
        width=width,
        height=height,
        time_base=time_base,
        average_rate=_average_rate(container, stream),
        sample_aspect_ratio=aspect,
        color_range=color_range,
        color_matrix=color_matrix,
        color_primaries=int(first.color_primaries),
        color_transfer=int(first.color_trc),
        num_frames_from_header=stream.frames or None,
        duration_seconds_from_header=None if duration is None else float(duration),
    )


def is_bare(container: InputContainer) -> bool:
    """Whether a container is the bare stream, without times."""
    return bool(container.format.flags & _NO_TIMESTAMPS)


def _average_rate(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Frames per second; of bare streams what is coded in them, for which FFmpeg's average is always 25."""
    rate = stream.average_rate
    if is_bare(container) and 0 < (stream.guessed_rate or 0) <= MAX_RATE:
        rate = stream.guessed_rate
    return rate or None
