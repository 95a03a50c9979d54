"""A source video as the encoder takes it: eight frames at a time, with the sound that is due before them."""

from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.codec.source import SourcePart
from vtok.media import Frame, VideoReader


class SourceChunk(NamedTuple):
    """Up to eight frames on their way into a group, and the chunks of sound that come before the group's end."""

    frames: list[Frame]
    audio: list[bytes]
    ends_group: bool


def read_chunks(part: SourcePart, reader: VideoReader, chunks_per_group: int) -> Iterator[SourceChunk]:
    """Frames by eight; the last may be fewer. The sound that is due goes with them."""
    frames = iter(part)
    for number in count(1):
        chunk = list(islice(frames, FRAMES_PER_CHUNK))
        if not chunk:
            return
        ends_group = number % chunks_per_group == 0 or len(chunk) < FRAMES_PER_CHUNK
        is_due = ends_group or reader.audio.chunks.is_due
        yield SourceChunk(chunk, list(reader.audio.chunks.take()) if is_due else [], ends_group)
