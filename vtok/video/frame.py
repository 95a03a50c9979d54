"""The parts of a video: the data of its header, and its frames.

Frames are planar 8-bit YCbCr 4:2:0, with the range and the matrix of the source.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.uint8]

LIMITED_RANGE, FULL_RANGE = 1, 2  # FFmpeg's AVCOL_RANGE_*; 0 is unspecified
UNSPECIFIED = 2  # H.273, for matrix, primaries and transfer
BT709, BT601 = 1, 6  # H.273 matrix coefficients


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """The data that a header needs so that a decoded video is shown as the source was.

    Attributes:
        width: Columns of a frame as stored (before the sample aspect ratio is applied), in pixels.
        height: Rows of a frame, in pixels.
        time_base: Seconds per unit of `Frame.pts`.
        average_rate: Frames per second, a hint: with a variable frame rate only the timestamps are true.
        sample_aspect_ratio: Width of a pixel over its height; 1 if the file does not say.
        color_range: FFmpeg's number: 0 unspecified, 1 limited (luma 16 to 235), 2 full (0 to 255).
        color_matrix: H.273 matrix coefficients, as stored; 2 if the file does not say.
        color_primaries: H.273 colour primaries, as stored; 2 if the file does not say.
        color_transfer: H.273 transfer characteristics, as stored; 2 if the file does not say.
        num_frames_from_header: Number of frames that the container claims; often missing, sometimes wrong.
        duration_seconds_from_header: Duration that the container claims; often missing, sometimes wrong.
    """

    width: int
    height: int
    time_base: Fraction
    average_rate: Fraction | None = None
    sample_aspect_ratio: Fraction = Fraction(1)
    color_range: int = 0
    color_matrix: int = 2
    color_primaries: int = 2
    color_transfer: int = 2
    num_frames_from_header: int | None = None
    duration_seconds_from_header: float | None = None

    @property
    def is_full_range(self) -> bool:
        """Whether luma spans 0 to 255 and not 16 to 235, which unspecified also means."""
        return self.color_range == FULL_RANGE


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture: `y` uint8 `[h, w]`, `u` and `v` uint8 `[ceil(h/2), ceil(w/2)]`, `pts` in units of the time base."""

    y: Plane
    u: Plane
    v: Plane
    pts: int


class Progress(Protocol):
    """Shows how far a pass over a video is."""

    def __call__(self, info: VideoInfo, activity: str = ...) -> Callable[[int], None]:
        """Return a function that takes the number of frames just done.

        Args:
            info: The video's data, before the first frame.
            activity: Name of the pass, if there are several.
        """


@runtime_checkable
class CountsBytes(Protocol):
    """A function that a `Progress` returned, and which also wants to know the size of the output."""

    def written(self, num_bytes: int) -> None:
        """Take the number of bytes that the output has so far."""


def guessed_matrix(height: int) -> int:
    """The matrix that players assume if a video does not say: BT.709 from 720 rows on, else BT.601."""
    return BT709 if height >= 720 else BT601
