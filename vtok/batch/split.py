"""A long video encoded in ranges, anywhere and at the same time, and joined to the file that one encoder would write.

    source --> scan --[ranges]--> encode_range, many at a time --[groups, in order]--> join --> .vtok
                |                                                                       ^
                +----------------------[sound, tags, last frame]------------------------+

The scan decodes the whole video, runs no network, and goes ahead of the ranges by as many as may be in flight, so
memory stays constant. As it is the reading half of `encode_file`, header, sound, notices and times are its.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from vtok.batch.ranges import ChunkMark, SourceRange, chunks_before, mark_of
from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.codec.file_model import new_header
from vtok.codec.group_encoder import chunks_per_group
from vtok.codec.sound_queue import SoundQueue
from vtok.codec.source import SourceChunk, SourcePart
from vtok.container.groups import VideoGroup
from vtok.container.writer import ContainerWriter
from vtok.errors import MediaError
from vtok.files.encode import EncodeResult, check_written, encode_result
from vtok.media.reader import VideoReader
from vtok.model.tokenizer import VideoTokenizer
from vtok.system.atomic import open_atomically
from vtok.system.paths import StrPath
from vtok.system.pipeline import DEPTH, ahead
from vtok.video.frame import VideoInfo
from vtok.video.times import played_seconds

Submit = Callable[[SourceRange], Future[list[VideoGroup]]]
Advance = Callable[[int], None]


@dataclass(slots=True)
class _Scanned:
    """A range, and the chunks of sound that come before each of its groups."""

    part: SourceRange
    audio: list[list[bytes]]


@dataclass(slots=True)
class _Pending:
    """A range that is being encoded somewhere."""

    groups: Future[list[VideoGroup]]
    scanned: _Scanned = field(repr=False)


def is_long(info: VideoInfo, split_seconds: float) -> bool:
    """Whether a video is worth splitting into ranges of `split_seconds` (0: none is), by what its header says."""
    return 0 < 1.5 * split_seconds < (info.duration_seconds_from_header or 0)


def encode_split(
    source: StrPath,
    target: StrPath,
    submit: Submit,
    *,
    tokenizer: VideoTokenizer,
    quality: float,
    split_seconds: float,
    max_in_flight: int,
    keyframe_seconds: float = 4.0,
    allow_hdr: bool = False,
    with_audio: bool = True,
    verify: bool = False,
    advance: Advance = lambda frames: None,
) -> EncodeResult:
    """Compress a video by way of its ranges; the file is, byte for byte, the one that `encode_file` writes.

    Args:
        source: A video file, not a sequence of images.
        target: The file to write or to replace.
        submit: Has a range encoded by `encode_range` with the same settings, somewhere.
        tokenizer: As for `encode_file`, and so the rest that is not said here.
        quality: See above.
        split_seconds: About the length of a range; it ends where a group does.
        max_in_flight: How many ranges may be submitted and not yet written.
        keyframe_seconds: See above.
        allow_hdr: See above.
        with_audio: See above.
        verify: Check the written file; the groups are for `submit` to verify.
        advance: Told how many more frames are written.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is as it was.
    """
    sound = SoundQueue() if with_audio else None
    with (
        VideoReader(source, allow_hdr=allow_hdr, sound=sound) as reader,
        open_atomically(target) as file,
    ):
        part = SourcePart(reader, sound)
        group_chunks = chunks_per_group(part.info, keyframe_seconds)
        writer = ContainerWriter(file, new_header(tokenizer, part.info, quality, part.extras))
        chunks = part.chunks(group_chunks)
        groups_per_range = max(1, round(split_seconds / keyframe_seconds))
        ranges = _ranges(chunks, group_chunks, groups_per_range, chunks_before(tokenizer))
        pending: deque[_Pending] = deque()
        first_pts = last_pts = None
        try:
            with ahead(ranges, depth=DEPTH) as scanned_ranges:
                for scanned in scanned_ranges:
                    marks = scanned.part.marks
                    first_pts = marks[0].pts[0] if first_pts is None else first_pts
                    last_pts = marks[-1].pts[-1]
                    pending.append(_Pending(submit(scanned.part), scanned))
                    while len(pending) >= max_in_flight or (pending and pending[0].groups.done()):
                        _join(writer, pending.popleft(), advance)
            while pending:
                _join(writer, pending.popleft(), advance)
        finally:
            for each in pending:
                each.groups.cancel()
        writer.write_audio(part.rest_of_sound())
        writer.finish(last_frame_ticks=part.last_frame_ticks)
        if first_pts is None or last_pts is None:
            raise MediaError(f"{source}: no frame could be decoded")
    if verify:
        check_written(Path(target))
    seconds = played_seconds(part.info, first_pts, last_pts, part.last_frame_ticks)
    return encode_result(source, target, writer, reader, seconds)


def _ranges(
    chunks: Iterator[SourceChunk], group_chunks: int, groups_per_range: int, num_before: int
) -> Iterator[_Scanned]:
    """The ranges of a video, as they are scanned."""
    marks: list[ChunkMark] = []
    before: list[ChunkMark] = []  # the last chunks of the ranges so far
    audio: list[list[bytes]] = [[]]
    first_chunk = 0

    def scanned() -> _Scanned:
        return _Scanned(SourceRange(first_chunk - len(before), len(before), group_chunks, (*before, *marks)), audio)

    for chunk in chunks:
        marks.append(mark_of(chunk.frames))
        audio[-1] += chunk.audio
        if chunk.ends_group and len(audio) == groups_per_range and len(chunk.frames) == FRAMES_PER_CHUNK:
            yield scanned()
            first_chunk += len(marks)
            before = [*before, *marks][-num_before:] if num_before else []
            marks, audio = [], [[]]
        elif chunk.ends_group:
            audio.append([])
    if marks:
        yield scanned()


def _join(writer: ContainerWriter, pending: _Pending, advance: Advance) -> None:
    """Write the groups of a range, each behind its sound, when they are there."""
    groups = pending.groups.result()
    for group, audio in zip(groups, pending.scanned.audio, strict=False):  # after the last group, no sound is there yet
        writer.write_audio(audio)
        writer.write_group(group)
    advance(pending.scanned.part.num_frames)
