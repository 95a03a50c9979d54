"""Descriptions of the tracks beside the pictures, and of chapters: optional lists in the header's JSON."""

import binascii
import re
import reprlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from vtok.errors import ConfigError
from vtok.video.chapters import Chapter
from vtok.video.values import MAX_TERM, described, fraction, printable, require_fraction, require_integer, require_tags

MAX_TRACKS = 256  # of each kind
MAX_BIT_RATE = (1 << 53) - 1  # JSON readers round larger numbers
_CODEC = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_PRINTABLE = r"[ -~]{1,100}"
_AnyTrack = TypeVar("_AnyTrack", bound="Track")


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The data of any track that is needed to put its packets into another container.

    Attributes:
        codec: FFmpeg's name of the codec, such as `aac`, `pcm_s16le`, `subrip` or `hdmv_pgs_subtitle`.
        time_base: Seconds per unit of the packets' timestamps.
        extradata: Bytes that a decoder needs before the first packet; their form depends on the codec.
        disposition: FFmpeg's names of the track's special roles, such as `default`, `comment` or `forced`.
        tags: Language, title and so on.

    Raises:
        ConfigError: A value has the wrong type or is outside its range.
    """

    kind: ClassVar[str]
    """In messages: what the track holds."""
    option: ClassVar[str]
    """The argument of functions that keeps such tracks, or leaves them out."""

    codec: str
    time_base: Fraction
    extradata: bytes = field(default=b"", repr=False)
    disposition: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _require_string("codec", self.codec, _CODEC)
        for name in self.disposition:
            _require_string("disposition", name, _CODEC)
        require_fraction("time_base", self.time_base)
        require_tags(self.tags)

    @property
    def name(self) -> str:
        """The codec, and language and title if there are any; for messages."""
        words = [self.codec, *(self.tags[key] for key in ("language", "title") if self.tags.get(key, "und") != "und")]
        return printable(" ".join(words))

    @property
    def rate(self) -> int:
        """Units of time in a second that suit the track, such as its samples."""
        return self.time_base.denominator

    @property
    def delay_seconds(self) -> Fraction:
        """What decoding puts before the first packet's time."""
        return Fraction(0)

    def to_json(self) -> dict[str, Any]:
        """The track as it is in the header; `from_json` reads it."""
        return {
            "codec": self.codec,
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "extradata": b64encode(self.extradata).decode(),
            "disposition": list(self.disposition),
            "tags": dict(self.tags),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The track that `values` describe, or ConfigError."""
        extradata, disposition = values["extradata"], values["disposition"]
        if not isinstance(extradata, str) or not isinstance(disposition, list):
            raise ConfigError("extradata must be a string, and disposition a list")
        try:
            data = b64decode(extradata, validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(f"extradata is {reprlib.repr(extradata)}: must be base64") from None
        own = {item.name: values[item.name] for item in fields(cls)}
        converted = {
            "time_base": fraction("time_base", values["time_base"]),
            "extradata": data,
            "disposition": tuple(disposition),
        }
        return cls(**own | converted)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrack(Track):
    """An audio track.

    Attributes:
        sample_rate: Samples per second and channel.
        channel_layout: FFmpeg's name of the channel layout, such as `stereo` or `5.1(side)`.
        bit_rate: Bits per second according to the source; 0 if the source does not say.
        codec_delay: Number of decoded samples before the first one that is to be heard.
    """

    kind, option = "sound", "with_audio"

    sample_rate: int
    channel_layout: str
    bit_rate: int = 0
    codec_delay: int = 0

    def __post_init__(self) -> None:
        Track.__post_init__(self)
        _require_string("channel_layout", self.channel_layout, _PRINTABLE)
        require_integer("sample_rate", self.sample_rate, 1, MAX_TERM)
        require_integer("bit_rate", self.bit_rate, 0, MAX_BIT_RATE)
        require_integer("codec_delay", self.codec_delay, 0, MAX_TERM)

    @property
    def rate(self) -> int:
        """Samples in a second."""
        return self.sample_rate

    @property
    def delay_seconds(self) -> Fraction:
        """Duration of the samples before the first one that is to be heard."""
        return Fraction(self.codec_delay, self.sample_rate)

    def to_json(self) -> dict[str, Any]:
        """The track as it is in the header; `from_json` reads it."""
        own = {name: getattr(self, name) for name in ("sample_rate", "channel_layout", "bit_rate", "codec_delay")}
        return Track.to_json(self) | own


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleTrack(Track):
    """A track of subtitles, as text or as pictures."""

    kind, option = "subtitles", "with_subtitles"


class TrackPacket(NamedTuple):
    """A packet of a track, as the source has it.

    Attributes:
        track: Number of its track: those of audio come first, then those of subtitles.
        pts: When it begins, in units of its track's time base; `dts` and `duration` likewise.
        data: Its bytes.
        side_data: What FFmpeg attaches to it: kinds and bytes.
    """

    track: int
    pts: int
    dts: int
    duration: int
    data: bytes
    is_key: bool = True
    is_corrupt: bool = False
    side_data: tuple[tuple[str, bytes], ...] = ()

    def seconds(self, tracks: Sequence[Track]) -> Fraction:
        """The time at which the packet begins."""
        return self.pts * tracks[self.track].time_base

    def moved(self, seconds: Fraction, tracks: Sequence[Track]) -> "TrackPacket":
        """The packet `seconds` later, to the nearest unit of its track's time base."""
        ticks = round(seconds / tracks[self.track].time_base)
        return self._replace(pts=self.pts + ticks, dts=self.dts + ticks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The data of a video other than its pictures.

    Attributes:
        tags: Title, date and so on.
        audio: Descriptions of its audio tracks.
        subtitles: Descriptions of its tracks of subtitles.
        chapters: Named stretches of time.
    """

    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    audio: tuple[AudioTrack, ...] = ()
    subtitles: tuple[SubtitleTrack, ...] = ()
    chapters: tuple[Chapter, ...] = ()

    @property
    def tracks(self) -> tuple[Track, ...]:
        """All tracks, in the order of the numbers of their packets."""
        return (*self.audio, *self.subtitles)


def kinds_of(tracks: Iterable[Track]) -> str:
    """What tracks hold, for messages: `sound`, `subtitles`, `sound and subtitles`, or nothing."""
    return " and ".join(dict.fromkeys(track.kind for track in tracks))


def chosen_packets(
    packets: Iterable[TrackPacket], num_audio: int, *, with_audio: bool, with_subtitles: bool
) -> Iterator[TrackPacket]:
    """Yield the packets of some kinds of tracks, numbered as if there were no others.

    Args:
        packets: Packets of all tracks.
        num_audio: Number of audio tracks among these.
        with_audio: Whether packets of sound are wanted.
        with_subtitles: Whether packets of subtitles are wanted.
    """
    for packet in packets:
        if packet.track < num_audio:
            if with_audio:
                yield packet
        elif with_subtitles:
            yield packet if with_audio else packet._replace(track=packet.track - num_audio)


def audio_from_json(values: object) -> tuple[AudioTrack, ...]:
    """The header's `audio`, or ConfigError."""
    return _tracks("audio", AudioTrack, values)


def subtitles_from_json(values: object) -> tuple[SubtitleTrack, ...]:
    """The header's `subtitles`, or ConfigError."""
    return _tracks("subtitles", SubtitleTrack, values)


def _tracks(name: str, kind: type[_AnyTrack], values: object) -> tuple[_AnyTrack, ...]:
    tracks = described(name, values, kind.from_json)
    if len(tracks) > MAX_TRACKS:
        raise ConfigError(f"{name} has {len(tracks)} tracks: must be at most {MAX_TRACKS}")
    return tracks


def _require_string(name: str, value: object, pattern: str) -> None:
    if not (isinstance(value, str) and re.fullmatch(pattern, value)):
        raise ConfigError(f"{name} is {reprlib.repr(value)}: must match {pattern}")
