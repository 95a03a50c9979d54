"""Finds damage that FFmpeg reports as no error, from its log and from sizes, end marks and durations of files."""

import re
import threading
from fractions import Fraction
from pathlib import Path

import av.logging
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vtok.video.times import DEFAULT_RATE

LOG_DAMAGE = ("ffv1", "gif", "mjpeg")  # decoders that conceal damage and mention it only in FFmpeg's log
_LOG = threading.Lock()  # the level of FFmpeg's log is that of the whole process
_PACKET_SIZES = (188, 192, 204)  # of MPEG-TS: plain, with a time code (.m2ts), with error correction
_TAIL_BYTES = 1 << 16  # more than the largest page of Ogg
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_PACK, _PROGRAM_END = b"\0\0\1\xba", b"\0\0\1\xb9"
_MXF_PARTITION = bytes.fromhex("060e2b34020501010d010201010204")[:14]
_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def decode_packet(stream: VideoStream, packet: "Packet[VideoStream] | None") -> tuple[list[VideoFrame], int]:
    """Decode a packet; return its frames, and the number of those that are damaged according to FFmpeg's log.

    Some decoders conceal damage and report it only in that log. It is on during this call only, and what other threads
    log meanwhile is of other files.

    Raises:
        av.error.FFmpegError: The packet cannot be decoded.
    """
    assert stream.codec_context is not None
    if stream.codec_context.name not in LOG_DAMAGE:
        return stream.decode(packet), 0
    with _LOG, av.logging.Capture(local=False), av.logging.Capture() as errors:
        level, skips_repeated = av.logging.get_level(), av.logging.get_skip_repeated()
        av.logging.set_level(av.logging.ERROR)
        av.logging.set_skip_repeated(False)
        try:
            frames = stream.decode(packet)
        finally:
            av.logging.set_level(level)
            av.logging.set_skip_repeated(skips_repeated)
    return frames, max(1, len(frames)) if errors else 0


def missing_end(path: Path, format_name: str, first_packet_bytes: int) -> str | None:
    """The reason why a file must have lost its end, or None; `format_name` is that of FFmpeg's demuxer."""
    if not path.is_file():
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    declared = None
    if "matroska" in format_name:
        declared = _matroska_bytes(head)
    elif format_name == "avi" and head[:4] == b"RIFF":
        declared = 8 + int.from_bytes(head[4:8], "little")
    elif format_name == "asf":
        declared = _asf_bytes(head)
    if declared is not None and declared > size:
        return f"{declared - size} bytes are missing"
    if format_name == "ogg" and not _ends_ogg(tail):
        return "the last page of its stream is missing"
    if format_name == "mpegts" and all(size % packet for packet in _PACKET_SIZES):
        return "the last transport packet is incomplete"
    if format_name == "gif" and not tail.rstrip(b"\0").endswith(b";"):
        return "the end mark is missing"
    if format_name == "mpeg" and _ends_in_packet(tail):
        return "the last packet is incomplete"
    if format_name == "mxf" and (footer := _mxf_footer(head)) is not None and footer + len(_MXF_PARTITION) > size:
        return "its footer is missing"
    if format_name == "dv" and first_packet_bytes and size % first_packet_bytes:
        return "the last frame is incomplete"
    if format_name == "yuv4mpegpipe":
        line = head.find(b"\n") + 1
        if head[line : line + 6] == b"FRAME\n" and (size - line) % (6 + first_packet_bytes):
            return "the last frame is incomplete"
    return None


def undecodable(path: Path) -> str | None:
    """The reason why FFmpeg decodes nothing of a file, if it shows in the first bytes; else None."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(64)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and b"ANIM" in head:
        return "it is an animated WebP, which this build of FFmpeg does not decode"
    return None


def missing_seconds(declared: str | None, seconds: Fraction, rate: Fraction | None) -> str | None:
    """The reason why a track must have lost frames, by the duration in Matroska's statistics tags, or None.

    Args:
        declared: The statistics tag with the duration, such as 00:00:02.400000000; None if there is none.
        seconds: The end of the last frame that was read.
        rate: Frames per second.
    """
    match = _DURATION.fullmatch(declared or "")
    if match is None:
        return None
    hours, minutes, rest = match.groups()
    missing = 3600 * int(hours) + 60 * int(minutes) + Fraction(rest) - seconds
    if missing < 2 / (rate or DEFAULT_RATE):  # less comes from rounding and from how the last frame is counted
        return None
    return f"its last {float(missing):.2f} s are missing"


def _matroska_bytes(head: bytes) -> int | None:
    """The file size that the Matroska segment declares (RFC 9559, RFC 8794), or None if it declares none."""

    def sized_element(start: int) -> tuple[int, int | None]:
        """The start of the content of the element with a 4-byte id at `start`, and its size; None if unknown."""
        num_bytes = 9 - head[start + 4].bit_length()
        size = int.from_bytes(head[start + 4 : start + 4 + num_bytes]) & ((1 << 7 * num_bytes) - 1)
        return start + 4 + num_bytes, None if size == (1 << 7 * num_bytes) - 1 else size

    try:
        header, header_size = sized_element(0)
        segment, segment_size = sized_element(header + (header_size or 0))
    except IndexError:
        return None
    return None if segment_size is None else segment + segment_size


def _asf_bytes(head: bytes) -> int | None:
    """The file size that an ASF header declares, or None; a broadcast declares none."""
    start = head.find(_ASF_FILE_PROPERTIES)
    properties = head[start : start + 104]
    if start < 0 or len(properties) < 104 or properties[88] & 1:
        return None
    return int.from_bytes(properties[40:48], "little")


def _ends_ogg(tail: bytes) -> bool:
    """Whether an Ogg file ends with a whole page that ends its stream (RFC 3533), by its last 64 KiB."""
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    num_bytes = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return bool(page[5] & 4) and num_bytes <= len(page)


def _ends_in_packet(tail: bytes) -> bool:
    """Whether a program stream (ISO 11172-1, 13818-1) ends before the end of a packet, by its last 64 KiB."""
    place = tail.rfind(_PACK)
    if place < 0:
        return False
    stuffing = tail[place + 13 : place + 14]
    if place + 4 < len(tail) and tail[place + 4] >> 6 == 1:  # as MPEG-2 has it
        place += 14 + (stuffing[0] & 7 if stuffing else 0)
    else:
        place += 12
    while place < len(tail):
        head = tail[place : place + 6]
        if head[:4] == _PROGRAM_END or not any(head):  # the end code, or zeros that fill up a sector
            return False
        if not head.startswith(b"\0\0\1") and len(head) > 2:
            return False  # no packet, so nothing is known
        place += 6 + int.from_bytes(head[4:6])
    return place > len(tail)


def _mxf_footer(head: bytes) -> int | None:
    """Where an MXF file (SMPTE 377-1) says that its footer begins, or None if it does not say."""
    place = head.find(_MXF_PARTITION)
    if place < 0:
        return None
    place += 16
    num_bytes = 1 + (head[place] & 0x7F if head[place] & 0x80 else 0)  # of the length
    fields = head[place + num_bytes : place + num_bytes + 32]
    return int.from_bytes(fields[24:32]) or None
