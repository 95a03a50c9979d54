"""Converts subtitles of text from one form to another, as FFmpeg reads the one and writes the other."""

from dataclasses import replace
from fractions import Fraction
from typing import Literal

from av.codec.context import CodecContext
from av.packet import Packet
from av.subtitles.codeccontext import SubtitleCodecContext

from vtok.video.tracks import SubtitleTrack, Track, TrackPacket

_TEXTS = ("ass", "mov_text", "subrip", "text", "webvtt")
_LONGEST = 1 << 15  # bytes of a packet; the time that FFmpeg takes grows with their square


class TextConverter:
    """Converts the packets of a track. Words, line ends and, where both forms have them, bold and colours are kept.

    Attributes:
        track: The track in its new form.

    Args:
        track: The track.
        codec: FFmpeg's name of the new form.

    Raises:
        ValueError: The track is no text.
        av.error.FFmpegError: FFmpeg does not take the track's extradata.
    """

    def __init__(self, track: Track, codec: str) -> None:
        if not isinstance(track, SubtitleTrack) or track.codec not in _TEXTS:
            raise ValueError(f"{track.name} is no text")
        self._decoder = _context(track.codec, "r")
        self._decoder.extradata = track.extradata or None
        self._decoder.open()
        self._encoder = _context(codec, "w")
        self._encoder.subtitle_header = self._decoder.subtitle_header
        self._encoder.time_base = Fraction(1, 1000)
        self._encoder.open()
        self._time_base = track.time_base
        self.track = replace(track, codec=codec, extradata=self._encoder.extradata or b"")

    def __call__(self, packet: TrackPacket) -> TrackPacket | None:
        """Return the packet in its new form; None if it shows nothing.

        Raises:
            ValueError: The packet is too long for something to be read.
            av.error.FFmpegError: FFmpeg does not take it for text.
        """
        if len(packet.data) > _LONGEST:
            raise ValueError(f"text of {len(packet.data)} bytes, of at most {_LONGEST}")
        coded = Packet(packet.data)
        coded.pts, coded.dts, coded.duration = packet.pts, packet.dts, packet.duration
        coded.time_base = self._time_base
        shown = self._decoder.decode2(coded)
        if not shown:
            return None
        data = bytes(self._encoder.encode_subtitle(shown))
        return packet._replace(data=data, side_data=()) if data else None


def _context(codec: str, mode: Literal["r", "w"]) -> SubtitleCodecContext:
    context = CodecContext.create(codec, mode)
    assert isinstance(context, SubtitleCodecContext)
    return context
