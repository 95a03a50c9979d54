"""A second reader of `.vtok` files, written from docs/format.md alone in plain Python: an oracle for the first.

It imports nothing of vtok, is slow and short, and raises ValueError for whatever the specification forbids.
"""

import base64
import json
import math
import re
import struct
import zlib
from fractions import Fraction
from typing import NamedTuple

SIGNATURE = bytes.fromhex("89 56 54 4B 0D 0A 1A 0A")


class Chunk(NamedTuple):
    kind: str
    sequence: int
    offset: int
    flags: int
    payload: bytes


class Group(NamedTuple):
    sequence: int
    offset: int
    first_frame: int
    pts: list[int]
    num_latent_frames: int
    quality: float
    tokens_crc32: int
    coded: bytes


class Packet(NamedTuple):
    track: int
    pts: int
    dts: int
    duration: int
    data: bytes
    is_key: bool
    is_corrupt: bool
    side_data: list[tuple[str, bytes]]


class Parsed(NamedTuple):
    """What a file holds: as far as it could be read, with the reason for the end in `fault`."""

    header: dict
    groups: list[Group]
    packets: list[Packet]
    index: list[tuple[int, int, int, int]] | None
    totals: tuple[int, int, int] | None
    last_frame_ticks: int
    fault: str | None


def require(condition: bool, fault: str) -> None:
    if not condition:
        raise ValueError(fault)


def read(data: bytes) -> Parsed:
    """Parse a whole file; ValueError if not even its header can be read."""
    require(data[:8] == SIGNATURE, "signature")
    require(len(data) >= 16, "cut off in the versions")
    _, oldest_reader, crc = struct.unpack("<HHI", data[8:16])
    require(zlib.crc32(data[:12]) == crc, "CRC of the versions")
    require(oldest_reader <= 1, "newer version")
    chunks = read_chunks(data)
    head = next(chunks)
    require(head.kind == "HEAD", "first chunk")
    header = read_header(head.payload)
    groups, packets, index, totals, ticks = [], [], None, None, 0
    try:
        for chunk in chunks:
            require(totals is None, "data after the end")
            require(chunk.kind != "HEAD", "second header")
            if chunk.kind == "VGRP":
                group = read_group(chunk, header)
                require(group.first_frame == sum(len(g.pts) for g in groups), "first frame")
                groups.append(group)
            elif chunk.kind == "apkt":
                packets += read_packets(chunk.payload, len(header["audio"]) + len(header["subtitles"]))
            elif chunk.kind == "indx" and len(chunk.payload) % 24 == 0:
                index = list(struct.iter_unpack("<IQQI", chunk.payload))
            elif chunk.kind == "DONE":
                *sums, _ = struct.unpack_from("<QIQQ", chunk.payload)
                totals = tuple(sums)
                ticks = struct.unpack_from("<I", chunk.payload, 28)[0] if len(chunk.payload) >= 32 else 0
                counted = sum(len(g.pts) for g in groups), len(groups), sum(g.num_latent_frames for g in groups)
                require(totals == counted, "totals")
        require(totals is not None, "cut off: no end chunk")
    except (ValueError, struct.error) as error:
        return Parsed(header, groups, packets, index, None, 0, str(error))
    return Parsed(header, groups, packets, index, totals, ticks, None)


def read_chunks(data: bytes):
    """Chunks that are known, in order; ValueError at the first fault."""
    offset, sequence = 16, 0
    while offset < len(data):
        require(len(data) - offset >= 20, "cut off in a chunk header")
        kind, flags, number, length, crc = struct.unpack_from("<4sIIII", data, offset)
        require(zlib.crc32(data[offset : offset + 16]) == crc, "CRC of a chunk header")
        require(re.fullmatch(rb"[A-Za-z]{4}", kind) is not None, "chunk type")
        require(number == sequence, "sequence number")
        ancillary = 0x61 <= kind[0] <= 0x7A
        known = kind in (b"HEAD", b"VGRP", b"apkt", b"head", b"indx", b"DONE") and flags & 0xFFFF == 0
        require(known or ancillary, "unknown critical chunk")
        require(length <= (1048576 if kind == b"HEAD" else 67108864), "length of a chunk")
        end = offset + 20 + length
        require(len(data) >= end + 4, "cut off in a chunk")
        payload = data[offset + 20 : end]
        require(zlib.crc32(payload) == struct.unpack_from("<I", data, end)[0], "CRC of a payload")
        if known:
            yield Chunk(kind.decode(), sequence, offset, flags, payload)
        offset, sequence = end + 4, sequence + 1


