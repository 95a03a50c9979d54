"""Uncompressed video: plain samples, with the headers of YUV4MPEG2 (.y4m) or without any (.yuv)."""

from typing import BinaryIO

from vtok.errors import writing
from vtok.media.timeline import Cadence
from vtok.video.frame import Frame, VideoInfo

RAW_SUFFIXES = (".y4m", ".yuv")


class RawWriter:
    """Writes 8-bit 4:2:0 frames plane by plane. It does not seek, so the file may be a pipe.

    The header of a .y4m file cannot hold the colour matrix.

    Attributes:
        notices: One line for each thing that the output cannot hold.
        last_frame_ticks: Has no effect, as the output has no durations; all writers take it.

    Args:
        file: The file to write to; the caller closes it.
        name: Name of the file in messages.
        info: Size, rate, aspect ratio and range of the frames.
        has_headers: Write the headers of a .y4m file.
    """

    def __init__(self, file: BinaryIO, name: str, info: VideoInfo, *, has_headers: bool) -> None:
        self.notices: list[str] = []
        self.last_frame_ticks = 0
        self._file = file
        self._name = name
        self._cadence = Cadence(info)
        self._frame_header = b"FRAME\n" if has_headers else b""
        aspect = info.sample_aspect_ratio
        if has_headers:
            rate, levels = self._cadence.rate, "FULL" if info.is_full_range else "LIMITED"
            header = (
                f"YUV4MPEG2 W{info.width} H{info.height} F{rate.numerator}:{rate.denominator} Ip "
                f"A{aspect.numerator}:{aspect.denominator} C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE={levels}\n"
            )
            with writing(name):
                file.write(header.encode())
        else:
            self.notices.append(
                f"raw {info.width}x{info.height} yuv420p at {self._cadence.rate}/s: nothing in it says so"
            )

    def write(self, frame: Frame) -> None:
        """Write one frame.

        Raises:
            MediaError: The disk is full, or nobody reads the pipe.
        """
        with writing(self._name):
            self._file.write(self._frame_header)
            for plane in (frame.y, frame.u, frame.v):
                self._file.write(plane.tobytes())
        self._cadence.add(frame.pts, self.notices)
