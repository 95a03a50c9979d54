"""Cuts a part out of a `.vtok` file without decoding: its groups are copied unchanged. Nothing here needs torch."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from heapq import merge
from operator import itemgetter

from vtok.codec.file_index import FileIndex
from vtok.container.reader import FileHeader, VideoGroup
from vtok.errors import ChecksumError, ConfigError, FormatError, TruncatedError
from vtok.files.edited_file import (
    EditedPart,
    EditResult,
    Item,
    hint_at_recovery,
    moved_group,
    packets_of,
    write_edited,
)
from vtok.system.atomic import check_target
from vtok.system.paths import StrPath, require_vtok
from vtok.system.sources import ByteSource
from vtok.video.chapters import shifted_chapters
from vtok.video.times import Span, exact_seconds
from vtok.video.tracks import TrackPacket


def cut_file(
    source: StrPath,
    target: StrPath,
    *,
    start_seconds: Fraction | float = 0,
    end_seconds: Fraction | float | None = None,
    with_audio: bool = True,
    with_subtitles: bool = True,
    overwrite: bool = False,
) -> EditResult:
    """Copy the groups of frames that overlap a range of time; their codes do not change.

    The cut begins and ends at group boundaries, so it may be longer than requested by up to a group at each end. Its
    first timestamp is that of the source's first frame. Packets of sound and subtitles that begin
    within the cut are copied.

    Args:
        source: A `.vtok` file.
        target: The `.vtok` file to write.
        start_seconds: Start of the range, counted from the first frame.
        end_seconds: End of the range (exclusive), counted from the first frame; default: the end of the source.
        with_audio: Also copy the audio tracks.
        with_subtitles: Also copy the tracks of subtitles.
        overwrite: Replace an existing target.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is unchanged.
    """
    check_target(target, [source], overwrite=overwrite)
    require_vtok(target)
    with ByteSource(source).held() as held, hint_at_recovery(ChecksumError, TruncatedError):
        index = FileIndex(held)
        with hint_at_recovery(FormatError):
            part = _part_of(index, exact_seconds(start_seconds), end_seconds, with_audio, with_subtitles)
            return write_edited([source], target, part, overwrite=overwrite)


def _part_of(
    index: FileIndex,
    start_seconds: Fraction,
    end_seconds: Fraction | float | None,
    with_audio: bool,
    with_subtitles: bool,
) -> EditedPart:
    """The groups that overlap a range of time, as `cut_file` explains it.

    Raises:
        ConfigError: No frame begins in that range.
        FormatError: The part is damaged, or the file was cut off within it.
    """
    locations, time_base, first_pts = index.locations, index.header.time_base, index.first_pts
    starts = [index.first_pts_of(location) for location in locations]
    start = math.ceil(first_pts + start_seconds / time_base)
    begin = max(0, bisect_right(starts, start) - 1)
    end = len(starts)
    if end_seconds is not None:
        end = bisect_left(starts, math.ceil(first_pts + exact_seconds(end_seconds) / time_base))
    if end == len(starts) and not index.is_complete:  # what is lost may belong to the last group that is there
        latest = math.floor(1000 * (starts[-1] - first_pts) * time_base) / 1000 if starts else 0
        raise TruncatedError(
            f"{index.path}: the file was cut off: parts that end at {latest:g} s or earlier can be cut out of it"
        )
    last_pts = index.group_pts(locations[end - 1])[-1] if begin < end else start - 1
    if last_pts < start:
        raise ConfigError(f"{index.path}: no frame begins in that range")
    last_ticks = max(0, starts[end] - last_pts) if end < len(starts) else index.last_frame_ticks
    shift, first_frame = first_pts - starts[begin], locations[begin].first_frame
    groups = (
        moved_group(index.read_group(location), location.first_frame - first_frame, shift)
        for location in locations[begin:end]
    )
    span = Span(starts[begin] * time_base if begin else None, starts[end] * time_base if end < len(starts) else None)
    seconds = shift * time_base
    header = replace(
        index.header,
        audio=index.header.audio if with_audio else (),
        subtitles=index.header.subtitles if with_subtitles else (),
        chapters=shifted_chapters(index.header.chapters, span.begin, span.end, seconds),
    )
    packets = packets_of(
        index.packets(span, range(first_frame, locations[end - 1].end_frame)) if header.tracks else (),
        index.header,
        header,
    )
    return EditedPart(header, _cut(header, groups, packets, seconds), last_ticks, float(-seconds))


def _cut(
    header: FileHeader, groups: Iterable[VideoGroup], packets: Iterable[TrackPacket], shift: Fraction
) -> Iterator[Item]:
    """Yield the groups, each after the packets that begin in its time. Packets are moved by `shift`, as groups were."""
    moved = ((packet.seconds(header.tracks), packet) for packet in (p.moved(shift, header.tracks) for p in packets))
    ends = ((group.pts[-1] * header.time_base, group) for group in groups)
    timed: Iterable[tuple[Fraction, Item]] = merge(moved, ends, key=itemgetter(0))
    return (item for _, item in timed)
