"""Encodes a long video in ranges, on any workers in parallel, and joins them to the file that one encoder would write.

    source --> scan --[ranges]--> encode_range, many at a time --[groups, in order]--> join --> .vtok
                |                                                                       ^
                +----------------------[sound, tags, last frame]------------------------+

The scan decodes the whole video, finds its scene cuts, and runs no network. It is ahead by at most the number of ranges
that may be in flight, so memory is constant. It is the reading half of `encode_file` and provides header, sound,
notices and times.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from vtok.batch.ranges import ChunkMark, SourceRange, mark_of
from vtok.codec.source import SourceChunk, SourcePart
from vtok.container.groups import VideoGroup
from vtok.files.encoded_file import Advance, EncodeResult, Items, write_encoded
from vtok.files.options import EncodeOptions
from vtok.files.source import chunks_of
from vtok.model.pretrained_model import PretrainedModel
from vtok.system.paths import StrPath
from vtok.system.pipeline import DEPTH, ahead
from vtok.video.frame import VideoInfo
from vtok.video.times import DEFAULT_RATE

Submit = Callable[[SourceRange], Future[list[VideoGroup]]]


@dataclass(slots=True)
class _Scanned:
    """A range, and the chunks of sound that come before each of its groups."""

    part: SourceRange
    audio: list[list[bytes]]


@dataclass(slots=True)
class _Pending:
    """A range that is being encoded by a worker."""

    groups: Future[list[VideoGroup]]
    scanned: _Scanned = field(repr=False)


def is_long(info: VideoInfo, split_seconds: float) -> bool:
    """Whether a video is worth splitting into ranges of `split_seconds` (0: never), from the duration in its header."""
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
    """Compress a video range by range; the file is, byte for byte, the one that `encode_file` writes.

    Args:
        source: A video file, not a sequence of images.
        target: The file to write or to replace.
        submit: Submits a range to a worker that runs `encode_range` with the same options and model.
        options: The options of encoding; they must take the whole video.
        model: The model that encodes.
        split_seconds: Approximate length of a range; ranges end where groups do.
        max_in_flight: Maximum number of ranges that are submitted and not yet written.
        advance: Called with the number of frames coded since the last call.

    Raises:
        VtokError: Encoding failed, for any reason; nothing was written and an existing target is unchanged.
    """

    def coded(part: SourcePart, advance: Advance) -> Items:
        chunks = chunks_of(part, options)
        ranges = _ranges(chunks, split_seconds * float(part.info.average_rate or DEFAULT_RATE))
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

    return write_encoded(options, source, target, coded, model=model, progress=lambda info, activity="": advance)


def _ranges(chunks: Iterable[SourceChunk], wanted_frames: float) -> Iterator[_Scanned]:
    """Yield the ranges of a video as they are scanned; each but the last has `wanted_frames`, or a few more."""
    marks: list[ChunkMark] = []
    audio: list[list[bytes]] = []
    sound: list[bytes] = []
    first_frame = num_frames = 0
    for chunk in chunks:
        marks.append(mark_of(chunk))
        sound += chunk.audio
        num_frames += len(chunk.frames)
        if not chunk.ends_group:
            continue
        audio.append(sound)
        sound = []
        if num_frames >= wanted_frames:
            yield _Scanned(SourceRange(first_frame, tuple(marks)), audio)
            first_frame += num_frames
            num_frames, marks, audio = 0, [], []
    if marks:
        yield _Scanned(SourceRange(first_frame, tuple(marks)), audio)


def _joined(pending: _Pending, advance: Advance) -> Items:
    """Wait for the groups of a range, and yield each after its sound."""
    for audio, group in zip(pending.scanned.audio, pending.groups.result(), strict=True):
        yield audio
        yield group
    advance(pending.scanned.part.num_frames)
