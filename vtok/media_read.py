"""Video files in: their frames in presentation order, and what was odd about them."""

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vtok.errors import MediaError
from vtok.media_frame import Frame, VideoInfo, converted_colors, planes_420

DEFAULT_RATE = Fraction(25)
"""Frames per second, where a file has neither timestamps nor a rate."""

_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # H.273 transfer characteristics
_TEXT_CODEC = "ansi"  # FFmpeg plays any text file as the output of a terminal, which nobody means here


class VideoReader:
    """Frames of a video file in presentation order, decoded as they are asked for, in constant memory.

    It can be iterated once. The timestamps are those of the file and increase strictly: missing ones are filled in
    from the average rate, and those that repeat or go back are moved, since to drop a frame or to refuse a file that
    plays would lose more.

    Example:
        >>> with VideoReader("clip.mp4") as reader:
        ...     for frame in reader:
        ...         print(float(frame.pts * reader.info.time_base), frame.y.mean())

    Attributes:
        path: The file.
        info: What its header says.

    Args:
        path: A local file. Never a URL, and nothing that the file refers to is fetched from a network.
        allow_hdr: Read PQ and HLG video too, its values cut to 8 bits and otherwise as they are.

    Raises:
        MediaError: The file cannot be read as a video; or, while iterating, a frame has another size than the first.
    """

    def __init__(self, path: str | os.PathLike[str], *, allow_hdr: bool = False) -> None:
        self.path = Path(path)
        self._notices: dict[str, str] = {}
        self._errors: list[str] = []
        self._cut_short: str | None = None
        self._num_frames = self._num_damaged = 0
        self._reformatter = VideoReformatter()
        self._frames: Iterator[VideoFrame] = iter(())
        _check_file(self.path)
        try:
            self._container = av.open(f"file:{self.path}", options={"protocol_whitelist": "file"})
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(f"{self.path}: {_cause(error)}. Is it a video, and whole?") from error
        try:
            self._stream = self._pick_stream()
            decoded = self._decode()
            # Decoded now, because only a frame tells the pixel format and the colours for sure.
            first = next(decoded, None)
            if first is None:
                raise MediaError(
                    f"{self.path}: no frame can be decoded ({self.decode_error or 'it holds none, or lost its end'})"
                )
            self.info = self._describe(first, allow_hdr=allow_hdr)
        except BaseException:
            self.close()
            raise
        self._frames = chain([first], decoded)
        self._timeline = _Timeline(self.info, self._notices)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        while (picture := next(self._frames, None)) is not None:
            if (picture.width, picture.height) != (self.info.width, self.info.height):
                raise MediaError(
                    f"{self.path}: frame {self._num_frames} is {picture.width}x{picture.height}, those before are "
                    f"{self.info.width}x{self.info.height}. Cut the video there, or scale it to one size first."
                )
            name = picture.format.name
            if name not in ("yuv420p", "yuvj420p"):
                alpha = ", its alpha channel dropped" if any(c.is_alpha for c in picture.format.components) else ""
                self._notices.setdefault(name, f"pixel format {name} converted to yuv420p{alpha}")
            frame = Frame(*planes_420(picture, self._reformatter), pts=self._timeline.place(picture.pts))
            self._num_frames += 1
            self._num_damaged += picture.is_corrupt
            yield frame

    def close(self) -> None:
        """Close the file; iterating ends here."""
        self._frames = iter(())  # PyAV would crash, not fail, on reading from a closed container
        self._container.close()

    @property
    def notices(self) -> list[str]:
        """One line for each thing that was converted, repaired or left out so far."""
        return list(self._notices.values())

    @property
    def decode_error(self) -> str | None:
        """What was damaged or missing so far, in one line, or None; final after the last frame.

        Damage that the codec itself cannot tell from data (VP9 has no checksums, for one) goes unnoticed.
        """
        parts = []
        if self._errors:
            parts.append(f"decoding failed {len(self._errors)} times, first {self._errors[0]}")
        if self._num_damaged:
            parts.append(f"{self._num_damaged} decoded frames are damaged")
        if self._cut_short:
            parts.append(f"the file is cut short: {self._cut_short}")
        return "; ".join(parts) or None

    def _pick_stream(self) -> VideoStream:
        """Choose the video track, and note which tracks are left."""
        streams = self._container.streams
        stream = streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise MediaError(f"{self.path}: has no video track")
        if stream.codec_context is None or stream.codec_context.name == _TEXT_CODEC:
            raise MediaError(f"{self.path}: is not a video in a format that this build of FFmpeg decodes")
        left = [other.type for other in streams if other.index != stream.index]
        if left:
            counts = ", ".join(f"{left.count(kind)} {kind}" for kind in sorted(set(left)))
            self._notices["tracks"] = f"tracks not carried over: {counts}"
        stream.thread_type = "AUTO"
        return stream

    def _describe(self, frame: VideoFrame, *, allow_hdr: bool) -> VideoInfo:
        """Gather what the stream and its first frame say."""
        stream = self._stream
        hdr = _HDR_TRANSFERS.get(int(frame.color_trc))
        if hdr and not allow_hdr:
            raise MediaError(
                f"{self.path}: is HDR video ({hdr}), which 8 bits cannot hold well. Convert it to SDR first, "
                "or go on regardless with --allow-hdr."
            )
        if frame.rotation:
            self._notices["rotation"] = f"a rotation of {frame.rotation} degrees is not applied"
        time_base = stream.time_base or 1 / DEFAULT_RATE
        duration = stream.duration * time_base if stream.duration else None
        if duration is None and self._container.duration:
            duration = Fraction(self._container.duration, av.time_base)
        color_range, color_matrix = converted_colors(frame)
        return VideoInfo(
            width=frame.width,
            height=frame.height,
            time_base=time_base,
            average_rate=stream.average_rate or None,
            sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
            color_range=color_range,
            color_matrix=color_matrix,
            color_primaries=int(frame.color_primaries),
            color_transfer=int(frame.color_trc),
            num_frames_from_header=stream.frames or None,
            duration_seconds_from_header=None if duration is None else float(duration),
        )

    def _decode(self) -> Iterator[VideoFrame]:
        """Decode whatever decodes, and keep count of what does not."""
        # In MP4 the index at the front lists every packet, so that a file which lost its end gives itself away.
        num_expected = len(self._stream.index_entries) if "mp4" in self._container.format.name else 0
        num_packets, last_is_cut = 0, False
        for packet in self._packets():
            if packet is not None and packet.size:
                num_packets, last_is_cut = num_packets + 1, packet.is_corrupt
            try:
                yield from self._stream.decode(packet)
            except av.error.FFmpegError as error:
                self._errors.append(f"near frame {self._num_frames}: {_cause(error)}")
        num_missing = _num_bytes_missing(self.path) if "matroska" in self._container.format.name else 0
        if num_packets < num_expected:
            self._cut_short = f"{num_packets} of {num_expected} frames are there"
        elif num_missing:
            self._cut_short = f"{num_missing} bytes are missing"
        elif last_is_cut:
            self._cut_short = "the last frame is incomplete"

    def _packets(self) -> Iterator["Packet[VideoStream] | None"]:
        """Yield the packets of the video track; after an error then None, which flushes the decoder like the end."""
        try:
            yield from self._container.demux(self._stream)
        except av.error.FFmpegError as error:
            self._errors.append(f"near frame {self._num_frames}: {_cause(error)}")
            yield None


