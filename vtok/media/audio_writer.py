"""Writes audio packets, tags and chapters into a video file."""

import io
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet, PacketSideData, PktSideDataT, packet_sidedata_type_from_literal
from av.stream import Disposition

from vtok.video.tracks import AudioPacket, AudioTrack, Extras
from vtok.video.values import MAX_TERM

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FORMATS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".webm": "webm"}
"""FFmpeg's muxers; the one that can hold most comes first."""

_MATROSKA_TICK = Fraction(1, 1000)  # seconds

# PyAV describes a stream that is not encoded here only by copying one that it reads. So it is given a Matroska file
# without packets that names the codec; everything else is set afterwards. Matroska's codec names (RFC 9559), with the
# bits of a sample:
_MATROSKA_CODECS = {
    "aac": ("A_AAC", 0),
    "ac3": ("A_AC3", 0),
    "alac": ("A_ALAC", 0),
    "dts": ("A_DTS", 0),
    "eac3": ("A_EAC3", 0),
    "flac": ("A_FLAC", 0),
    "mlp": ("A_MLP", 0),
    "mp1": ("A_MPEG/L1", 0),
    "mp2": ("A_MPEG/L2", 0),
    "mp3": ("A_MPEG/L3", 0),
    "opus": ("A_OPUS", 0),
    "pcm_f32le": ("A_PCM/FLOAT/IEEE", 32),
    "pcm_f64le": ("A_PCM/FLOAT/IEEE", 64),
    "pcm_s16be": ("A_PCM/INT/BIG", 16),
    "pcm_s16le": ("A_PCM/INT/LIT", 16),
    "pcm_s24be": ("A_PCM/INT/BIG", 24),
    "pcm_s24le": ("A_PCM/INT/LIT", 24),
    "pcm_s32be": ("A_PCM/INT/BIG", 32),
    "pcm_s32le": ("A_PCM/INT/LIT", 32),
    "pcm_u8": ("A_PCM/INT/LIT", 8),
    "truehd": ("A_TRUEHD", 0),
    "tta": ("A_TTA1", 0),
    "vorbis": ("A_VORBIS", 0),
    "wavpack": ("A_WAVPACK4", 0),
}
# Codecs that only QuickTime has, by its names.
_QUICKTIME_CODECS = {
    "adpcm_ima_qt": b"ima4",
    "amr_nb": b"samr",
    "amr_wb": b"sawb",
    "gsm": b"agsm",
    "mace3": b"MAC3",
    "mace6": b"MAC6",
    "pcm_alaw": b"alaw",
    "pcm_f32be": b"fl32",
    "pcm_f64be": b"fl64",
    "pcm_mulaw": b"ulaw",
    "qdm2": b"QDM2",
}


