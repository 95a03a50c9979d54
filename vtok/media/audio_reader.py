"""The sound of a video file: its packets, unchanged."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Protocol

from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition, Stream

from vtok.errors import ConfigError
from vtok.media.audio_writer import suffix_for
from vtok.media.tags import tags_of
from vtok.video.tracks import AudioPacket, AudioTrack


class PacketSink(Protocol):
    """The receiver of the audio packets that a reader meets."""

    def start(self, tracks: Sequence[AudioTrack], time_base: Fraction) -> None:
        """Take the audio tracks and the time base of the pictures. Called before any packet is pushed."""

    def push(self, packet: AudioPacket) -> None:
        """Take a packet; ConfigError if the sink cannot hold it."""


class AudioReader:
    """Passes the audio packets of a file that is being read to a sink.

    Attributes:
        streams: The audio tracks, to be demuxed together with the pictures; empty without a sink.
        tracks: The audio tracks as a header describes them.

    Args:
        streams: All streams of the file.
        sink: Receives the packets; None leaves the sound out.
        notices: Receives a line for everything that is not carried over.
        time_base: Time base of the video.
    """

    def __init__(
        self, streams: Iterable[Stream], sink: PacketSink | None, notices: dict[str, str], time_base: Fraction
    ) -> None:
        self.streams: list[AudioStream] = []
        tracks = []
        for stream in streams:
            if sink is None or not isinstance(stream, AudioStream):
                continue
            try:
                tracks.append(_track(stream))
                self.streams.append(stream)
                if suffix_for(tracks[-1]) is None:
                    notices[f"track {stream.index}"] = (
                        f"the sound {tracks[-1].name} is kept, but no container that vtok writes can hold it: "
                        "decoded videos will lack it"
                    )
            except ConfigError as error:
                notices[f"track {stream.index}"] = f"audio track {stream.index} is not carried over: {error}"
        self.tracks = tuple(tracks)
        self._sink = sink
        if sink is not None:
            sink.start(self.tracks, time_base)
        self._numbers = {stream.index: number for number, stream in enumerate(self.streams)}
        self._next_pts = [0] * len(tracks)
        self._notices = notices

    def takes(self, packet: "Packet[Stream]") -> bool:
        """Whether the packet is sound. If it is, it is copied to the sink."""
        number = self._numbers.get(packet.stream.index)  # not `stream_index`: the last, empty packets have none
        if number is None or self._sink is None:
            return False
        if packet.has_sidedata("encryption_info"):
            self._notices.setdefault(f"encrypted {number}", f"encrypted sound left out: {self.tracks[number].name}")
        elif packet.size:
            try:
                self._sink.push(self._copied(number, packet))
            except ConfigError as error:  # the video can still be read
                self._notices.setdefault("packet", f"sound left out: {error}")
        return True

    def _copied(self, number: int, packet: "Packet[Stream]") -> AudioPacket:
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is None:
            pts = self._next_pts[number]
            self._notices.setdefault("sound", "timestamps missing in the sound: filled in from the packets' durations")
        duration = max(0, packet.duration or 0)
        self._next_pts[number] = pts + duration
        return AudioPacket(
            track=number,
            pts=pts,
            dts=pts if packet.dts is None else packet.dts,
            duration=duration,
            data=bytes(packet),
            is_key=packet.is_keyframe,
            is_corrupt=packet.is_corrupt,
            side_data=tuple((data.data_type, bytes(data)) for data in packet.iter_sidedata()),
        )


def _track(stream: AudioStream) -> AudioTrack:
    """A track as a header describes it; ConfigError if FFmpeg does not know its codec."""
    context = stream.codec_context
    if context is None or not context.sample_rate or not context.layout.nb_channels:
        raise ConfigError("this build of FFmpeg does not know its codec")
    return AudioTrack(
        codec=context.codec.canonical_name,
        time_base=stream.time_base or Fraction(1, context.sample_rate),
        sample_rate=context.sample_rate,
        channel_layout=context.layout.name,
        extradata=context.extradata or b"",
        bit_rate=context.bit_rate or 0,
        codec_delay=max(0, context.delay),
        disposition=tuple(str(flag.name) for flag in Disposition if flag & stream.disposition),
        tags=tags_of(stream.metadata, {}),
    )
