"""Write a `.vtok` file, or a part of it, into a video: frames, tracks and chapters, moved in time together."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

from vtok.codec.chunk_coder import FRAMES_PER_CHUNK
from vtok.codec.compressed_video import CompressedVideo
from vtok.codec.recovery import RecoveredVideo
from vtok.media.outputs import FrameWriter, PacketWriter
from vtok.system.pipeline import ahead
from vtok.video.chapters import Chapter, shifted_chapters
from vtok.video.frame import Frame, VideoInfo
from vtok.video.times import Span, exact_seconds
from vtok.video.tracks import Extras, chosen_packets, kinds_of

FRAMES_AHEAD = FRAMES_PER_CHUNK  # number of decoded frames that wait to be written: at 4K, 12 MB each


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPart:
    """The part of a file that is to be written.

    Attributes:
        video: The file.
        info: Description of the video to be written.
        frames: Frames to be written, at their new times.
        extras: Tags, tracks of sound and subtitles, and chapters at their new times.
        numbers: Numbers of the frames in the file; None for all.
        span: Stretch of time of the packets to be written, in times of the file.
        shift: Seconds by which everything is moved.
    """

    video: CompressedVideo | RecoveredVideo
    info: VideoInfo
    frames: Iterable[Frame]
    extras: Extras
    numbers: range | None
    span: Span
    shift: Fraction

    @property
    def first_frame(self) -> int:
        """Number of the first frame in the file."""
        return self.numbers.start if self.numbers else 0

    def write(self, writer: FrameWriter, advance: Callable[[int], None] | None) -> int:
        """Write frames, and after each the packets that begin by then; return the number of frames.

        Args:
            writer: The writer; if it writes no video, sound and subtitles are left out with a notice.
            advance: Called with 1 after each written frame.
        """
        tracks, num_frames = self.extras.tracks, 0
        video = writer if isinstance(writer, PacketWriter) and tracks else None
        if tracks and not video:
            kinds = kinds_of(tracks)
            writer.notices.append(f"{kinds} dropped: the output holds pictures only; .mkv holds {kinds} too")
        packets = chosen_packets(
            self.video.index.packets(self.span, self.numbers) if video else (),
            len(self.video.header.audio),
            with_audio=bool(self.extras.audio),
            with_subtitles=bool(self.extras.subtitles),
        )
        moved = (packet.moved(self.shift, tracks) for packet in packets)
        following = next(moved, None)
        with ahead(self.frames, depth=FRAMES_AHEAD) as frames:
            for frame in frames:
                writer.write(frame)
                while video and following and following.seconds(tracks) <= frame.pts * self.info.time_base:
                    video.write_packet(following)
                    following = next(moved, None)
                num_frames += 1
                if advance:
                    advance(1)
        if video and following and num_frames:
            for packet in chain([following], moved):
                video.write_packet(packet)
        writer.last_frame_ticks = self.video.index.ticks_shown(self.first_frame + num_frames - 1)
        return num_frames


def output_part(
    video: CompressedVideo | RecoveredVideo,
    start_seconds: Fraction | float,
    end_seconds: Fraction | float | None,
    *,
    with_audio: bool = True,
    with_subtitles: bool = True,
) -> OutputPart:
    """The part whose frames begin between two times, moved to the beginning of the video.

    Args:
        video: The file.
        start_seconds: Start of the part, in seconds after frame 0.
        end_seconds: End of the part, in seconds after frame 0; None for the end of the video.
        with_audio: Whether to take the sound too.
        with_subtitles: Whether to take the subtitles too.

    Raises:
        ConfigError: There are no such frames.
        FormatError: The first of these frames is damaged.
    """
    header = video.header
    audio, subtitles = header.audio if with_audio else (), header.subtitles if with_subtitles else ()
    if not start_seconds and end_seconds is None:
        chapters = _chapters(video, Span(), Fraction(0))
        extras = Extras(tags=header.tags, audio=audio, subtitles=subtitles, chapters=chapters)
        return OutputPart(
            video=video, info=video.info, frames=video, extras=extras, numbers=None, span=Span(), shift=Fraction(0)
        )
    start, end = exact_seconds(start_seconds), None if end_seconds is None else exact_seconds(end_seconds)
    numbers = video.index.frame_range(start, end)
    frames = iter(video.frames(numbers.start, numbers.stop))
    first = next(frames, None)
    ticks = video.index.first_pts - first.pts if first else 0
    begin, shift = video.index.first_pts * header.time_base, ticks * header.time_base
    # Packets from before the first frame belong to a part that begins with that frame.
    span = Span(begin - shift if numbers.start else None, None if end is None else begin + end)
    chapters = _chapters(video, span, shift)
    return OutputPart(
        video=video,
        info=replace(video.info, num_frames_from_header=len(numbers)),
        frames=(replace(frame, pts=frame.pts + ticks) for frame in chain([first], frames) if frame),
        extras=Extras(tags=header.tags, audio=audio, subtitles=subtitles, chapters=chapters),
        numbers=numbers,
        span=span,
        shift=shift,
    )


def _chapters(video: CompressedVideo | RecoveredVideo, span: Span, shift: Fraction) -> tuple[Chapter, ...]:
    """The chapters, moved like the frames, and as `VideoWriter` moves a video that begins before zero."""
    if not video.header.chapters:
        return ()
    before_zero = max(Fraction(0), -video.index.first_pts * video.header.time_base)
    return shifted_chapters(video.header.chapters, span.begin, span.end, shift + before_zero)