def read_header(payload: bytes) -> dict:
    """The header's JSON with fractions as Fraction, checked."""

    def unique(pairs):
        require(len(dict(pairs)) == len(pairs), "key twice")
        return dict(pairs)

    def finite(text):
        require(math.isfinite(float(text)), "number that is not finite")
        return float(text)

    header = json.loads(payload.decode("utf-8"), object_pairs_hook=unique, parse_constant=finite, parse_float=finite)
    require(isinstance(header, dict), "object")
    name, color = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", (0, 255)
    for key, pattern in {
        "model_name": name, "model_sha256": r"[0-9a-f]{64}", "entropy_coder": name, "writer": r"[ -~]{1,100}",
    }.items():  # fmt: skip
        require(isinstance(header[key], str) and re.fullmatch(pattern, header[key]) is not None, key)
    for key, (low, high) in {
        "width": (1, 16384), "height": (1, 16384), "num_codebooks": (1, 4096), "frames_per_latent": (1, 256),
        "patch_size": (1, 256), "color_range": color, "color_matrix": color, "color_primaries": color,
        "color_transfer": color,
    }.items():  # fmt: skip
        require(type(header[key]) is int and low <= header[key] <= high, key)
    for key in ("time_base", "average_rate", "sample_aspect_ratio"):
        if not (key == "average_rate" and header[key] is None):
            numerator, denominator = header[key]
            require(all(type(n) is int and 1 <= n < 2**31 for n in (numerator, denominator)), key)
            header[key] = Fraction(numerator, denominator)
    require_tags(header)
    read_tracks_and_chapters(header)
    return header


def require_tags(described: dict) -> None:
    require(type(described["tags"]) is dict and all(isinstance(v, str) for v in described["tags"].values()), "tags")
    "".join([*described["tags"], *described["tags"].values()]).encode()  # no halves of surrogate pairs


def read_time_base(described: dict) -> None:
    numerator, denominator = described["time_base"]
    require(all(type(n) is int and 1 <= n < 2**31 for n in (numerator, denominator)), "time base")
    described["time_base"] = Fraction(numerator, denominator)


def read_tracks_and_chapters(header: dict) -> None:
    audio, subtitles, chapters = (header.setdefault(key, []) for key in ("audio", "subtitles", "chapters"))
    require(all(type(listed) is list for listed in (audio, subtitles, chapters)), "audio, subtitles and chapters")
    require(len(audio) <= 256 and len(subtitles) <= 256, "tracks")
    for track in [*audio, *subtitles]:
        require(type(track["disposition"]) is list, "disposition")
        for name in [track["codec"], *track["disposition"]]:
            require(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None, "name")
        track["extradata"] = base64.b64decode(track["extradata"].encode(), validate=True)
    for track in audio:
        require(re.fullmatch(r"[ -~]{1,100}", track["channel_layout"]) is not None, "channel layout")
        for key, low, high in ("sample_rate", 1, 2**31), ("bit_rate", 0, 2**53), ("codec_delay", 0, 2**31):
            require(type(track[key]) is int and low <= track[key] < high, key)
    for chapter in chapters:
        require(all(type(chapter[k]) is int and -(2**63) <= chapter[k] < 2**63 for k in ("start", "end")), "chapter")
    for described in [*audio, *subtitles, *chapters]:
        read_time_base(described)
        require_tags(described)


