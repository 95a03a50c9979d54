"""Runs one codec at one setting on one clip: measures bytes and speed."""

import dataclasses
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import av

import vtok.version
from vtok.errors import ConfigError
from vtok.files.decode import decode_file
from vtok.files.encode import encode_file
from vtok.media.reader import VideoReader
from vtok.media.writer import VideoWriter
from vtok.model.tokenizer import VideoTokenizer

VTOK = "vtok"
X26_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
_H264_SEI = 6  # NAL unit type of "supplemental enhancement information"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """Cost of one run of one codec: `num_bytes` is the headline, seconds are of wall time."""

    decoded: Path
    num_bytes: int
    num_file_bytes: int
    encode_seconds: float
    decode_seconds: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A codec of FFmpeg: its encoder, presets, highest crf, options for a number of threads, and size of a stream."""

    encoder: str
    presets: tuple[str, ...]
    highest_crf: int
    options: Callable[[int], dict[str, str]]
    stream_bytes: Callable[[Path], int]


def parse_codecs(text: str) -> list[str]:
    """Split text such as `"vtok,x264-medium"` into a list without repetitions.

    Raises:
        ConfigError: A name is unknown.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        family, _, preset = name.partition("-")
        if name != VTOK and (family not in FAMILIES or preset not in FAMILIES[family].presets):
            allowed = [f"{family}-PRESET ({', '.join(FAMILIES[family].presets)})" for family in FAMILIES]
            raise ConfigError(f"no codec {name!r}; there are vtok, {', '.join(allowed)}")
    return names


def build_of(codec: str, tokenizer: VideoTokenizer | None, *, threads: int) -> str:
    """Everything else that bytes and speed depend on: versions, threads and, for vtok, the weights."""
    if codec != VTOK:
        return f"PyAV {av.__version__}, {threads} threads"
    assert tokenizer is not None
    weights = f"{tokenizer.name} {tokenizer.weights_sha256[:16]}"
    return f"vtok {vtok.version.__version__}, {weights}, {threads} threads"


def code(
    codec: str, setting: float, reference: Path, folder: Path, *, tokenizer: VideoTokenizer | None, threads: int
) -> Coding:
    """Encode the reference into `folder` and decode the result; `setting` is a quality of vtok, else a crf."""
    if codec == VTOK:
        return code_with_vtok(setting, reference, folder, tokenizer=tokenizer)
    family, _, preset = codec.partition("-")
    return code_with_ffmpeg(family, preset, setting, reference, folder, threads=threads)


def code_with_ffmpeg(family: str, preset: str, crf: float, reference: Path, folder: Path, *, threads: int) -> Coding:
    """Encode with one of `FAMILIES` to MP4 and decode the result.

    The headline is the raw stream: all packets and the parameter sets, without MP4's index and without the text of
    some 700 bytes in which encoders note their settings. At the lowest rates that text would be several per cent.
    """
    encoded, kind = folder / f"{family}.mp4", FAMILIES[family]
    options = {"preset": preset, "crf": f"{crf:g}", **kind.options(threads)}
    start = perf_counter()
    with (
        VideoReader(reference) as reader,
        VideoWriter(encoded, reader.info, codec=kind.encoder, options=options) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    encode_seconds = perf_counter() - start
    start = perf_counter()
    with VideoReader(encoded) as reader:
        deque(reader, maxlen=0)
    decode_seconds = perf_counter() - start
    return Coding(
        decoded=encoded,
        num_bytes=kind.stream_bytes(encoded),
        num_file_bytes=encoded.stat().st_size,
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
    )


def code_with_vtok(
    quality: float, reference: Path, folder: Path, *, tokenizer: VideoTokenizer | None, effort: str = "normal"
) -> Coding:
    """Encode to `.vtok`, all of whose bytes count, and decode to a lossless file; writing it counts in the time."""
    encoded, decoded = folder / "clip.vtok", folder / "vtok.mkv"
    start = perf_counter()
    encode_file(reference, encoded, quality=quality, effort=effort, tokenizer=tokenizer, overwrite=True)
    encode_seconds = perf_counter() - start
    start = perf_counter()
    decode_file(encoded, decoded, codec="ffv1", tokenizer=tokenizer, overwrite=True)
    decode_seconds = perf_counter() - start
    num_bytes = encoded.stat().st_size
    return Coding(
        decoded=decoded,
        num_bytes=num_bytes,
        num_file_bytes=num_bytes,
        encode_seconds=encode_seconds,
        decode_seconds=decode_seconds,
    )


def h264_stream_bytes(path: Path) -> int:
    """Bytes of the H.264 stream in an MP4 file: packets and parameter sets, without a leading text of the encoder."""
    first, num_packet_bytes, num_header_bytes = _stream_parts(path)
    num_text_bytes = 4 + int.from_bytes(first[:4]) if first[4] & 31 == _H264_SEI else 0
    return num_header_bytes + num_packet_bytes - num_text_bytes


def hevc_stream_bytes(path: Path) -> int:
    """Bytes of the H.265 stream in an MP4 file: packets and parameter sets. The encoder is asked to write no text."""
    _, num_packet_bytes, num_header_bytes = _stream_parts(path)
    return num_header_bytes + num_packet_bytes


def av1_stream_bytes(path: Path) -> int:
    """Bytes of the AV1 stream in an MP4 file: all packets. MP4 only repeats the sequence header of the first one."""
    return _stream_parts(path)[1]


def _stream_parts(path: Path) -> tuple[bytes, int, int]:
    """The first packet, the number of bytes of all packets, and that of the header that MP4 keeps apart."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        return packets[0], sum(map(len, packets)), len(stream.codec_context.extradata or b"")


FAMILIES = {
    # PyAV asks for slice threads by default. They cut each picture into slices, which costs bits and differs from what
    # users of x264 have.
    "x264": Family(
        encoder="libx264",
        presets=X26_PRESETS,
        highest_crf=51,
        options=lambda threads: {"threads": str(threads), "thread_type": "frame"},
        stream_bytes=h264_stream_bytes,
    ),
    # These parameters replace those that `vtok decode` gives x265, such as the one that turns off B-frames.
    "x265": Family(
        encoder="libx265",
        presets=X26_PRESETS,
        highest_crf=51,
        options=lambda threads: {"x265-params": f"log-level=none:info=0:pools={threads}:frame-threads={threads}"},
        stream_bytes=hevc_stream_bytes,
    ),
    "svtav1": Family(
        encoder="libsvtav1",
        presets=tuple(map(str, range(14))),
        highest_crf=63,
        options=lambda threads: {"svtav1-params": f"lp={threads}"},
        stream_bytes=av1_stream_bytes,
    ),
}
"""The codecs to compare with, by their names on the command line."""
