"""Finds parts of a file that FFmpeg passes over without a word: a second video that was appended to the first."""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_FLV_HEAD = b"\0\0\0\x09\0\0\0\0"  # of every FLV file, after "FLV", version and flags
_ASF_HEAD = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_SYNC = 0x47
_TS_BYTES = 188
_PACKET_SIZES = (188, 192, 204)  # plain, with a time code (.m2ts), with error correction
_LONGEST_RUN = 100  # pictures of one programme that may come without any of another one
_SHORTEST_PART = 3  # pictures; fewer may be a still of another programme
_STEP = 1 << 14  # packets, or bytes to look for one


def unread_part(path: Path, format_name: str, track: int) -> str | None:
    """What FFmpeg leaves of a file, in words; None if it reads everything, as far as is known here.

    MP4, MOV, FLV and ASF files that others are appended to are read up to the end of the first one. Of transport
    streams, a track that has another identifier in the second part is another track.

    Args:
        path: The file.
        format_name: Name of FFmpeg's demuxer.
        track: Identifier of the track of video that is read.
    """
    if not path.is_file():
        return None
    if format_name == "mpegts":
        return _later_video(path, track)
    start = None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if "mp4" in format_name:
            start = _second_movie(data)
        elif format_name == "flv":
            start = _second_flv(data)
        elif format_name == "asf":
            start = _second_asf(data)
    return None if start is None else f"another video, appended to it, begins at byte offset {start}"


def _boxes(data: mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """Type, begin and end of each box of an MP4 file; stops at what is none."""
    begin = 0
    while begin + 16 <= len(data):
        size, kind = int.from_bytes(data[begin : begin + 4]), data[begin + 4 : begin + 8]
        if size == 1:
            size = int.from_bytes(data[begin + 8 : begin + 16])
        end = begin + size if size else len(data)
        if end < begin + 8:
            return
        yield kind, begin, end
        begin = end


def _second_movie(data: mmap.mmap) -> int | None:
    """Where a second movie begins. The index of a fragmented one may be repeated, for it only describes tracks."""
    num_movies = start = 0
    for kind, begin, end in _boxes(data):
        if kind == b"ftyp":
            start = begin
        if kind == b"moov" and data.find(b"mvex", begin, min(end, len(data))) < 0:
            num_movies += 1
            if num_movies > 1:
                return start or begin
    return None


def _second_flv(data: mmap.mmap) -> int | None:
    begin = data.find(b"FLV\x01", 1)
    while begin >= 0:
        if data[begin + 5 : begin + 13] == _FLV_HEAD:
            return begin
        begin = data.find(b"FLV\x01", begin + 1)
    return None


def _second_asf(data: mmap.mmap) -> int | None:
    begin = data.find(_ASF_HEAD, 1)
    return begin if begin > 0 and data.find(_ASF_DATA, begin) > 0 else None


def _later_video(path: Path, track: int) -> str | None:
    """Whether another track of a transport stream has its pictures where the one that is read has none.

    A track whose pictures come among the others is of another programme, and no part of this video.
    """
    found = list(_pictures(path))
    if not found:
        return None
    identifiers, offsets = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    ours = offsets[identifiers == track]
    num_apart, begin = 0, len(offsets)
    for other in set(identifiers.tolist()) - {track}:
        theirs = offsets[identifiers == other]
        runs = np.searchsorted(ours, theirs)  # pictures with no picture of ours between them have one number
        for run, num_pictures in zip(*np.unique(runs, return_counts=True), strict=True):
            is_before_or_after = run in (0, len(ours)) and num_pictures == len(theirs) >= _SHORTEST_PART
            if num_pictures > _LONGEST_RUN or is_before_or_after:
                begin = min(begin, int(np.searchsorted(offsets, theirs[np.searchsorted(runs, run)])))
                num_apart += int(num_pictures)
    if not num_apart:
        return None
    return f"{num_apart} pictures from byte offset {offsets[begin]} on are of a part that has other identifiers (PIDs)"


def _pictures(path: Path) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """The track and the byte offset of each packet of a transport stream with which a picture begins (ISO 13818-1)."""
    with path.open("rb") as file:
        begin = 0
        while (found := _packet_size(file, begin)) is not None:
            begin, size = found
            file.seek(begin)
            data = np.frombuffer(file.read(_STEP * size), np.uint8)
            packets = data[: len(data) // size * size].reshape(-1, size)
            if (lost := np.flatnonzero(packets[:, 0] != _SYNC)).size:
                packets = packets[: lost[0]]
            flags = packets[:, 3]
            content = np.where(flags & 0x20, 5 + packets[:, 4].astype(np.int64), 4)  # after an adaptation field
            starts = np.flatnonzero((packets[:, 1] & 0x40 > 0) & (flags & 0x10 > 0) & (content + 4 <= _TS_BYTES))
            heads = packets[starts[:, None], content[starts, None] + np.arange(4)]
            is_video = (heads[:, :3] == (0, 0, 1)).all(axis=1) & ((heads[:, 3] & 0xF0 == 0xE0) | (heads[:, 3] == 0xFD))
            starts = starts[is_video]
            yield (packets[starts, 1] & 0x1F).astype(np.int64) << 8 | packets[starts, 2], begin + size * starts
            begin += size * len(packets) + (1 if lost.size else 0)


def _packet_size(file: BinaryIO, begin: int) -> tuple[int, int] | None:
    """Where the next packets of a transport stream begin, at `begin` or later, and their size; None at the end."""
    file.seek(begin)
    while len(data := file.read(_STEP)) > _TS_BYTES:
        place = data.find(_SYNC)
        while 0 <= place < len(data) - 2 * max(_PACKET_SIZES):
            for size in _PACKET_SIZES:
                if data[place + size] == data[place + 2 * size] == _SYNC:
                    return begin + place, size
            place = data.find(_SYNC, place + 1)
        begin += max(1, len(data) - 2 * max(_PACKET_SIZES))
        if len(data) < _STEP:
            break
        file.seek(begin)
    return None
