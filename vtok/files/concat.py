"""Joins `.vtok` files without decoding: groups of codes are copied unchanged. Nothing here needs torch."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import reduce
from itertools import chain
from typing import Any

from vtok.codec.file_index import FileIndex
from vtok.container.reader import ContainerReader, FileHeader, VideoGroup
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
from vtok.video.times import Span
from vtok.video.tracks import AudioTrack, Track

# Files to be joined may differ in these fields. The tags of the first file count; times are converted.
_MAY_DIFFER = ("tags", "writer", "time_base", "average_rate", "audio", "subtitles", "chapters")
_TRACKS_MAY_DIFFER: dict[str, Any] = {"tags": {}, "bit_rate": 0, "disposition": ()}


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
    check_target(target, sources, overwrite=overwrite)
    require_vtok(target)
    headers = []
    for source in sources:
        with hint_at_recovery(ChecksumError, TruncatedError), ByteSource(source).opened() as file:
            headers.append(ContainerReader(file).header)
        _require_same(sources[0], headers[0], source, headers[-1])
        if with_audio:
            _require_same_tracks("audio", sources[0], headers[0].audio, source, headers[-1].audio)
        if with_subtitles:
            _require_same_tracks("subtitles", sources[0], headers[0].subtitles, source, headers[-1].subtitles)
    with hint_at_recovery(FormatError):
        return write_edited(sources, target, _whole(sources, headers, with_audio, with_subtitles), overwrite=overwrite)


def _whole(
    sources: Sequence[StrPath], headers: Sequence[FileHeader], with_audio: bool, with_subtitles: bool
) -> EditedPart:
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
    return EditedPart(header, _joined(places, header), shown[-1] if shown else 0)


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


def _joined(places: Sequence[_Place], header: FileHeader) -> Iterator[Item]:
    """Yield the groups of all files, and the packets for which `header` has tracks."""
    first_frame = 0
    for place in places:
        shift = place.ticks * header.time_base
        with ByteSource(place.source).opened() as file:
            reader = ContainerReader(file)
            for item in reader.items():
                if isinstance(item, VideoGroup):
                    yield moved_group(item, first_frame, place.ticks, scale=place.scale)
                    first_frame += item.num_frames
                    continue
                for packet in packets_of(item.packets, reader.header, header):
                    if place.span.has(packet.seconds(header.tracks)):
                        yield packet.moved(shift, header.tracks)


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