def read_packets(payload: bytes, num_tracks: int) -> list[Packet]:
    _, _, count, crc = struct.unpack_from("<qqII", payload)
    require(zlib.crc32(payload[:20]) == crc and count <= 16384, "CRC and packets of the sound")
    position, packets, expected = 24, [], {}

    def number() -> int:
        nonlocal position
        varint = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]", re.DOTALL).match(payload, position)
        require(varint is not None, "varint")
        position = varint.end()
        return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(varint[0]))

    def piece(size: int) -> bytes:
        nonlocal position
        require(position + size <= len(payload), "size of a packet")
        position += size
        return payload[position - size : position]

    while position < len(payload):
        track, flags = number(), number()
        require(track < num_tracks and flags < 16, "track and flags of a packet")
        pts, duration = expected.get(track, (0, 0))
        dts = pts
        if not flags & 8:
            pts += signed(number())
            dts = pts + signed(number())
            duration = number()
        require(all(-(2**63) <= time < 2**63 for time in (pts, dts, pts + duration)), "time of a packet")
        size = number()
        pieces = number() if flags & 4 else 0
        require(pieces <= 16 and (pieces > 0 or not flags & 4), "pieces of side data")
        side_data = [(piece(number()).decode("ascii"), piece(number())) for _ in range(pieces)]
        packets.append(Packet(track, pts, dts, duration, piece(size), bool(flags & 1), bool(flags & 2), side_data))
        expected[track] = pts + duration, duration
    require(len(packets) == count, "number of packets")
    return packets


def signed(zigzag: int) -> int:
    return -(zigzag + 1) // 2 if zigzag % 2 else zigzag // 2


def read_group(chunk: Chunk, header: dict) -> Group:
    payload = chunk.payload
    first_frame, frames, quality, *counts, first_pts, crc = struct.unpack_from("<QHHIIIqI", payload)
    latents, codes_crc, pts_length = counts
    require(zlib.crc32(payload[:32]) == crc, "CRC of a group")
    require(1 <= frames <= 256, "frames of a group")
    require(latents == -(-frames // header["frames_per_latent"]), "latent frames of a group")
    rows, columns = (-(-header[side] // header["patch_size"]) for side in ("height", "width"))
    require(latents * header["num_codebooks"] * rows * columns <= 2**29, "codes of a group")
    require(36 + pts_length <= len(payload), "length of the timestamps")
    pts = read_pts(payload[36 : 36 + pts_length], first_pts, frames)
    coded = payload[36 + pts_length :]
    return Group(chunk.sequence, chunk.offset, first_frame, pts, latents, quality / 256, codes_crc, coded)


def read_coded(coded: bytes) -> tuple[bytes, bytes]:
    """The motion and the codes in the bytes of the entropy coder prior-3."""
    require(len(coded) >= 4, "length of the motion")
    end = 4 + struct.unpack_from("<I", coded)[0]
    require(end <= len(coded), "length of the motion")
    return coded[4:end], coded[end:]


def read_pts(data: bytes, first_pts: int, num_frames: int) -> list[int]:
    varints = re.findall(rb"[\x80-\xff]*[\x00-\x7f]", data, re.DOTALL)
    require(b"".join(varints) == data and all(len(v) <= 10 for v in varints), "varint")
    numbers = [sum((byte & 0x7F) << 7 * place for place, byte in enumerate(varint)) for varint in varints]
    changes: list[int] = []
    while numbers:
        value = numbers.pop(0)
        if value:
            changes.append(signed(value))
        else:
            require(bool(numbers) and numbers[0] < num_frames, "run of timestamps")
            changes += [0] * (numbers.pop(0) + 1)
    require(len(changes) == num_frames - 1, "number of timestamps")
    pts, step = [first_pts], 0
    for change in changes:
        step += change
        pts.append(pts[-1] + step)
    require(all(-(2**63) <= value < 2**63 for value in pts), "timestamp of more than 64 bits")
    return pts
