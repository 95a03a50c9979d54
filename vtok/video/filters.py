"""What is done to the pictures of a source before they are coded, as people write it: scale, rate and crop."""

import re
from dataclasses import dataclass
from fractions import Fraction

from vtok.errors import ConfigError
from vtok.video.times import MAX_RATE, parse_rate
from vtok.video.values import MAX_SIDE, MAX_TERM

_EXPECTED = {
    "scale": f"WIDTH:HEIGHT, each 1 to {MAX_SIDE}, or one of them -2, which keeps the shape in even numbers",
    "crop": f"WIDTH:HEIGHT:X:Y of 1 to {MAX_SIDE}, X and Y even, or WIDTH:HEIGHT for the middle",
    "fps": f"frames per second, above 0 and at most {MAX_RATE}, as 24 or 30000/1001",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is done to the pictures of a video, in this order; make it with `filters_of`.

    Attributes:
        fps: Frames per second: frames are repeated and left out; each is the one nearest in time. None keeps all times.
        crop: Width, height, and the place of the upper left corner, or None twice for the middle.
        scale: Width and height; one of them may be -n, which means a multiple of n that keeps the shape.
    """

    fps: Fraction | None = None
    crop: tuple[int, int, int | None, int | None] | None = None
    scale: tuple[int, int] | None = None


def filters_of(
    *, scale: str | None = None, fps: Fraction | float | str | None = None, crop: str | None = None
) -> Filters | None:
    """Return the filters whose values are given as FFmpeg writes them; None if there is none.

    Example:
        >>> filters_of(scale="1280:-2", fps=24)
        Filters(fps=Fraction(24, 1), crop=None, scale=(1280, -2))

    Raises:
        ConfigError: A value cannot be read or is outside its range.
    """
    if scale is None and fps is None and crop is None:
        return None
    return Filters(
        fps=None if fps is None else _rate(fps),
        crop=None if crop is None else _crop(crop),
        scale=None if scale is None else _scale(scale),
    )


def _scale(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(-?[0-9]{1,5}):(-?[0-9]{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(1 <= abs(length) <= MAX_SIDE for length in size) or max(size) < 0:
        raise ConfigError(f"scale is {text!r}; expected {_EXPECTED['scale']}")
    return size


def _crop(text: str) -> tuple[int, int, int | None, int | None]:
    match = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})(?::([0-9]{1,5}):([0-9]{1,5}))?", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    x, y = (int(match[3]), int(match[4])) if match and match[3] else (None, None)
    # Colour has one sample for 2x2 pixels, so an odd corner would move it against luma.
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE) or (x or 0) % 2 or (y or 0) % 2:
        raise ConfigError(f"crop is {text!r}; expected {_EXPECTED['crop']}")
    return width, height, x, y


def _rate(value: Fraction | float | str) -> Fraction:
    try:
        rate = parse_rate(value) if isinstance(value, str) else Fraction(str(value))
    except (ConfigError, ValueError):
        rate = Fraction(0)
    if not 0 < rate <= MAX_RATE or max(rate.numerator, rate.denominator) > MAX_TERM:
        raise ConfigError(f"fps is {value!r}; expected {_EXPECTED['fps']}")
    return rate
