"""The sound and the subtitles of a video file: their packets, unchanged."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, Protocol

from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream

from vtok.errors import ConfigError
from vtok.media.tags import tags_of
from vtok.media.track_formats import suffix_for
from vtok.video.tracks import MAX_TRACKS, AudioTrack, SubtitleTrack, Track, TrackPacket


class PacketSink(Protocol):
    """The receiver of the packets that a reader meets."""

    def start(self, tracks: Sequence[Track], time_base: Fraction) -> None:
        """Take the tracks and the time base of the pictures. Called before any packet is pushed."""

    def push(self, packet: TrackPacket) -> None:
        """Take a packet; ConfigError if the sink cannot hold it."""


class TrackReader:
    """Passes the packets of sound and subtitles of a file that is being read to a sink.

    Attributes:
        streams: The tracks, to be demuxed together with the pictures; empty without a sink.
        audio: The audio tracks as a header describes them.
        subtitles: The tracks of subtitles, likewise.

    Args:
        streams: The streams to read: those of audio, then those of subtitles.
        sink: Receives the packets; None leaves them out.
        notices: Receives a line for everything that is not carried over.
        time_base: Time base of the video.
    """

    def __init__(
        self,
        streams: Iterable[AudioStream | SubtitleStream],
        sink: PacketSink | None,
        notices: dict[str, str],
        time_base: Fraction,
    ) -> None:
        self.streams: list[Stream] = []
        self._tracks: list[Track] = []
        for stream in streams if sink is not None else ():
            try:
                track = _audio_track(stream) if isinstance(stream, AudioStream) else _subtitle_track(stream)
                if sum(type(other) is type(track) for other in self._tracks) == MAX_TRACKS:
                    raise ConfigError(f"at most {MAX_TRACKS} tracks of {track.kind} are kept")
            except ConfigError as error:
                notices[f"track {stream.index}"] = f"{stream.type} track {stream.index} is not carried over: {error}"
                continue
            self._tracks.append(track)
            self.streams.append(stream)
            if suffix_for(track) is None:
                notices[f"track {stream.index}"] = (
                    f"the {track.kind} {track.name} is kept, but no container that vtok writes can hold it: "
                    "decoded videos will lack it"
                )
        self.audio = tuple(track for track in self._tracks if isinstance(track, AudioTrack))
        self.subtitles = tuple(track for track in self._tracks if isinstance(track, SubtitleTrack))
        self._sink = sink
        if sink is not None:
            sink.start(self._tracks, time_base)
        self._numbers = {stream.index: number for number, stream in enumerate(self.streams)}
        self._next_pts = [0] * len(self._tracks)
        self._notices = notices

    def takes(self, packet: "Packet[Stream]") -> bool:
        """Whether the packet is of one of the tracks. If it is, it is copied to the sink."""
        number = self._numbers.get(packet.stream.index)  # not `stream_index`: the last, empty packets have none
        if number is None or self._sink is None:
            return False
        track = self._tracks[number]
        if packet.has_sidedata("encryption_info"):
            self._notices.setdefault(f"encrypted {number}", f"encrypted {track.kind} left out: {track.name}")
        elif packet.size:
            try:
                self._sink.push(self._copied(number, packet))
            except ConfigError as error:  # the video can still be read
                self._notices.setdefault("packet", f"{track.kind} left out: {error}")
        return True

    def _copied(self, number: int, packet: "Packet[Stream]") -> TrackPacket:
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is None:
            pts = self._next_pts[number]
            kind = self._tracks[number].kind
            self._notices.setdefault(kind, f"timestamps missing in the {kind}: filled in from the packets' durations")
        duration = max(0, packet.duration or 0)
        self._next_pts[number] = pts + duration
        return TrackPacket(
            track=number,
            pts=pts,
            dts=pts if packet.dts is None else packet.dts,
            duration=duration,
            data=bytes(packet),
            is_key=packet.is_keyframe,
            is_corrupt=packet.is_corrupt,
            side_data=tuple((data.data_type, bytes(data)) for data in packet.iter_sidedata()),
        )


def _audio_track(stream: AudioStream) -> AudioTrack:
    """A track as a header describes it; ConfigError if FFmpeg does not know its codec."""
    context = stream.codec_context
    if context is None or not context.sample_rate or not context.layout.nb_channels:
        raise ConfigError("this build of FFmpeg does not know its codec")
    return AudioTrack(
        **_common(stream, context.codec.canonical_name, Fraction(1, context.sample_rate)),
        sample_rate=context.sample_rate,
        channel_layout=context.layout.name,
        bit_rate=context.bit_rate or 0,
        codec_delay=max(0, context.delay),
    )


def _subtitle_track(stream: SubtitleStream) -> SubtitleTrack:
    """A track as a header describes it; ConfigError if FFmpeg does not know its codec."""
    if stream.codec_context is None:
        raise ConfigError("this build of FFmpeg does not know its codec")
    return SubtitleTrack(**_common(stream, stream.codec_context.codec.canonical_name, Fraction(1, 1000)))


def _common(stream: AudioStream | SubtitleStream, codec: str, time_base: Fraction) -> dict[str, Any]:
    """What all tracks have; `time_base` is for those that do not say."""
    return {
        "codec": codec,
        "time_base": stream.time_base or time_base,
        "extradata": stream.codec_context.extradata or b"",
        "disposition": tuple(str(flag.name) for flag in Disposition if flag & stream.disposition),
        "tags": tags_of(stream.metadata, {}),
    }
