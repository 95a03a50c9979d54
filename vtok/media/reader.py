"""Reads video files: yields frames in presentation order, and tells what was odd about the file."""

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import av.error
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vtok.errors import MediaError
from vtok.media.changes import Changes
from vtok.media.clock import Clock
from vtok.media.damage import decode_packet, missing_end, missing_seconds, undecodable
from vtok.media.description import described, is_bare
from vtok.media.filters import FrameFilter
from vtok.media.images import IMAGE_NAMES, ImageSequence
from vtok.media.opening import cause_of, check_file, opened
from vtok.media.pixels import planes_420
from vtok.media.rotation import Turn
from vtok.media.streams import is_encrypted, pick_video, sound_of, subtitles_of, tracks_left
from vtok.media.tags import chapters_of, fitting_tags, tags_of
from vtok.media.timeline import DecodingTimes, Timeline, begun_evenly
from vtok.media.track_reader import PacketSink, TrackReader
from vtok.media.unread import unread_part
from vtok.system.closing import Closing
from vtok.video.filters import Filters
from vtok.video.frame import Frame
from vtok.video.times import DEFAULT_RATE
from vtok.video.tracks import Extras

_PACKETS_ARE_FRAMES = "mp4"  # MP4 indexes its packets at the front, so it shows when a file lost its end


