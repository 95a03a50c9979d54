"""Cut and join `.vtok` files without decoding: groups of codes are copied as they are. Nothing here needs torch."""

import math
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import reduce
from pathlib import Path

from vtok.atomic import check_target, open_atomically
from vtok.container import ContainerReader, ContainerWriter, FileHeader, VideoGroup, opened
from vtok.errors import ConfigError
from vtok.timecode import exact_seconds

Path_ = str | os.PathLike[str]

# What may differ between files that are joined: the first one's tags count, times are converted.
_MAY_DIFFER = ("tags", "writer", "time_base", "average_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class EditResult:
    """What `cut_file` or `concat_files` did.

    Attributes:
        sources: The files that were read.
        target: The file that was written.
        num_frames: Frames in it.
        num_groups: Groups in it.
        num_bytes: Its size.
        start_seconds: Where in the source it begins; 0 for joined files.
        duration_seconds: From its first timestamp to the end of its last frame.
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
    source: Path_,
    target: Path_,
    *,
    start_seconds: Fraction | float = 0,
    end_seconds: Fraction | float | None = None,
    overwrite: bool = False,
) -> EditResult:
    """Copy the groups of frames in which a range of time lies; their codes stay as they are.

    The cut begins and ends where groups do, so it may be up to a group longer than asked for at both ends. Its first
    timestamp is that of the source's first frame. As the networks know nothing of what was before the cut, its first
    frames may differ a little from the same frames of the source.

    Args:
        source: A `.vtok` file.
        target: The `.vtok` file to write.
        start_seconds: Begin here, counted from the first frame.
        end_seconds: End before this; default: the end.
        overwrite: Replace an existing target.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is as it was.
    """
    _check(target, [source], overwrite)
    with opened(source) as file:
        reader = ContainerReader(file)
        locations = reader.read_index()
        starts = [reader.read_group_head(location).first_pts for location in locations]
        time_base, first_pts = reader.header.time_base, starts[0] if starts else 0
        start = math.ceil(first_pts + exact_seconds(start_seconds) / time_base)
        begin = max(0, bisect_right(starts, start) - 1)
        end = len(starts)
        if end_seconds is not None:
            end = bisect_left(starts, math.ceil(first_pts + exact_seconds(end_seconds) / time_base))
        last_pts = reader.read_group(locations[end - 1]).pts[-1] if begin < end else start - 1
        if last_pts < start:
            raise ConfigError(f"{source}: no frame begins in that range")
        last_ticks = max(0, starts[end] - last_pts) if end < len(starts) else reader.last_frame_ticks
        shift, first_frame = first_pts - starts[begin], locations[begin].first_frame
        groups = (
            _moved(reader.read_group(location), location.first_frame - first_frame, shift)
            for location in locations[begin:end]
        )
        return _write(
            [source], target, reader.header, groups, lambda: last_ticks, start_seconds=float(-shift * time_base)
        )


def concat_files(sources: Sequence[Path_], target: Path_, *, overwrite: bool = False) -> EditResult:
    """Join files of one model, quality and size, one after the other; their codes stay as they are.

    Each begins when the last frame of the one before ends. Tags are those of the first.

    Args:
        sources: `.vtok` files, at least one.
        target: The `.vtok` file to write.
        overwrite: Replace an existing target.

    Raises:
        VtokError: Of any kind; then nothing was written and an existing target is as it was.
    """
    if not sources:
        raise ConfigError("no files to join: name at least one")
    _check(target, sources, overwrite)
    headers = []
    for source in sources:
        with opened(source) as file:
            headers.append(ContainerReader(file).header)
        _require_same(sources[0], headers[0], source, headers[-1])
    rates = {header.average_rate for header in headers}
    header = replace(
        headers[0],
        time_base=_common_time_base([header.time_base for header in headers]),
        average_rate=rates.pop() if len(rates) == 1 else None,
    )
    joined = _Joined(sources, header.time_base)
    return _write(sources, target, header, joined, lambda: joined.last_frame_ticks)


def _check(target: Path_, sources: Iterable[Path_], overwrite: bool) -> None:
    check_target(target, sources, overwrite=overwrite)
    if Path(target).suffix != ".vtok":
        raise ConfigError(f"{target}: unknown suffix {Path(target).suffix!r}. The name of the output ends in .vtok")


def _write(
    sources: Sequence[Path_],
    target: Path_,
    header: FileHeader,
    groups: Iterable[VideoGroup],
    last_frame_ticks: Callable[[], int],
    *,
    start_seconds: float = 0,
) -> EditResult:
    """Write the file; how long the last frame is shown is asked after all groups."""
    pts: list[int] = []  # of the first and the last frame
    with open_atomically(target) as file:
        writer = ContainerWriter(file, header)
        for group in groups:
            writer.write_group(group)
            pts = [*pts[:1], group.pts[0], group.pts[-1]]
        totals = writer.finish(last_frame_ticks=last_frame_ticks())
    return EditResult(
        sources=[str(source) for source in sources],
        target=str(target),
        num_frames=totals.num_frames,
        num_groups=totals.num_groups,
        num_bytes=writer.num_bytes,
        start_seconds=start_seconds,
        duration_seconds=float(header.seconds_shown(pts[0], pts[-1], last_frame_ticks())) if pts else 0.0,
    )


def _moved(group: VideoGroup, first_frame: int, ticks: int, *, scale: int = 1, is_restart: bool = False) -> VideoGroup:
    """The same codes from frame `first_frame` on, at timestamps times `scale` plus `ticks`."""
    pts = tuple(scale * value + ticks for value in group.pts)
    return replace(group, first_frame=first_frame, pts=pts, is_restart=group.is_restart or is_restart)


class _Joined:
    """The groups of all files, in units of `time_base`; after them, `last_frame_ticks` is that of the last file."""

    def __init__(self, sources: Sequence[Path_], time_base: Fraction) -> None:
        self._sources = sources
        self._time_base = time_base
        self.last_frame_ticks = 0

    def __iter__(self) -> Iterator[VideoGroup]:
        first_frame = end_pts = 0  # number and timestamp of the next frame
        for source in self._sources:
            with opened(source) as file:
                reader = ContainerReader(file)
                scale = int(reader.header.time_base / self._time_base)
                rate = reader.header.average_rate
                ticks: int | None = None
                for group in reader:
                    is_restart = ticks is None and first_frame > 0
                    if ticks is None:
                        ticks = end_pts - scale * group.pts[0] if is_restart else 0
                    moved = _moved(group, first_frame, ticks, scale=scale, is_restart=is_restart)
                    yield moved
                    first_frame, end_pts = first_frame + moved.num_frames, moved.pts[-1]
                if ticks is not None:
                    by_rate = round((1 / rate if rate else reader.header.time_base) / self._time_base)
                    self.last_frame_ticks = scale * reader.last_frame_ticks or max(1, by_rate)
                    end_pts += self.last_frame_ticks


def _require_same(first: Path_, expected: FileHeader, other: Path_, header: FileHeader) -> None:
    for item in fields(FileHeader):
        a, b = getattr(expected, item.name), getattr(header, item.name)
        if item.name not in _MAY_DIFFER and a != b:
            raise ConfigError(f"{other}: has {item.name} {b}, and {first} has {a}. Only files that agree can be joined")


def _common_time_base(time_bases: Iterable[Fraction]) -> Fraction:
    """The longest unit of which all are multiples."""
    return reduce(
        lambda a, b: Fraction(
            math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator
        ),
        time_bases,
    )