class AudioWriter:
    """The audio tracks of a file that is being written.

    Args:
        container: The file. Its video track exists already; its header is not written yet.
        suffix: Suffix of the file, which chose the container.
        tracks: The tracks to write.
        notices: Receives a line for everything that the file cannot hold.
    """

    def __init__(
        self, container: OutputContainer, suffix: str, tracks: Sequence[AudioTrack], notices: list[str]
    ) -> None:
        self._container, self._tracks, self._notices = container, tracks, notices
        self._streams: list[AudioStream | None] = []
        self._trials: list[_Trial | None] = []
        self._last_dts: list[int | None] = [None] * len(tracks)
        self._last_pts = [-1] * len(tracks)
        self._num_refused = 0
        self._needs_rising_dts = suffix in (".mp4", ".mov")
        self._begins_below_zero = False
        for track in tracks:
            if _can_hold(FORMATS[suffix], track):
                self._streams.append(_add_stream(container, track))
                self._trials.append(_Trial(FORMATS[suffix], track))
                continue
            self._streams.append(None)
            self._trials.append(None)
            other = suffix_for(track)
            hint = f"{other} can" if other else "nor can any other container that vtok writes"
            notices.append(f"sound dropped: {suffix} cannot hold the track {track.name}; {hint}")

    def write(self, packet: AudioPacket, shift: Fraction) -> None:
        """Write a packet, `shift` seconds later than its timestamps say.

        Raises:
            av.error.FFmpegError: The disk fails.
        """
        stream, trial = self._streams[packet.track], self._trials[packet.track]
        if stream is None or trial is None:
            return
        track, target = self._tracks[packet.track], stream.time_base
        assert target is not None
        source = track.time_base
        # A track of MP4 ends with its last packet, and players leave out one that is said to last no time.
        duration = packet.duration or max(1, packet.pts - self._last_pts[packet.track]) * self._needs_rising_dts
        self._last_pts[packet.track] = packet.pts
        begin = packet.pts * source + shift + Fraction(track.codec_delay, track.sample_rate)
        if begin <= -_MATROSKA_TICK and not self._needs_rising_dts and not self._begins_below_zero:
            self._begins_below_zero = True
            self._notices.append(f"all timestamps moved by {float(-begin):.3g} s, for none may be below zero")
        pts, dts, end = (
            round((time * source + shift) / target) for time in (packet.pts, packet.dts, packet.pts + duration)
        )
        dts = min(dts, pts)
        last = self._last_dts[packet.track]
        if last is not None and dts < last + self._needs_rising_dts:
            late = last + self._needs_rising_dts - dts
            pts, dts, end = pts + late, dts + late, end + late
            if "timestamps of the sound repeat or go back: moved forward" not in self._notices:
                self._notices.append("timestamps of the sound repeat or go back: moved forward")
        self._last_dts[packet.track] = dts

        def copy() -> "Packet[Any]":  # muxers change the packets that they are given
            copied = Packet(packet.data)
            copied.time_base = target
            copied.pts, copied.dts, copied.duration = pts, dts, end - pts
            copied.is_keyframe, copied.is_corrupt = packet.is_key, packet.is_corrupt
            for kind, data in packet.side_data:
                if kind in get_args(PktSideDataT):
                    copied.set_sidedata(_side_data(kind, data))
            return copied

        if not trial.takes(copy()):
            self._num_refused += 1
            return
        taken = copy()
        taken.stream = stream
        self._container.mux(taken)

    def close(self) -> None:
        """Drop what was needed for writing sound; the container stays open."""
        for trial in filter(None, self._trials):
            trial.close()

    @property
    def refused(self) -> str | None:
        """The notice of packets that the muxer refused, or None."""
        if not self._num_refused:
            return None
        return f"packets of sound that the container refuses, and which are left out: {self._num_refused}"


class _Trial:
    """A file of one track that nothing keeps, to learn which packets the muxer refuses.

    With a single track FFmpeg writes each packet at once. In the real file packets wait for those of other tracks, so
    an error comes with some later packet, or with the trailer, and takes all packets with it that are still waiting.

    Args:
        format_name: The format of the real file.
        track: A track that this format can hold.
    """

    def __init__(self, format_name: str, track: AudioTrack) -> None:
        self._container = av.open(_Nowhere(), "w", format=format_name)
        self._stream = _add_stream(self._container, track)
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


def describe(container: OutputContainer, extras: Extras) -> None:
    """Give a file that is being written its tags and chapters. Chapters are cut at time zero."""
    container.metadata.update(extras.tags)
    container.set_chapters(
        [
            {
                "id": number,
                "start": max(0, chapter.start),
                "end": chapter.end,
                "time_base": chapter.time_base,
                "metadata": dict(chapter.tags),
            }
            for number, chapter in enumerate(extras.chapters, 1)
            if max(0, chapter.start) <= chapter.end
        ]
    )


