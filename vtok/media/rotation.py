"""Pictures that are stored turned, as phones store them: puts them upright without changing a sample."""

import struct
from typing import NamedTuple, Self

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame

from vtok.video.frame import Plane

_MATRIX = struct.Struct("<9i")


class Turn(NamedTuple):
    """A turn that puts a picture upright: optionally swap rows and columns, then reverse the order of either."""

    transposes: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Self | None:
        """The turn that a frame's display matrix asks for; None if it is not a multiple of 90 degrees.

        The matrix (ISO 14496-12, 8.2.2) maps column x and row y to column a x + c y and row b x + d y.
        """
        try:
            matrix = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:  # the frame has side data that PyAV has no name for, such as EXIF
            quarters = {0: cls(), 90: cls(True, True, False), 180: cls(False, True, True), 270: cls(True, False, True)}
            return quarters.get(frame.rotation % 360)
        if not isinstance(matrix, SideData) or matrix.buffer_size < _MATRIX.size:
            return cls()
        a, b, _, c, d, *_ = _MATRIX.unpack_from(bytes(matrix))
        if b == c == 0 and a and d:
            return cls(flips_rows=d < 0, flips_columns=a < 0)
        if a == d == 0 and b and c:
            return cls(transposes=True, flips_rows=b < 0, flips_columns=c < 0)
        return None

    def __call__(self, plane: Plane) -> Plane:
        """Return a plane `[h, w]` upright: `[w, h]` if the turn `transposes`, else `[h, w]`."""
        if self.transposes:
            plane = plane.T
        plane = plane[:: -1 if self.flips_rows else 1, :: -1 if self.flips_columns else 1]
        return np.ascontiguousarray(plane)

    def __str__(self) -> str:
        # Clockwise, as people describe turns.
        names = {
            Turn(False, True, True): "rotated by 180 degrees",
            Turn(True, False, True): "rotated by 90 degrees clockwise",
            Turn(True, True, False): "rotated by 90 degrees counterclockwise",
        }
        return names.get(self, "mirrored" + (" and rotated" if self.transposes or self.flips_rows else ""))
