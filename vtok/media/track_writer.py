"""Writes packets of sound and subtitles into a video file."""

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, get_args

import av
import av.error
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet, PacketSideData, PktSideDataT, packet_sidedata_type_from_literal
from av.subtitles.stream import SubtitleStream

from vtok.media.text_converter import TextConverter
from vtok.media.track_formats import FORMATS, add_stream, can_hold, converter_for, suffix_for
from vtok.video.tracks import Track, TrackPacket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BESIDE_SUBTITLES = {"max_interleave_delta": "500000"}
"""Option of a container: frames wait for subtitles, which are rare, for half a second and not ten."""

_MATROSKA_TICK = Fraction(1, 1000)  # seconds
_NO_TEXT = b"\0\0"  # what MP4 has where no text is shown; the muxer puts it there by itself


@dataclass(slots=True)
class _Output:
    """A track that is being written.

    Attributes:
        track: The track as the container holds it.
        stream: Its place in the container.
        trial: Tells which packets the container refuses.
        converter: Converts packets to the form of `track`; None if they have it.
        last_pts: Time of the last packet, in units of the track's time base.
        last_dts: Decoding time of the last packet, in units of the stream's time base; None before the first.
    """

    track: Track
    stream: AudioStream | SubtitleStream
    trial: "_Trial"
    converter: TextConverter | None
    last_pts: int = -1
    last_dts: int | None = None


class TrackWriter:
    """The tracks of sound and subtitles of a file that is being written.

    Args:
        container: The file. Its video track exists already; its header is not written yet.
        suffix: Suffix of the file, which chose the container.
        tracks: The tracks to write. Subtitles of text are converted if the container has another form of them.
        notices: Receives a line for everything that the file cannot hold.
    """

    def __init__(self, container: OutputContainer, suffix: str, tracks: Sequence[Track], notices: list[str]) -> None:
        self._container, self._notices = container, notices
        self._num_refused: dict[str, int] = {}  # by kind of track
        self._needs_rising_dts = suffix in (".mp4", ".mov")
        self._begins_below_zero = False
        self._outputs = [self._output(suffix, track) for track in tracks]

    def _output(self, suffix: str, track: Track) -> _Output | None:
        converter = None if can_hold(suffix, track) else converter_for(suffix, track)
        if converter is None and not can_hold(suffix, track):
            other = suffix_for(track)
            hint = f"{other} can" if other else "nor can any other container that vtok writes"
            self._notices.append(f"{track.kind} dropped: {suffix} cannot hold the track {track.name}; {hint}")
            return None
        if converter is not None:
            self._notices.append(f"{track.kind} {track.name} converted to {converter.track.codec} for {suffix}")
            track = converter.track
        return _Output(track, add_stream(self._container, track), _Trial(suffix, track), converter)

    def write(self, packet: TrackPacket, shift: Fraction) -> None:
        """Write a packet, `shift` seconds later than its timestamps say.

        Raises:
            av.error.FFmpegError: The disk fails.
        """
        output = self._outputs[packet.track]
        if output is None:
            return
        track, kind, target = output.track, output.track.kind, output.stream.time_base
        if output.converter:
            try:
                converted = output.converter(packet)
            except (av.error.FFmpegError, ValueError):
                self._num_refused[kind] = self._num_refused.get(kind, 0) + 1
                return
            if converted is None:
                return
            packet = converted
        if track.codec == "mov_text" and packet.data == _NO_TEXT:
            return
        assert target is not None
        source = track.time_base
        # A track of MP4 ends with its last packet, and players leave out one that is said to last no time.
        duration = packet.duration or max(1, packet.pts - output.last_pts) * self._needs_rising_dts
        output.last_pts = packet.pts
        begin = packet.pts * source + shift + track.delay_seconds
        if begin <= -_MATROSKA_TICK and not self._needs_rising_dts and not self._begins_below_zero:
            self._begins_below_zero = True
            self._notices.append(f"all timestamps moved by {float(-begin):.3g} s, for none may be below zero")
        pts, dts, end = (
            round((time * source + shift) / target) for time in (packet.pts, packet.dts, packet.pts + duration)
        )
        dts = min(dts, pts)
        last = output.last_dts
        if last is not None and dts < last + self._needs_rising_dts:
            late = last + self._needs_rising_dts - dts
            pts, dts, end = pts + late, dts + late, end + late
            notice = f"timestamps of the {kind} repeat or go back: moved forward"
            if notice not in self._notices:
                self._notices.append(notice)
        output.last_dts = dts

        def copy() -> "Packet[Any]":  # muxers change the packets that they are given
            copied = Packet(packet.data)
            copied.time_base = target
            copied.pts, copied.dts, copied.duration = pts, dts, end - pts
            copied.is_keyframe, copied.is_corrupt = packet.is_key, packet.is_corrupt
            for kind, data in packet.side_data:
                if kind in get_args(PktSideDataT):
                    copied.set_sidedata(_side_data(kind, data))
            return copied

        if not output.trial.takes(copy()):
            self._num_refused[kind] = self._num_refused.get(kind, 0) + 1
            return
        taken = copy()
        taken.stream = output.stream
        self._container.mux(taken)

    def close(self) -> None:
        """Drop what was needed for writing; the container stays open."""
        for output in filter(None, self._outputs):
            output.trial.close()

    @property
    def refused(self) -> list[str]:
        """The notices of packets that the muxer refused."""
        return [
            f"packets of {kind} that the container refuses, and which are left out: {number}"
            for kind, number in self._num_refused.items()
        ]


class _Trial:
    """A file of one track that nothing keeps, to learn which packets the muxer refuses.

    With a single track FFmpeg writes each packet at once. In the real file packets wait for those of other tracks, so
    an error comes with some later packet, or with the trailer, and takes all packets with it that are still waiting.

    Args:
        suffix: Suffix of the real file.
        track: A track that its container can hold.
    """

    def __init__(self, suffix: str, track: Track) -> None:
        self._container = av.open(_Nowhere(), "w", format=FORMATS[suffix])
        self._stream = add_stream(self._container, track)
        self._container.start_encoding()

    def takes(self, packet: "Packet[Any]") -> bool:
        """Whether the muxer takes the next packet of the track."""
        packet.stream = self._stream
        try:
            self._container.mux(packet)
        except (av.error.FFmpegError, ValueError):
            return False
        return True

    def close(self) -> None:
        with suppress(av.error.FFmpegError):
            self._container.close()


class _Nowhere(io.RawIOBase):
    """A file that forgets what is written to it."""

    def __init__(self) -> None:
        self._position = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (self._position if whence else 0)
        return self._position

    def write(self, data: "ReadableBuffer", /) -> int:
        num_bytes = len(memoryview(data))
        self._position += num_bytes
        return num_bytes


def _side_data(kind: Any, data: bytes) -> PacketSideData:
    make: Any = PacketSideData  # PyAV's stubs lack its arguments
    side_data: PacketSideData = make(packet_sidedata_type_from_literal(kind), len(data))
    side_data.update(data)
    return side_data