def lost_tags(path: Path, tags: Mapping[str, str]) -> list[str]:
    """The tags that a written file lacks. Only its muxer knows what a container holds, so the file is read again."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        kept = {(key.lower(), value) for key, value in container.metadata.items()}
    return [key for key, value in tags.items() if (key.lower(), value) not in kept]


def _side_data(kind: Any, data: bytes) -> PacketSideData:
    make: Any = PacketSideData  # PyAV's stubs lack its arguments
    side_data: PacketSideData = make(packet_sidedata_type_from_literal(kind), len(data))
    side_data.update(data)
    return side_data


def _add_stream(container: OutputContainer, track: AudioTrack) -> AudioStream:
    """Add an audio track whose packets are to be copied.

    Raises:
        ValueError: FFmpeg does not know the codec or the layout, or the container cannot hold the track.
    """
    with _template(track) as template:
        stream = container.add_stream_from_template(template.streams.audio[0])
    context = stream.codec_context
    context.extradata = track.extradata or None
    context.layout = track.channel_layout
    if 0 < track.bit_rate <= MAX_TERM:
        context.bit_rate = track.bit_rate
    stream.time_base = track.time_base
    for name in track.disposition:
        stream.disposition |= Disposition.__members__.get(name, Disposition(0))
    stream.metadata.update(track.tags)
    return stream


def suffix_for(track: AudioTrack) -> str | None:
    """The first suffix in `FORMATS` whose container takes the track, or None."""
    return next((suffix for suffix, name in FORMATS.items() if _can_hold(name, track)), None)


def _can_hold(format_name: str, track: AudioTrack) -> bool:
    """Whether containers of this format take the track. Only FFmpeg knows, so an empty one is begun in memory."""
    container = av.open(io.BytesIO(), "w", format=format_name)
    try:
        _add_stream(container, track)
        container.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    finally:
        with suppress(av.error.FFmpegError):
            container.close()
    return True


def _template(track: AudioTrack) -> InputContainer:
    """A Matroska file without packets and with one track, which has the codec, sample rate and delay of `track`."""
    if track.codec in _MATROSKA_CODECS:
        codec, bits = _MATROSKA_CODECS[track.codec]
        private = b""
    elif track.codec in _QUICKTIME_CODECS:
        codec, bits = "A_QUICKTIME", 0
        private = struct.pack(">I4s28x", 36, _QUICKTIME_CODECS[track.codec])  # head of a sound sample description
    else:
        raise ValueError(f"codec {track.codec} is not known")
    delay = round(Fraction(track.codec_delay * 10**9, track.sample_rate))
    entry = _element(
        0xAE,
        _element(0xD7, _number(1)),  # number
        _element(0x73C5, _number(1)),  # unique number
        _element(0x83, _number(2)),  # an audio track
        _element(0x86, codec.encode()),
        _element(0x63A2, private) if private else b"",
        _element(0x56AA, _number(delay)) if delay else b"",
        _element(
            0xE1,
            _element(0xB5, struct.pack(">d", track.sample_rate)),
            _element(0x9F, _number(2)),  # channels; set afterwards
            _element(0x6264, _number(bits)) if bits else b"",
        ),
    )
    segment = _element(
        0x18538067,
        _element(0x1549A966, _element(0x2AD7B1, _number(10**6))),  # nanoseconds per unit of time
        _element(0x1654AE6B, entry),
        _element(0x1F43B675, _element(0xE7, _number(0))),  # a cluster; FFmpeg reads no file without one
    )
    data = _element(0x1A45DFA3, _element(0x4282, b"matroska")) + segment
    return av.open(io.BytesIO(data), "r", format="matroska")


def _element(number: int, *parts: bytes) -> bytes:
    """An EBML element (RFC 8794) whose length takes four bytes."""
    content = b"".join(parts)
    return number.to_bytes(-(-number.bit_length() // 8)) + (0x10000000 | len(content)).to_bytes(4) + content


def _number(value: int) -> bytes:
    return value.to_bytes(8)