class _Timeline:
    """Gives each frame its own timestamp wherever that is later than the one before, and a later one otherwise."""

    def __init__(self, info: VideoInfo, notices: dict[str, str]) -> None:
        self._notices = notices
        self._rate = info.average_rate or DEFAULT_RATE
        self._second = max(1, round(1 / info.time_base))
        self._step = max(1, round(1 / (self._rate * info.time_base)))
        self._last: int | None = None
        self._shift = 0

    def place(self, pts: int | None) -> int:
        """Return the timestamp, in units of the time base, of the next frame."""
        last = self._last
        if pts is None:
            pts = 0 if last is None else last + self._step
            self._notices.setdefault("missing", f"timestamps missing: filled in at {float(self._rate):g} frames/s")
        else:
            pts += self._shift
            if last is not None and pts <= last:
                moved = last + 1
                if last - pts > self._second:  # a cut, after which time goes on from the new place; not a slip
                    moved = last + self._step
                    self._shift += moved - pts
                self._notices.setdefault("order", f"timestamps repeat or go back: moved forward, first at {moved}")
                pts = moved
        self._last = pts
        return pts


def _check_file(path: Path) -> None:
    """Refuse what is no file with bytes in it, in clearer words than FFmpeg's."""
    if path.is_dir():
        raise MediaError(f"{path}: is a folder, not a video file")
    if not path.exists():
        raise MediaError(f"{path}: no such file")
    if path.is_file() and path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty")


def _cause(error: Exception) -> str:
    """Return the cause of an error in FFmpeg, in its own words and one line."""
    return str(getattr(error, "strerror", None) or error).partition("\n")[0]


def _num_bytes_missing(path: Path) -> int:
    """Return by how many bytes a Matroska file is shorter than the segment it declares (RFC 9559, RFC 8794)."""

    def sized_element(data: bytes, start: int) -> tuple[int, int | None]:
        """Return where the content of the element with a 4-byte id at `start` begins, and its size if it is known."""
        num_bytes = 9 - data[start + 4].bit_length()
        size = int.from_bytes(data[start + 4 : start + 4 + num_bytes]) & ((1 << 7 * num_bytes) - 1)
        return start + 4 + num_bytes, None if size == (1 << 7 * num_bytes) - 1 else size

    if not path.is_file():
        return 0  # a pipe: nothing can be looked up in it
    with path.open("rb") as file:
        head = file.read(4096)
    try:
        header, header_size = sized_element(head, 0)
        segment, segment_size = sized_element(head, header + (header_size or 0))
    except IndexError:
        return 0
    return max(0, segment + segment_size - path.stat().st_size) if segment_size is not None else 0
