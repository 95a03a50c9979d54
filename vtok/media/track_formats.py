"""The tracks that each container can hold: as they are, or subtitles of text converted to its own form."""

import io
import struct
from contextlib import suppress
from fractions import Fraction

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream

from vtok.media.text_converter import TextConverter
from vtok.video.tracks import AudioTrack, Track
from vtok.video.values import MAX_TERM

FORMATS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".webm": "webm"}
"""FFmpeg's muxers; the one that can hold most comes first."""

_TEXTS = {".mkv": "subrip", ".mov": "mov_text", ".mp4": "mov_text", ".webm": "webvtt"}  # the usual form of subtitles

# PyAV describes a stream that is not encoded here only by copying one that it reads. So it is given a Matroska file
# without packets that names the codec of the sound; everything else is set afterwards. Matroska's codec names (RFC
# 9559), with the bits of a sample:
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


def add_stream(container: OutputContainer, track: Track) -> AudioStream | SubtitleStream:
    """Add a track whose packets are to be copied.

    Raises:
        ValueError: FFmpeg does not know the codec or the layout, or the container cannot hold the track.
    """
    stream: AudioStream | SubtitleStream
    if isinstance(track, AudioTrack):
        with _audio_template(track) as template:
            stream = container.add_stream_from_template(template.streams.audio[0])
        stream.codec_context.layout = track.channel_layout
        if 0 < track.bit_rate <= MAX_TERM:
            stream.codec_context.bit_rate = track.bit_rate
    else:
        with _subtitle_template(track) as template:
            stream = container.add_stream_from_template(template.streams.subtitles[0])
    stream.codec_context.extradata = track.extradata or None
    stream.time_base = track.time_base
    for name in track.disposition:
        stream.disposition |= Disposition.__members__.get(name, Disposition(0))
    stream.metadata.update(track.tags)
    return stream


def suffix_for(track: Track) -> str | None:
    """The first suffix in `FORMATS` whose container takes the track, as it is or converted, or None."""
    return next((suffix for suffix in FORMATS if can_hold(suffix, track) or converter_for(suffix, track)), None)


def can_hold(suffix: str, track: Track) -> bool:
    """Whether the container of a suffix takes the track. Only FFmpeg knows, so an empty one is begun in memory."""
    container = av.open(io.BytesIO(), "w", format=FORMATS[suffix])
    try:
        add_stream(container, track)
        container.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    finally:
        with suppress(av.error.FFmpegError):
            container.close()
    return True


def converter_for(suffix: str, track: Track) -> TextConverter | None:
    """A converter of subtitles of text to the form that the container of a suffix takes; None if there is none."""
    try:
        converter = TextConverter(track, _TEXTS[suffix])
    except (av.error.FFmpegError, ValueError):
        return None
    return converter if can_hold(suffix, converter.track) else None


def _subtitle_template(track: Track) -> InputContainer:
    """A file of one packet of subtitles of the track's codec, in a container that takes them."""
    for name in ("matroska", "mp4"):
        file = io.BytesIO()
        with suppress(av.error.FFmpegError, ValueError), av.open(file, "w", format=name) as container:
            stream = container.add_mux_stream(track.codec, time_base=Fraction(1, 1000))
            packet = Packet(b"\0\0")
            packet.pts = packet.dts = packet.duration = 0
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            container.mux(packet)
            container.close()
            template = av.open(io.BytesIO(file.getvalue()), "r", format=name)
            if template.streams.subtitles and template.streams.subtitles[0].codec_context is not None:
                return template
            template.close()
    raise ValueError(f"codec {track.codec} is not known")


def _audio_template(track: AudioTrack) -> InputContainer:
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
