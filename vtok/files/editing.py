"""Cut and join `.vtok` files without decoding: groups of codes are copied unchanged. Nothing here needs torch.

Each chunk that is copied is checked by its CRC. The CRC of the decoded codes is copied too, and checked when they are
decoded: that needs the model.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import reduce
from heapq import merge
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

from vtok.codec.file_index import FileIndex
from vtok.container.packets import PacketChunks
from vtok.container.reader import ContainerReader, FileHeader, VideoGroup
from vtok.container.writer import ContainerWriter
from vtok.errors import ChecksumError, ConfigError, FormatError, LimitError, TruncatedError, UnsupportedVersionError
from vtok.system.atomic import check_target, open_atomically
from vtok.system.paths import StrPath, is_vtok
from vtok.system.sources import ByteSource
from vtok.video.chapters import shifted_chapters
from vtok.video.times import Span, exact_seconds
from vtok.video.tracks import AudioTrack, Track, TrackPacket, chosen_packets

# Files to be joined may differ in these fields. The tags of the first file count; times are converted.
_MAY_DIFFER = ("tags", "writer", "time_base", "average_rate", "audio", "subtitles", "chapters")
_TRACKS_MAY_DIFFER: dict[str, Any] = {"tags": {}, "bit_rate": 0, "disposition": ()}
_Item: TypeAlias = VideoGroup | TrackPacket


@dataclass(frozen=True, slots=True, kw_only=True)
class EditResult:
    """Result of `cut_file` and `concat_files`.

    Attributes:
        sources: The files that were read.
        target: The file that was written.
        num_frames: Number of frames in the target.
        num_groups: Number of groups in the target.
        num_bytes: Size of the target.
        start_seconds: Start of the cut in the source; 0 for joined files.
        duration_seconds: Time from the target's first timestamp to the end of its last frame.
    """

    sources: list[str]
    target: str
    num_frames: int
    num_groups: int
    num_bytes: int
    start_seconds: float
    duration_seconds: float

    def summary(self) -> str:
        """One line for people."""
        start = f" from {self.start_seconds:.3f} s on" if self.start_seconds else ""
        return f"{self.target}: {self.num_frames} frames{start}, {self.duration_seconds:.3f} s, {self.num_bytes} bytes"


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
    _check(target, [source], overwrite)
    with ByteSource(source).held() as held, _hint_at_recovery(ChecksumError, TruncatedError):
        index = FileIndex(held)
        with _hint_at_recovery(FormatError):
            part = _part_of(index, exact_seconds(start_seconds), end_seconds, with_audio, with_subtitles)
            return _write([source], target, part, overwrite=overwrite)


def concat_files(
    sources: Sequence[StrPath],
    target: StrPath,
    *,
    with_audio: bool = True,
    with_subtitles: bool = True,
    overwrite: bool = False,
) -> EditResult:
    """Join files of one model and size, one after the other; their codes do not change.

    Each file begins when the last frame of the previous one ends; sound and subtitles beyond these limits are left
    out. Tags and the descriptions of the tracks come from the first file.

    Args:
        sources: `.vtok` files, at least one.
        target: The `.vtok` file to write.
        with_audio: Also copy the audio tracks, which must agree.
        with_subtitles: Also copy the tracks of subtitles, which must agree.
        overwrite: Replace an existing target.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is unchanged.
    """
    if not sources:
        raise ConfigError("no files to join: name at least one")
    _check(target, sources, overwrite)
    headers = []
    for source in sources:
        with _hint_at_recovery(ChecksumError, TruncatedError), ByteSource(source).opened() as file:
            headers.append(ContainerReader(file).header)
        _require_same(sources[0], headers[0], source, headers[-1])
        if with_audio:
            _require_same_tracks("audio", sources[0], headers[0].audio, source, headers[-1].audio)
        if with_subtitles:
            _require_same_tracks("subtitles", sources[0], headers[0].subtitles, source, headers[-1].subtitles)
    with _hint_at_recovery(FormatError):
        return _write(sources, target, _whole(sources, headers, with_audio, with_subtitles), overwrite=overwrite)


@dataclass(frozen=True, slots=True)
class _Part:
    """What is to be written.

    Attributes:
        header: The header of the new file.
        items: Its groups and packets, in order.
        last_frame_ticks: Duration of its last frame, in units of its time base; 0 if unknown.
        start_seconds: Time at which it begins in its source.
    """

    header: FileHeader
    items: Iterable[_Item]
    last_frame_ticks: int
    start_seconds: float = 0


def _part_of(
    index: FileIndex,
    start_seconds: Fraction,
    end_seconds: Fraction | float | None,
    with_audio: bool,
    with_subtitles: bool,
) -> _Part:
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
        _moved(index.read_group(location), location.first_frame - first_frame, shift)
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
    packets = _chosen(
        index.packets(span, range(first_frame, locations[end - 1].end_frame)) if header.tracks else (),
        index.header,
        header,
    )
    return _Part(header, _cut(header, groups, packets, seconds), last_ticks, float(-seconds))


def _whole(sources: Sequence[StrPath], headers: Sequence[FileHeader], with_audio: bool, with_subtitles: bool) -> _Part:
    """All of several files, as `concat_files` explains it.

    Raises:
        FormatError: One of them is damaged.
    """
    rates = {header.average_rate for header in headers}
    time_base = _common_time_base([header.time_base for header in headers])
    places = _places(sources, time_base)
    chapters = [
        shifted_chapters(header.chapters, place.span.begin, place.span.end, place.ticks * time_base)
        for header, place in zip(headers, places, strict=True)
    ]
    header = replace(
        headers[0],
        time_base=time_base,
        average_rate=rates.pop() if len(rates) == 1 else None,
        audio=headers[0].audio if with_audio else (),
        subtitles=headers[0].subtitles if with_subtitles else (),
        chapters=tuple(chain.from_iterable(chapters)),
    )
    shown = [place.last_frame_ticks for place in places if place.last_frame_ticks]
    return _Part(header, _joined(places, header), shown[-1] if shown else 0)


def _check(target: StrPath, sources: Iterable[StrPath], overwrite: bool) -> None:
    check_target(target, sources, overwrite=overwrite)
    if not is_vtok(target):
        raise ConfigError(f"{target}: unknown suffix {Path(target).suffix!r}. The name of the output ends in .vtok")


@contextmanager
def _hint_at_recovery(*kinds: type[FormatError]) -> Iterator[None]:
    """Add to errors of these kinds, which mean damage, how to get what is intact."""
    try:
        yield
    except kinds as error:
        if isinstance(error, LimitError | UnsupportedVersionError) or "recover=True" in str(error):
            raise
        raise type(error)(f"{error}. What is intact can be decoded with recover=True") from error


def _write(sources: Sequence[StrPath], target: StrPath, part: _Part, *, overwrite: bool) -> EditResult:
    header = part.header
    pts: list[int] = []  # of the first and the last frame
    with open_atomically(target, overwrite=overwrite) as file:
        writer = ContainerWriter(file, header)
        waiting = PacketChunks(header.tracks, header.time_base)
        for item in part.items:
            if isinstance(item, TrackPacket):
                waiting.push(item)
            if waiting.is_due or isinstance(item, VideoGroup):
                writer.write_packets(waiting.take())
            if isinstance(item, VideoGroup):
                writer.write_group(item)
                pts = [*pts[:1], item.pts[0], item.pts[-1]]
        writer.write_packets(waiting.take())
        totals = writer.finish(last_frame_ticks=part.last_frame_ticks)
    return EditResult(
        sources=[str(source) for source in sources],
        target=str(target),
        num_frames=totals.num_frames,
        num_groups=totals.num_groups,
        num_bytes=writer.num_bytes,
        start_seconds=part.start_seconds,
        duration_seconds=float(header.seconds_shown(pts[0], pts[-1], part.last_frame_ticks)) if pts else 0.0,
    )


def _moved(group: VideoGroup, first_frame: int, ticks: int, *, scale: int = 1) -> VideoGroup:
    """The same codes, starting at frame `first_frame`, with timestamps times `scale` plus `ticks`."""
    pts = tuple(scale * value + ticks for value in group.pts)
    return replace(group, first_frame=first_frame, pts=pts)


def _cut(
    header: FileHeader, groups: Iterable[VideoGroup], packets: Iterable[TrackPacket], shift: Fraction
) -> Iterator[_Item]:
    """Yield the groups, each after the packets that begin in its time. Packets are moved by `shift`, as groups were."""
    moved = ((packet.seconds(header.tracks), packet) for packet in (p.moved(shift, header.tracks) for p in packets))
    ends = ((group.pts[-1] * header.time_base, group) for group in groups)
    timed: Iterable[tuple[Fraction, _Item]] = merge(moved, ends, key=itemgetter(0))
    return (item for _, item in timed)


@dataclass(frozen=True, slots=True)
class _Place:
    """Place of a file among the files that it is joined to."""

    source: StrPath
    scale: int  # new units of time in an old one
    ticks: int  # shift of the file; new units
    span: Span  # time range of the packets that are taken; old time
    last_frame_ticks: int  # duration of its last frame; new units


def _places(sources: Sequence[StrPath], time_base: Fraction) -> list[_Place]:
    """The place of each file, in units of `time_base`: it begins when the last frame of the previous one ends."""
    places: list[_Place] = []
    end = None  # timestamp of the next frame
    for number, source in enumerate(sources):
        index = FileIndex(ByteSource(source))
        if not index.locations:
            places.append(_Place(source, 1, 0, Span(Fraction(0), Fraction(0)), 0))
            continue
        header, shown, first, last = index.header, index.last_frame_ticks, index.first_pts, index.last_pts
        scale = int(header.time_base / time_base)
        rate = header.average_rate
        last_frame_ticks = scale * shown or max(1, round((1 / rate if rate else header.time_base) / time_base))
        ticks = end - scale * first if end is not None else 0
        begin_seconds = first * header.time_base if end is not None else None
        end_seconds = (scale * last + last_frame_ticks) * time_base if number + 1 < len(sources) else None
        places.append(_Place(source, scale, ticks, Span(begin_seconds, end_seconds), last_frame_ticks))
        end = scale * last + ticks + last_frame_ticks
    return places


def _joined(places: Sequence[_Place], header: FileHeader) -> Iterator[_Item]:
    """Yield the groups of all files, and the packets for which `header` has tracks."""
    first_frame = 0
    for place in places:
        shift = place.ticks * header.time_base
        with ByteSource(place.source).opened() as file:
            reader = ContainerReader(file)
            for item in reader.items():
                if isinstance(item, VideoGroup):
                    yield _moved(item, first_frame, place.ticks, scale=place.scale)
                    first_frame += item.num_frames
                    continue
                for packet in _chosen(item.packets, reader.header, header):
                    if place.span.has(packet.seconds(header.tracks)):
                        yield packet.moved(shift, header.tracks)


def _chosen(packets: Iterable[TrackPacket], source: FileHeader, target: FileHeader) -> Iterator[TrackPacket]:
    """Yield the packets of the kinds of tracks that the target has, as it numbers them."""
    num_audio = len(source.audio)
    return chosen_packets(packets, num_audio, with_audio=bool(target.audio), with_subtitles=bool(target.subtitles))


def _require_same(first: StrPath, expected: FileHeader, other: StrPath, header: FileHeader) -> None:
    for item in fields(FileHeader):
        a, b = getattr(expected, item.name), getattr(header, item.name)
        if item.name not in _MAY_DIFFER and a != b:
            raise ConfigError(f"{other}: has {item.name} {b}, and {first} has {a}. Only files that agree can be joined")


def _require_same_tracks(
    kind: str, first: StrPath, expected: Sequence[Track], other: StrPath, tracks: Sequence[Track]
) -> None:
    a, b = ([_comparable(track) for track in each] for each in (expected, tracks))
    if a != b:
        raise ConfigError(
            f"{other}: has the {kind} tracks {_described(tracks)}, and {first} has {_described(expected)}. "
            f"Only tracks that agree can be joined, unless with_{kind}=False leaves them out"
        )


def _comparable(track: Track) -> Track:
    names = {item.name for item in fields(track)}
    return replace(track, **{name: value for name, value in _TRACKS_MAY_DIFFER.items() if name in names})


def _described(tracks: Sequence[Track]) -> str:
    """Describe tracks in words; two that differ only in extradata read the same."""
    return ", ".join(f"{t.codec} {_form(t)}1/{1 / t.time_base}" for t in tracks) or "none"


def _form(track: Track) -> str:
    return f"{track.sample_rate} Hz {track.channel_layout} " if isinstance(track, AudioTrack) else ""


def _common_time_base(time_bases: Iterable[Fraction]) -> Fraction:
    """The longest unit of which all `time_bases` are multiples."""
    return reduce(
        lambda a, b: Fraction(
            math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator
        ),
        time_bases,
    )