class VideoReader(Closing):
    """Frames of a video file in presentation order, decoded on demand, in constant memory.

    It can be iterated once. Pictures that are stored turned come out upright. The timestamps are those of the file and
    increase strictly: missing ones are filled in from the average rate, and those that repeat or go back are moved.
    Dropping a frame, or refusing a file that plays, would lose more.

    Example:
        >>> with VideoReader("clip.mp4") as reader:
        ...     for frame in reader:
        ...         print(float(frame.pts * reader.info.time_base), frame.y.mean())

    Attributes:
        path: The file.
        name: Name of the file in messages.
        info: Content of the file's header, for upright and filtered pictures.
        tracks: Passes on the packets of the other tracks that come before the frames read so far.
        extras: Other content of the file: tags, tracks of sound and subtitles, chapters.

    Args:
        path: A local file, or the pattern of a sequence of images such as `frames/%04d.png`. It is never a URL, and
            nothing that the file refers to is fetched from a network.
        name: Name of the file in messages; default: `path`.
        image_rate: Frames per second of a sequence of images; default: 25.
        allow_hdr: Also read PQ and HLG video; its values are cut to 8 bits and otherwise unchanged.
        filters: Crops, scales and changes the rate of upright 8-bit pictures; see `vtok.video.filters`.
        sink: Receives the packets of audio tracks and of subtitles as they are met; None leaves them out.
        with_audio: Whether it receives those of audio tracks.
        with_subtitles: Whether it receives those of subtitles.

    Raises:
        MediaError: The file cannot be read as a video; or, while iterating, a frame's size differs from the first's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | os.PathLike[str] | None = None,
        image_rate: Fraction | None = None,
        allow_hdr: bool = False,
        filters: Filters | None = None,
        sink: PacketSink | None = None,
        with_audio: bool = True,
        with_subtitles: bool = True,
    ) -> None:
        self.path = Path(path)
        self.name = str(name or path)
        self._last: VideoFrame | None = None
        self._notices: dict[str, str] = {}
        self._errors: list[str] = []
        self._cut_short: str | None = None
        self._unread: str | None = None
        self._num_frames = self._num_packets = self._num_damaged = 0
        self._first_damaged = ""
        self._reformatter, self._decoding_times = VideoReformatter(), DecodingTimes()
        self._frames: Iterator[VideoFrame] = iter(())
        self._images = ImageSequence.find(self.path, self.name)
        for file in self._images.files if self._images else ():
            check_file(file, f"{self.name}: {file.name}")
        if self._images is None:
            check_file(self.path, self.name)
            if image_rate is not None and self.path.suffix.lower() not in IMAGE_NAMES:
                raise MediaError(f"{self.name}: is no image, and only a sequence of images needs a rate")
        self._container = opened(self.path, self._images, image_rate or DEFAULT_RATE, self.name)
        try:
            self._stream = pick_video(self._container, self.name)
            time_base = self._stream.time_base or 1 / DEFAULT_RATE
            sound, subtitles = sound_of(self._container, self._stream), subtitles_of(self._container, self._stream)
            wanted = [*(sound if with_audio else ()), *(subtitles if with_subtitles else ())]
            self.tracks = TrackReader(wanted, sink, self._notices, time_base)
            if left := tracks_left(self._container.streams, [self._stream, *sound, *subtitles]):
                self._notices["tracks"] = left
            tags, chapters = (
                tags_of(self._container.metadata, self._notices),
                chapters_of(self._container, self._notices),
            )
            extras = Extras(tags=tags, audio=self.tracks.audio, subtitles=self.tracks.subtitles, chapters=chapters)
            self.extras = fitting_tags(extras, self._notices)
            decoded = self._decode()
            # Decoded now, because only a frame tells the pixel format and the colours reliably.
            first = next(decoded, None)
            if first is None:
                cause = undecodable(self.path) or self.decode_error or "it holds none, or lost its end"
                raise MediaError(f"{self.name}: no frame can be decoded ({cause})")
            self._turn = self._pick_turn(first)
            self._changes = Changes(self.name, self._notices, allow_hdr=allow_hdr)
            self._changes.check(first, self._stream.codec_context.sample_aspect_ratio, 0)
            self._source = described(self._container, self._stream, first, self._turn)
            self._filter = FrameFilter(filters, self._source, self.name) if filters else None
            if filters and filters.fps and self._is_still:
                raise MediaError(f"{self.name}: is one image, and only a video can be given another rate (fps)")
            self.info = self._filter.info if self._filter else self._source
        except BaseException:
            self.close()
            raise
        self._frames = chain([first], decoded)
        if not is_bare(self._container):
            self._frames = begun_evenly(self._frames, self._source, self._notices)
        self._begin()

    def __iter__(self) -> Iterator[Frame]:
        return self._filtered

    def _begin(self) -> None:
        """Read frames from here on."""
        self._timeline = Timeline(self._source, self._notices, self._container.format.name)
        self._filtered = self._upright()
        if self._filter:
            self._filtered = self._filter(self._filtered, lambda: self._source_ticks)

    def _upright(self) -> Iterator[Frame]:
        while (picture := next(self._frames, None)) is not None:
            self._changes.check(picture, self._stream.codec_context.sample_aspect_ratio, self._num_frames)
            planes = planes_420(picture, self._reformatter, self._source.color_range)
            if self._turn != Turn():
                planes = self._turn(planes[0]), self._turn(planes[1]), self._turn(planes[2])
            frame = Frame(*planes, pts=self._timeline.place(picture.pts))
            self._num_frames += 1
            self._count_damaged(picture.is_corrupt)
            self._last, self._end_pts = picture, frame.pts + picture.duration
            yield frame

    def seek(self, pts: int) -> None:
        """Continue with a frame from which the frame at timestamp `pts` can be decoded, as far as FFmpeg knows one.

        Afterwards `notices`, `decode_error` and `last_frame_ticks` of the reader mean nothing.

        Raises:
            MediaError: The file cannot seek.
        """
        try:
            self._container.seek(self._filter.source_pts(pts) if self._filter else pts, stream=self._stream)
        except av.error.FFmpegError as error:
            raise MediaError(f"{self.name}: {cause_of(error)}") from error
        self._decoding_times.restart()
        self._frames = self._decode()
        self._begin()

    def close(self) -> None:
        """Close the file; iteration ends here."""
        self._frames = iter(())  # PyAV crashes, without an exception, on reading from a closed container
        self._container.close()

    @property
    def notices(self) -> list[str]:
        """One line for each thing that was converted, repaired or left out so far."""
        return list(self._notices.values())

    @property
    def num_bytes(self) -> int:
        """Size of the file, or of all images of a sequence."""
        files = self._images.files if self._images else [self.path]
        return sum(file.stat().st_size for file in files)

    @property
    def last_frame_ticks(self) -> int:
        """Duration of the last frame in units of the time base, 0 if unknown; final after the last frame."""
        return self._filter.last_frame_ticks(self._source_ticks) if self._filter else self._source_ticks

    @property
    def _source_ticks(self) -> int:
        """Duration of the last frame of the file."""
        if self._last is None:
            return 0
        stream, pts = self._stream, self._last.pts
        if _PACKETS_ARE_FRAMES in self._container.format.name and stream.duration and pts is not None:
            # In MP4 a frame's duration runs from one decoding time to the next, which says little with B-frames.
            ticks = (stream.start_time or 0) + stream.duration - pts
            if ticks > 0 and not self._cut_short:
                return ticks
        return max(0, self._last.duration)

    @property
    def decode_error(self) -> str | None:
        """One line that says what was damaged or missing so far, or None; final after the last frame.

        Some damage goes unnoticed because the codec cannot tell it from data (VP9, for example, has no checksums).
        `docs/formats.md` has the list.
        """
        parts = []
        if self._errors:
            parts.append(f"decoding failed {len(self._errors)} times, first {self._errors[0]}")
        if self._num_damaged:
            parts.append(f"{self._num_damaged} decoded frames are damaged, first {self._first_damaged}")
        if self._cut_short:
            parts.append(f"the file is cut short: {self._cut_short}")
        if self._unread:
            parts.append(f"not all of it can be read: {self._unread}")
        return "; ".join(parts) or None

    def _pick_turn(self, first: VideoFrame) -> Turn:
        """The turn that puts the pictures upright. All are assumed to be turned like the first one."""
        self._end_pts = 0
        turn = Turn.of(first)
        if turn is None:
            self._notices["turn"] = f"a rotation of {first.rotation} degrees is not applied: only quarter turns are"
            return Turn()
        if turn != Turn():
            self._notices["turn"] = f"pictures {turn}, as the file asks for"
        return turn

    def _decode(self) -> Iterator[VideoFrame]:
        """Decode everything that can be decoded, and count what cannot."""
        format_name = self._container.format.name
        num_expected = len(self._images.files) if self._images else 0
        if _PACKETS_ARE_FRAMES in format_name:
            num_expected = len(self._stream.index_entries)
        self._num_packets = first_packet_bytes = 0
        last_is_cut = False
        for packet in self._packets():
            if packet is not None and packet.size:
                first_packet_bytes = first_packet_bytes or packet.size
                self._num_packets, last_is_cut = self._num_packets + 1, packet.is_corrupt
            try:
                pictures, num_damaged = decode_packet(self._stream, packet)
                self._count_damaged(num_damaged)
                if format_name == "avi":
                    self._decoding_times.place(packet.dts if packet else None, pictures)
                yield from pictures
            except av.error.FFmpegError as error:
                self._errors.append(f"{self._place}: {cause_of(error)}")
        self._unread = unread_part(self.path, format_name, self._stream.id)
        if self._num_packets < num_expected:
            self._cut_short = f"{self._num_packets} of {num_expected} frames are there"
        elif missing := missing_end(self.path, format_name, first_packet_bytes):
            self._cut_short = missing
        elif last_is_cut:
            self._cut_short = "the last frame is incomplete"
        elif "matroska" in format_name and self._num_frames:
            end = self._end_pts * self._source.time_base
            self._cut_short = missing_seconds(self._stream.metadata.get("DURATION"), end, self._source.average_rate)

    @property
    def _is_still(self) -> bool:
        """Whether the file is a single image."""
        name = self._container.format.name
        return self._images is None and (name == "image2" or name.endswith("_pipe"))

    @property
    def _place(self) -> str:
        """Where decoding is, for messages."""
        if self._images and self._num_packets:
            return f"in {self._images.files[self._num_packets - 1].name}"
        return f"near frame {self._num_frames}"

    def _count_damaged(self, num_frames: int) -> None:
        if num_frames and not self._num_damaged:
            self._first_damaged = self._place
        self._num_damaged += num_frames

    def _packets(self) -> Iterator["Packet[Any] | None"]:
        """Yield the packets of the video track. After an error yield None, which flushes the decoder as at the end."""
        try:
            clock = Clock(self._container.format.name, self._stream.index, self._notices)
            for packet in clock.joined(self._demuxed()):
                if self.tracks.takes(packet):
                    continue
                if is_encrypted(self._stream, packet):
                    raise MediaError(f"{self.name}: is encrypted, and vtok has no key")
                yield packet
        except av.error.FFmpegError as error:
            self._errors.append(f"{self._place}: {cause_of(error)}")
            yield None

    def _demuxed(self) -> Iterator["Packet[Any]"]:
        """Yield the packets of the tracks that are read, then an empty one for each."""
        # PyAV fails in the end, after the empty packets of these tracks, if others have appeared since it was opened.
        with suppress(IndexError):
            yield from self._container.demux(self._stream, *self.tracks.streams)
