"""Descriptions of the audio tracks and chapters of a `.vtok` file: two optional lists in the header's JSON."""

import binascii
import re
import reprlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from vtok.errors import ConfigError
from vtok.video.values import MAX_TERM, fraction, printable, require_fraction, require_integer, require_tags

MAX_TRACKS = 256
MAX_BIT_RATE = (1 << 53) - 1  # JSON readers round larger numbers
MIN_TIME, MAX_TIME = -(1 << 63), (1 << 63) - 1
_CODEC = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_PRINTABLE = r"[ -~]{1,100}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrack:
    """The data of an audio track that is needed to put its packets into another container.

    Attributes:
        codec: FFmpeg's name of the codec, such as `aac`, `opus` or `pcm_s16le`.
        time_base: Seconds per unit of the packets' timestamps.
        sample_rate: Samples per second and channel.
        channel_layout: FFmpeg's name of the channel layout, such as `stereo` or `5.1(side)`.
        extradata: Bytes that a decoder needs before the first packet; their form depends on the codec.
        bit_rate: Bits per second according to the source; 0 if the source does not say.
        codec_delay: Number of decoded samples before the first one that is to be heard.
        disposition: FFmpeg's names of the track's special roles, such as `default` or `comment`.
        tags: Language, title and so on.

    Raises:
        ConfigError: A value has the wrong type or is outside its range.
    """

    codec: str
    time_base: Fraction
    sample_rate: int
    channel_layout: str
    extradata: bytes = field(default=b"", repr=False)
    bit_rate: int = 0
    codec_delay: int = 0
    disposition: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _require_string("codec", self.codec, _CODEC)
        _require_string("channel_layout", self.channel_layout, _PRINTABLE)
        for name in self.disposition:
            _require_string("disposition", name, _CODEC)
        require_fraction("time_base", self.time_base)
        require_integer("sample_rate", self.sample_rate, 1, MAX_TERM)
        require_integer("bit_rate", self.bit_rate, 0, MAX_BIT_RATE)
        require_integer("codec_delay", self.codec_delay, 0, MAX_TERM)
        require_tags(self.tags)

    @property
    def name(self) -> str:
        """The codec, and language and title if there are any; for messages."""
        words = [self.codec, *(self.tags[key] for key in ("language", "title") if self.tags.get(key, "und") != "und")]
        return printable(" ".join(words))

    def to_json(self) -> dict[str, Any]:
        """The track as it is in the header; `from_json` reads it."""
        return {
            "codec": self.codec,
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "sample_rate": self.sample_rate,
            "channel_layout": self.channel_layout,
            "extradata": b64encode(self.extradata).decode(),
            "bit_rate": self.bit_rate,
            "codec_delay": self.codec_delay,
            "disposition": list(self.disposition),
            "tags": dict(self.tags),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "AudioTrack":
        """The track that `values` describe, or ConfigError."""
        extradata, disposition = values["extradata"], values["disposition"]
        if not isinstance(extradata, str) or not isinstance(disposition, list):
            raise ConfigError("extradata must be a string, and disposition a list")
        try:
            data = b64decode(extradata, validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(f"extradata is {reprlib.repr(extradata)}: must be base64") from None
        return cls(
            codec=values["codec"],
            time_base=fraction("time_base", values["time_base"]),
            sample_rate=values["sample_rate"],
            channel_layout=values["channel_layout"],
            extradata=data,
            bit_rate=values["bit_rate"],
            codec_delay=values["codec_delay"],
            disposition=tuple(disposition),
            tags=values["tags"],
        )


class AudioPacket(NamedTuple):
    """A packet of encoded sound; times are in units of its track's time base, `side_data` are kinds and bytes."""

    track: int
    pts: int
    dts: int
    duration: int
    data: bytes
    is_key: bool = True
    is_corrupt: bool = False
    side_data: tuple[tuple[str, bytes], ...] = ()

    def seconds(self, tracks: Sequence[AudioTrack]) -> Fraction:
        """The time at which the packet begins."""
        return self.pts * tracks[self.track].time_base

    def moved(self, seconds: Fraction, tracks: Sequence[AudioTrack]) -> "AudioPacket":
        """The packet `seconds` later, to the nearest unit of its track's time base."""
        ticks = round(seconds / tracks[self.track].time_base)
        return self._replace(pts=self.pts + ticks, dts=self.dts + ticks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A named stretch of time: `start` and `end` in units of `time_base` on the clock of the video's timestamps.

    Raises:
        ConfigError: A value has the wrong type or is outside its range.
    """

    start: int
    end: int
    time_base: Fraction
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        require_integer("start", self.start, MIN_TIME, MAX_TIME)
        require_integer("end", self.end, MIN_TIME, MAX_TIME)
        require_fraction("time_base", self.time_base)
        require_tags(self.tags)

    def to_json(self) -> dict[str, Any]:
        """The chapter as it is in the header; `from_json` reads it."""
        time_base = [self.time_base.numerator, self.time_base.denominator]
        return {"start": self.start, "end": self.end, "time_base": time_base, "tags": dict(self.tags)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Chapter":
        """The chapter that `values` describe, or ConfigError."""
        time_base = fraction("time_base", values["time_base"])
        return cls(start=values["start"], end=values["end"], time_base=time_base, tags=values["tags"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The data of a video other than its pictures.

    Attributes:
        tags: Title, date and so on.
        audio: Descriptions of its audio tracks.
        chapters: Named stretches of time.
    """

    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    audio: tuple[AudioTrack, ...] = ()
    chapters: tuple[Chapter, ...] = ()


def tracks_from_json(values: object) -> tuple[AudioTrack, ...]:
    """The header's `audio`, or ConfigError."""
    tracks = _objects("audio", values)
    if len(tracks) > MAX_TRACKS:
        raise ConfigError(f"audio has {len(tracks)} tracks: must be at most {MAX_TRACKS}")
    return tuple(_made("audio", AudioTrack.from_json, track) for track in tracks)


def chapters_from_json(values: object) -> tuple[Chapter, ...]:
    """The header's `chapters`, or ConfigError."""
    return tuple(_made("chapters", Chapter.from_json, chapter) for chapter in _objects("chapters", values))


def shifted_chapters(
    chapters: Sequence[Chapter], begin: Fraction | None, end: Fraction | None, shift: Fraction
) -> tuple[Chapter, ...]:
    """The chapters between `begin` and `end`, cut off there and moved `shift` later; all in seconds."""
    moved = []
    for chapter in chapters:
        first, last = chapter.start * chapter.time_base, chapter.end * chapter.time_base
        first = first if begin is None else max(first, begin)
        last = last if end is None else min(last, end)
        if first <= last:
            ticks = [round((time + shift) / chapter.time_base) for time in (first, last)]
            moved.append(Chapter(start=ticks[0], end=ticks[1], time_base=chapter.time_base, tags=chapter.tags))
    return tuple(moved)


def _objects(name: str, values: object) -> list[Mapping[str, Any]]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ConfigError(f"{name} is {reprlib.repr(values)}: must be a list of objects")
    return values


def _made(name: str, make: Any, values: Mapping[str, Any]) -> Any:
    try:
        return make(values)
    except KeyError as error:
        raise ConfigError(f"{name} lacks {error.args[0]}") from None
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def _require_string(name: str, value: object, pattern: str) -> None:
    if not (isinstance(value, str) and re.fullmatch(pattern, value)):
        raise ConfigError(f"{name} is {reprlib.repr(value)}: must match {pattern}")
