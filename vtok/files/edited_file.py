"""Writes groups and packets of `.vtok` files into another, unchanged, for `cut` and `concat`. Nothing here needs torch.

Each chunk that is copied is checked by its CRC. The CRC of the decoded codes is copied too, and checked when they are
decoded: that needs the model.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from vtok.container.packets import PacketChunks
from vtok.container.reader import FileHeader, VideoGroup
from vtok.container.writer import ContainerWriter
from vtok.errors import FormatError, LimitError, UnsupportedVersionError
from vtok.system.atomic import open_atomically
from vtok.system.paths import StrPath
from vtok.video.tracks import TrackPacket, chosen_packets

Item: TypeAlias = VideoGroup | TrackPacket


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


@dataclass(frozen=True, slots=True)
class EditedPart:
    """What is to be written.

    Attributes:
        header: The header of the new file.
        items: Its groups and packets, in order.
        last_frame_ticks: Duration of its last frame, in units of its time base; 0 if unknown.
        start_seconds: Time at which it begins in its source.
    """

    header: FileHeader
    items: Iterable[Item]
    last_frame_ticks: int
    start_seconds: float = 0


@contextmanager
def hint_at_recovery(*kinds: type[FormatError]) -> Iterator[None]:
    """Add to errors of these kinds, which mean damage, how to get what is intact."""
    try:
        yield
    except kinds as error:
        if isinstance(error, LimitError | UnsupportedVersionError) or "recover=True" in str(error):
            raise
        raise type(error)(f"{error}. What is intact can be decoded with recover=True") from error


def write_edited(sources: Sequence[StrPath], target: StrPath, part: EditedPart, *, overwrite: bool) -> EditResult:
    """Write a part of `sources` to `target`, or nothing at all."""
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


def moved_group(group: VideoGroup, first_frame: int, ticks: int, *, scale: int = 1) -> VideoGroup:
    """The same codes, starting at frame `first_frame`, with timestamps times `scale` plus `ticks`."""
    pts = tuple(scale * value + ticks for value in group.pts)
    return replace(group, first_frame=first_frame, pts=pts)


def packets_of(packets: Iterable[TrackPacket], source: FileHeader, target: FileHeader) -> Iterator[TrackPacket]:
    """Yield the packets of the kinds of tracks that the target has, as it numbers them."""
    num_audio = len(source.audio)
    return chosen_packets(packets, num_audio, with_audio=bool(target.audio), with_subtitles=bool(target.subtitles))
