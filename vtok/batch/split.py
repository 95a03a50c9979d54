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

from vtok.batch.ranges import ChunkMark, SourceRange, mark_of
from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.codec.group_encoder import chunks_per_group
from vtok.codec.source import SourceChunk, SourcePart
from vtok.container.groups import VideoGroup
from vtok.files.encode import Advance, EncodeResult, Items, write_encoded
from vtok.files.options import EncodeOptions
from vtok.model.pretrained_model import PretrainedModel
from vtok.system.paths import StrPath
from vtok.system.pipeline import DEPTH, ahead
from vtok.video.frame import VideoInfo

Submit = Callable[[SourceRange], Future[list[VideoGroup]]]


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
    options: EncodeOptions,
    *,
    model: PretrainedModel,
    split_seconds: float,
    max_in_flight: int,
    advance: Advance = lambda frames: None,
) -> EncodeResult:
    """Compress a video by way of its ranges; the file is, byte for byte, the one that `encode_file` writes.

    Args:
        source: A video file, not a sequence of images.
        target: The file to write or to replace.
        submit: Has a range encoded by `encode_range` with the same options and model, somewhere.
        options: How to encode; all of the video.
        model: What encodes it.
        split_seconds: About the length of a range; it ends where a group does.
        max_in_flight: How many ranges may be submitted and not yet written.
        advance: Told how many more frames are coded.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is as it was.
    """
    groups_per_range = max(1, round(split_seconds / options.keyframe_seconds))

    def coded(part: SourcePart, advance: Advance) -> Items:
        group_chunks = chunks_per_group(part.info, options.keyframe_seconds)
        num_before = model.networks.config.num_analysis_blocks  # the networks see so many chunks of the past
        ranges = _ranges(part.chunks(group_chunks), group_chunks, groups_per_range, num_before)
        pending: deque[_Pending] = deque()
        try:
            with ahead(ranges, depth=DEPTH) as scanned_ranges:
                for scanned in scanned_ranges:
                    pending.append(_Pending(submit(scanned.part), scanned))
                    while len(pending) >= max_in_flight or (pending and pending[0].groups.done()):
                        yield from _joined(pending.popleft(), advance)
            while pending:
                yield from _joined(pending.popleft(), advance)
        finally:
            for each in pending:
                each.groups.cancel()

    return write_encoded(options, source, target, coded, model=model, progress=lambda info: advance)


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


def _joined(pending: _Pending, advance: Advance) -> Items:
    """The groups of a range, each after its sound, when they are there."""
    groups = pending.groups.result()
    for group, audio in zip(groups, pending.scanned.audio, strict=False):  # after the last group, no sound is there yet
        yield audio
        yield group
    advance(pending.scanned.part.num_frames)
