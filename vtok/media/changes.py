"""Compares the pictures of a video with its first one, whose size, shape and colours a header gives to all of them."""

from fractions import Fraction

from av.video.frame import VideoFrame

from vtok.errors import MediaError
from vtok.media.pixels import conversion, converted_colors
from vtok.video.frame import FULL_RANGE, UNSPECIFIED, guessed_matrix

_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # H.273 transfer characteristics


class Changes:
    """Refuses pictures that do not go with the first one, and says what changes about those that do.

    Args:
        name: Name of the file in messages.
        notices: Receives a line for each kind of change, and for what pictures lose here.
        allow_hdr: Whether PQ and HLG are no reason to refuse a picture.
    """

    def __init__(self, name: str, notices: dict[str, str], *, allow_hdr: bool) -> None:
        self._name, self._notices, self._allow_hdr = name, notices, allow_hdr
        self._first: dict[str, str | int | Fraction] | None = None
        self._size = 0, 0

    def check(self, picture: VideoFrame, aspect: Fraction | None, number: int) -> None:
        """Take the picture of that number, or a first one, whose number is 0.

        Raises:
            MediaError: It is HDR, or its size is not that of the first.
        """
        hdr = _HDR_TRANSFERS.get(int(picture.color_trc))
        if hdr and not self._allow_hdr:
            since = f" from frame {number} on" if self._first else ""
            raise MediaError(
                f"{self._name}: is HDR video ({hdr}){since}, which 8 bits cannot hold well. Convert it to SDR first, "
                "or go on regardless with allow_hdr=True."
            )
        values = _values(picture, aspect)
        if self._first is None:
            self._first, self._size = values, (picture.width, picture.height)
        if (picture.width, picture.height) != self._size:
            width, height = self._size
            raise MediaError(
                f"{self._name}: frame {number} is {picture.width}x{picture.height}, those before are "
                f"{width}x{height}. Cut the video there, or scale it to one size first."
            )
        for kind, value in values.items():
            if value != self._first[kind]:
                done = "converted" if kind == "colour range" else "shown as those before"
                self._notices.setdefault(
                    kind, f"{kind} changes from {self._first[kind]} to {value} at frame {number}: {done}"
                )
        if (lost := conversion(picture.format)) is not None:
            self._notices.setdefault(picture.format.name, lost)
        if picture.interlaced_frame:
            self._notices.setdefault(
                "interlaced", "interlaced: its frames are coded as they are, and marked progressive"
            )


def _values(picture: VideoFrame, aspect: Fraction | None) -> dict[str, str | int | Fraction]:
    """What players take a picture to be, by the words for it."""
    color_range, matrix = converted_colors(picture)
    return {
        "colour range": "full" if color_range == FULL_RANGE else "limited",
        "colour matrix": guessed_matrix(picture.height) if matrix == UNSPECIFIED else matrix,
        "colour primaries": int(picture.color_primaries),
        "transfer": int(picture.color_trc),
        "sample aspect ratio": aspect or Fraction(1),
    }
