"""The header of a `.vtok` file, which describes the video as a whole: the payload of its first chunk, as JSON.

It is one JSON object in UTF-8 (RFC 8259), with sorted keys and no spaces. It is JSON because it is small, people read
it in hex dumps, and it is the part most likely to grow: readers ignore keys that they do not know.
"""

import json
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

from vtok.errors import ConfigError, FormatError, LimitError
from vtok.version import __version__
from vtok.video.chapters import Chapter, chapters_from_json
from vtok.video.tracks import AudioTrack, SubtitleTrack, Track, audio_from_json, subtitles_from_json
from vtok.video.values import MAX_SIDE, fraction, require_fraction, require_integer, require_tags

MAX_HEADER_BYTES = 1 << 20
MAX_FRAMES_PER_GROUP = 256
# Zero codes cost no bytes, so without a limit a file of 1 kB could declare more codes than fit into any memory.
MAX_GROUP_CODES = 1 << 29

_INTEGERS = {
    "width": (1, MAX_SIDE),
    "height": (1, MAX_SIDE),
    "num_codebooks": (1, 4096),
    "frames_per_latent": (1, MAX_FRAMES_PER_GROUP),
    "patch_size": (1, 256),
    "color_range": (0, 255),
    "color_matrix": (0, 255),
    "color_primaries": (0, 255),
    "color_transfer": (0, 255),
}
# Keys that a file need not have.
_OPTIONAL = {"audio": audio_from_json, "subtitles": subtitles_from_json, "chapters": chapters_from_json}
_FRACTIONS = ("time_base", "average_rate", "sample_aspect_ratio")
# Names are shown in messages and looked up among known ones, so control characters and path separators are excluded.
_STRINGS = {
    "model_name": r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
    "model_sha256": r"[0-9a-f]{64}",
    "entropy_coder": r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
    "writer": r"[ -~]{1,100}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHeader:
    """The header of a file, checked when it is made.

    Attributes:
        model_name: Name of the model whose codes these are.
        model_sha256: SHA-256 of its tensors, 64 lower-case hexadecimal digits.
        width: Columns of a frame, 1 to 16384 pixels.
        height: Rows of a frame, 1 to 16384 pixels.
        num_codebooks: Codes per latent position (channels), 1 to 4096.
        frames_per_latent: Frames that one latent frame stands for, 1 to 256.
        patch_size: Rows and columns of pixels that one latent position stands for, 1 to 256.
        entropy_coder: Name of the entropy coder that turned the codes into bytes.
        time_base: Seconds per unit of the timestamps.
        average_rate: Frames per second, a hint, or None.
        sample_aspect_ratio: Width of a pixel over its height.
        color_range: FFmpeg's number: 0 unspecified, 1 limited, 2 full.
        color_matrix: H.273 matrix coefficients.
        color_primaries: H.273 colour primaries.
        color_transfer: H.273 transfer characteristics.
        tags: Title, date and so on, as in the source.
        writer: Program and version that wrote the file.
        audio: The file's audio tracks.
        subtitles: The file's tracks of subtitles.
        chapters: The file's chapters.

    Raises:
        ConfigError: A value has the wrong type or is outside its range.
    """

    model_name: str
    model_sha256: str
    width: int
    height: int
    num_codebooks: int
    frames_per_latent: int
    patch_size: int
    entropy_coder: str
    time_base: Fraction
    average_rate: Fraction | None = None
    sample_aspect_ratio: Fraction = Fraction(1)
    color_range: int = 0
    color_matrix: int = 2
    color_primaries: int = 2
    color_transfer: int = 2
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    writer: str = f"vtok {__version__}"
    audio: tuple[AudioTrack, ...] = ()
    subtitles: tuple[SubtitleTrack, ...] = ()
    chapters: tuple[Chapter, ...] = ()

    def __post_init__(self) -> None:
        for name, (low, high) in _INTEGERS.items():
            require_integer(name, getattr(self, name), low, high)
        for name, pattern in _STRINGS.items():
            value = getattr(self, name)
            if not (isinstance(value, str) and re.fullmatch(pattern, value)):
                raise ConfigError(f"{name} is {reprlib.repr(value)}: must match {pattern}")
        for name in _FRACTIONS:
            value = getattr(self, name)
            if value is None and name == "average_rate":
                continue
            require_fraction(name, value)
        require_tags(self.tags)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """All tracks beside the pictures, in the order of the numbers of their packets."""
        return (*self.audio, *self.subtitles)

    def num_latent_frames(self, num_frames: int) -> int:
        """Number of latent frames in a group of `num_frames` frames."""
        return -(-num_frames // self.frames_per_latent)

    @property
    def codes_per_latent_frame(self) -> int:
        """Number of codes in each latent frame, n x H x W."""
        return self.num_codebooks * -(-self.height // self.patch_size) * -(-self.width // self.patch_size)

    def check_group(self, num_frames: int, num_latent_frames: int) -> None:
        """Check the counts of a group against each other and against the limit of its codes.

        Raises:
            FormatError: The two numbers do not fit each other.
            LimitError: The group would have more than 2^29 codes.
        """
        expected = self.num_latent_frames(num_frames)
        if num_latent_frames != expected:
            raise FormatError(f"{num_latent_frames} latent frames for {num_frames} frames: must be {expected}")
        num_codes = num_latent_frames * self.codes_per_latent_frame
        if num_codes > MAX_GROUP_CODES:
            raise LimitError(
                f"{num_latent_frames} latent frames of {self.width}x{self.height} pixels have {num_codes} codes: "
                f"the limit is {MAX_GROUP_CODES}"
            )

    def seconds_shown(self, first_pts: int, last_pts: int, last_frame_ticks: int = 0) -> Fraction:
        """Seconds from the begin of the first frame to the end of the last; the rate, or one tick, replaces 0 ticks."""
        if last_frame_ticks or not self.average_rate:
            return (last_pts - first_pts + (last_frame_ticks or 1)) * self.time_base
        return (last_pts - first_pts) * self.time_base + 1 / self.average_rate

    def to_bytes(self) -> bytes:
        """The header as canonical JSON.

        Raises:
            ConfigError: The header is longer than 1 MiB, which only tags can cause.
        """
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in _FRACTIONS:
            value = values[name]
            values[name] = value and [value.numerator, value.denominator]
        values["tags"] = dict(self.tags)
        for name in _OPTIONAL:
            values[name] = [item.to_json() for item in values[name]]
            if not values[name]:
                del values[name]
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
        data = text.encode()
        if len(data) > MAX_HEADER_BYTES:
            raise ConfigError(f"the header has {len(data)} bytes, of at most {MAX_HEADER_BYTES}: drop some tags")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> "FileHeader":
        """The header in `data`; unknown keys are ignored.

        Raises:
            LimitError: `data` has more than 1 MiB, or a side has more than 16384 pixels.
            FormatError: `data` is no such JSON object, or a key is missing, repeated, of the wrong type or out of
                range.
        """
        if len(data) > MAX_HEADER_BYTES:
            raise LimitError(f"header of {len(data)} bytes: the limit is {MAX_HEADER_BYTES}")
        values = _parse_json(data)
        names = [item.name for item in fields(cls)]
        if missing := sorted(set(names) - set(values) - set(_OPTIONAL)):
            raise FormatError(f"header lacks {', '.join(missing)}")
        for name in ("width", "height"):
            if type(values[name]) is int and values[name] > MAX_SIDE:
                raise LimitError(f"header: {name} is {reprlib.repr(values[name])}: the limit is {MAX_SIDE} pixels")
        try:
            for name in _FRACTIONS:
                if values[name] is not None:
                    values[name] = fraction(name, values[name])
            for name, parse in _OPTIONAL.items():
                values[name] = parse(values.get(name, []))
            return cls(**{name: values[name] for name in names})
        except ConfigError as error:
            raise FormatError(f"header: {error}") from None


def _parse_json(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, with unique keys and finite numbers, or FormatError."""
    try:
        # Decoded here because json.loads would also take UTF-16 and UTF-32.
        values = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object_without_repeats,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except RecursionError:
        raise FormatError("header is nested too deeply to be read") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, integers of thousands of digits, the hooks' own
        raise FormatError(f"header is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise FormatError(f"header is a JSON {type(values).__name__}: it must be an object")
    return values


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object has the same key twice")
    return values


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {reprlib.repr(text)} is not finite")
    return number
